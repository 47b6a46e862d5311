"""The section ``pii`` of a policy, read from YAML."""

from __future__ import annotations

import re
from typing import Final

import yaml

from governance.data_classes import Handling
from governance.locales import LOCALE_ENTITIES
from governance.nodes import NodeReader, pick
from governance.parse_patterns import read_patterns
from governance.pii import (
    KEY_ENTITIES,
    PATTERN_ENTITIES,
    Allowed,
    ExtraRecogniser,
    FixedText,
    KeyName,
    PartialMask,
    PiiPolicy,
    SplitValue,
)

_ENTITY: Final = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*")
_USER_ID: Final = (Handling.HASH, Handling.DROP, Handling.KEEP)
_CHARACTERS_MAX: Final = 4_096
_SPLIT_KEYS_MAX: Final = 6
_REQUIRED: Final = ("score_threshold", "user_id", "entities", "identifier_entities")
_OPTIONAL: Final = ("key_names", "recognisers", "allow", "locales", "split_values")


def pii_policy(reader: NodeReader, node: yaml.Node | None) -> PiiPolicy:
    """Gives what the section says; problems go to the reader."""
    values = reader.mapping(node, "pii", _REQUIRED, _OPTIONAL)
    recognisers = _recognisers(reader, *pick(values, "recognisers", "pii"))
    locales = reader.words(*pick(values, "locales", "pii"), tuple(LOCALE_ENTITIES))
    of_locales = [entity for locale in locales for entity in LOCALE_ENTITIES[locale]]
    found = sorted({*PATTERN_ENTITIES, *KEY_ENTITIES, *of_locales, *(recogniser.entity for recogniser in recognisers)})
    # What a country's recognisers find is masked unless the policy says otherwise: naming the country asks for it.
    entities: dict[str, Handling] = {}
    replacements: list[PartialMask | FixedText] = []
    for entity, value in reader.mapping(*pick(values, "entities", "pii"), open_keys=True).items():
        path = f"pii.entities.{entity}"
        handling, replacement = _handling(reader, value, path, entity)
        if entity not in found:
            reader.problem(value, path, f"no recogniser finds this entity; known are {', '.join(found)}")
        elif handling is not None:
            entities[entity] = handling
            replacements += [replacement] if replacement is not None else []
    if isinstance(listed := values.get("recognisers"), yaml.SequenceNode):
        for recogniser in recognisers:
            if recogniser.entity not in entities:
                reader.problem(listed, f"pii.recognisers.{recogniser.name}", f"add {recogniser.entity} with its handling to pii.entities")
    entities |= {entity: Handling.MASK for entity in of_locales if entity not in entities}
    names: list[KeyName] = []
    for key, value in reader.mapping(*pick(values, "key_names", "pii"), open_keys=True).items():
        entity_of = reader.word(value, f"pii.key_names.{key}", tuple(entities))
        if entity_of is not None:
            names.append(KeyName(key, entity_of))
    return PiiPolicy(
        score_threshold=reader.fraction(*pick(values, "score_threshold", "pii")) or 1.0,
        entities=tuple(entities.items()),
        user_id=reader.choice(*pick(values, "user_id", "pii"), Handling, _USER_ID) or Handling.HASH,
        identifier_entities=reader.words(*pick(values, "identifier_entities", "pii"), tuple(entities)),
        key_names=tuple(names),
        recognisers=recognisers,
        replacements=tuple(replacements),
        allowed=_allowed(reader, *pick(values, "allow", "pii"), tuple(entities)),
        locales=locales,
        split_values=_split_values(reader, *pick(values, "split_values", "pii"), tuple(entities)),
    )


def _handling(reader: NodeReader, node: yaml.Node, path: str, entity: str) -> tuple[Handling | None, PartialMask | FixedText | None]:
    """Reads ``mask``, or ``{mask: {characters: 12}}``, or ``{replace: a text}``."""
    if not isinstance(node, yaml.MappingNode):
        return reader.choice(node, path, Handling), None
    values = reader.mapping(node, path, (), ("mask", "replace"))
    if len(values) != 1:
        reader.problem(node, path, "must be one of mask and replace with its parameters, or a single word; leave one")
        return None, None
    if "replace" in values:
        text = reader.text(values["replace"], f"{path}.replace")
        return Handling.MASK, FixedText(entity, text) if text is not None else None
    at = f"{path}.mask"
    given = reader.mapping(values["mask"], at, ("characters",), ("with", "from_end"))
    characters = reader.integer(*pick(given, "characters", at), 1, _CHARACTERS_MAX)
    with_character = reader.text(*pick(given, "with", at)) or "*"
    if len(with_character) != 1 or with_character.isalnum():
        reader.problem(given["with"], f"{at}.with", "must be one character that is neither letter nor digit, such as '*'")
    from_end = reader.flag(*pick(given, "from_end", at))
    return Handling.MASK, PartialMask(entity, characters or 1, with_character, from_end or False)


def _recognisers(reader: NodeReader, node: yaml.Node | None, path: str) -> tuple[ExtraRecogniser, ...]:
    names: set[str] = set()

    def read(item: yaml.Node, at: str) -> ExtraRecogniser | None:
        values = reader.mapping(item, at, ("name", "entity"), ("patterns", "context", "deny_list", "deny_list_score"))
        name = reader.unique(names, *pick(values, "name", at))
        entity = reader.shaped(*pick(values, "entity", at), _ENTITY, "upper case letters, digits and '_'")
        if isinstance(item, yaml.MappingNode) and not {"patterns", "deny_list"} & set(values):
            reader.problem(item, at, "a recogniser needs patterns, deny_list or both; add one")
        patterns = read_patterns(reader, *pick(values, "patterns", at))
        context = reader.texts(*pick(values, "context", at))
        words = reader.texts(*pick(values, "deny_list", at))
        score = reader.fraction(*pick(values, "deny_list_score", at)) if "deny_list_score" in values else 1.0
        # With a bad pattern it is given all the same, so that its entity is known and no second problem follows from the first.
        return ExtraRecogniser(entity, name, patterns, context, words, score or 1.0) if entity and name else None

    return reader.sequence(node, path, read)


def _allowed(reader: NodeReader, node: yaml.Node | None, path: str, known: tuple[str, ...]) -> tuple[Allowed, ...]:
    def read(item: yaml.Node, at: str) -> Allowed | None:
        values = reader.mapping(item, at, (), ("texts", "patterns", "entities"))
        if isinstance(item, yaml.MappingNode) and not {"texts", "patterns"} & set(values):
            reader.problem(item, at, "an entry needs texts, patterns or both; add one")
        patterns, place = pick(values, "patterns", at)
        return Allowed(
            texts=reader.texts(*pick(values, "texts", at)),
            patterns=reader.sequence(patterns, place, reader.regex),
            entities=reader.words(*pick(values, "entities", at), known),
        )

    return reader.sequence(node, path, read)


def _split_values(reader: NodeReader, node: yaml.Node | None, path: str, known: tuple[str, ...]) -> tuple[SplitValue, ...]:
    def read(item: yaml.Node, at: str) -> SplitValue | None:
        values = reader.mapping(item, at, ("entity", "keys"), ("parts",))
        entity = reader.word(*pick(values, "entity", at), known)
        keys = reader.texts(*pick(values, "keys", at))
        if "keys" in values and not 2 <= len(keys) <= _SPLIT_KEYS_MAX:
            reader.problem(values["keys"], f"{at}.keys", f"must be from 2 to {_SPLIT_KEYS_MAX} keys, came {len(keys)}")
        parts = reader.flag(*pick(values, "parts", at)) or False
        return SplitValue(entity, keys, parts) if entity else None

    return reader.sequence(node, path, read)
