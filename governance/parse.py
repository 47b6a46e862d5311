"""YAML text to a Policy, or every problem in it at once, each with its line, column and fix."""

from __future__ import annotations

import re
from importlib import resources
from typing import Final

import yaml

from governance.data_classes import FIELD_HANDLINGS, DataClass, Handling
from governance.nodes import NodeReader, pick
from governance.parse_limits import limits_policy
from governance.parse_models import models_policy
from governance.parse_patterns import read_patterns
from governance.parse_rules import RulesReader
from governance.policy import (
    KEY_ENTITIES,
    NAME_ENTITIES,
    PATTERN_ENTITIES,
    ExtraRecogniser,
    KeyName,
    PiiPolicy,
    Policy,
)

_ENTITY: Final = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*")
_USER_ID: Final = (Handling.HASH, Handling.DROP, Handling.KEEP)


def parse_policy(text: str, name: str = "policy") -> Policy:
    """Gives the policy that a YAML text says.

    Args:
        text: One YAML document.
        name: Name of the file, as it stands in messages.

    Raises:
        ConfigError: With every problem, e.g. ``default.yaml:12:5: rules[3].verdict: must be one of allow, warn, ...``.
    """
    reader = NodeReader(name)
    top = reader.mapping(reader.root(text), "", ("id", "version", "purpose", "handling", "pii", "rules"), ("models", "limits"))
    identity = [reader.text(*pick(top, key, "")) for key in ("id", "version", "purpose")]
    handling = _handling(reader, top.get("handling"))
    pii = _pii(reader, top.get("pii"))
    models = models_policy(reader, top.get("models"))
    if models.pii_tagger is not None and all(pii.handling_of(entity) is Handling.KEEP for entity in NAME_ENTITIES):
        reader.problem(top["models"], "models.pii_tagger", f"pii.entities handles none of {', '.join(NAME_ENTITIES)}; add one, or remove the tagger")
    rules = RulesReader(reader, has_guard=models.guard is not None).read(top.get("rules"))
    limits = limits_policy(reader, top.get("limits"), frozenset(rule.id for rule in rules))
    reader.check()
    policy_id, version, purpose = (part or "" for part in identity)
    return Policy(policy_id, version, purpose, pii, handling, rules, models, limits)


def default_policy() -> Policy:
    """Gives the policy that comes with headrace: ``governance/policies/default.yaml``."""
    file = resources.files("governance").joinpath("policies/default.yaml")
    return parse_policy(file.read_text(encoding="utf-8"), "policies/default.yaml")


def _handling(reader: NodeReader, node: yaml.Node | None) -> tuple[tuple[DataClass, Handling], ...]:
    values = reader.mapping(node, "handling", [member.value for member in DataClass])
    read = {member: reader.choice(*pick(values, member, "handling"), Handling, FIELD_HANDLINGS) for member in DataClass}
    return tuple((member, handling) for member, handling in read.items() if handling is not None)


def _pii(reader: NodeReader, node: yaml.Node | None) -> PiiPolicy:
    keys = ("score_threshold", "user_id", "entities", "identifier_entities")
    values = reader.mapping(node, "pii", keys, ("key_names", "recognisers"))
    recognisers = _recognisers(reader, *pick(values, "recognisers", "pii"))
    found = sorted({*PATTERN_ENTITIES, *KEY_ENTITIES, *(recogniser.entity for recogniser in recognisers)})
    entities: dict[str, Handling] = {}
    for entity, value in reader.mapping(*pick(values, "entities", "pii"), open_keys=True).items():
        path = f"pii.entities.{entity}"
        handling = reader.choice(value, path, Handling)
        if entity not in found:
            reader.problem(value, path, f"no recogniser finds this entity; known are {', '.join(found)}")
        elif handling is not None:
            entities[entity] = handling
    if isinstance(listed := values.get("recognisers"), yaml.SequenceNode):
        for recogniser in recognisers:
            if recogniser.entity not in entities:
                reader.problem(listed, f"pii.recognisers.{recogniser.name}", f"add {recogniser.entity} with its handling to pii.entities")
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
    )


def _recognisers(reader: NodeReader, node: yaml.Node | None, path: str) -> tuple[ExtraRecogniser, ...]:
    names: set[str] = set()

    def read(item: yaml.Node, at: str) -> ExtraRecogniser | None:
        values = reader.mapping(item, at, ("name", "entity", "patterns"), ("context",))
        name = reader.unique(names, *pick(values, "name", at))
        entity = reader.shaped(*pick(values, "entity", at), _ENTITY, "upper case letters, digits and '_'")
        patterns = read_patterns(reader, *pick(values, "patterns", at))
        context = reader.texts(*pick(values, "context", at))
        # With a bad pattern it is given all the same, so that its entity is known and no second problem follows from the first.
        return ExtraRecogniser(entity, name, patterns, context) if entity and name else None

    return reader.sequence(node, path, read)
