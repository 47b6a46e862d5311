"""YAML text to a Policy, or every problem in it at once, each with its line, column and fix."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Final

import yaml

from governance.data_classes import DataClass, Handling
from governance.nodes import NodeReader, pick
from governance.parse_models import models_policy
from governance.policy import (
    KEY_ENTITIES,
    KINDS,
    NAME_ENTITIES,
    PATTERN_ENTITIES,
    PPM,
    SCORE_LABELS,
    SIZED_FIELDS,
    AnyRule,
    DomainsRule,
    ExtraRecogniser,
    KeyName,
    PatternSpec,
    PhrasesRule,
    PiiPolicy,
    Policy,
    ScoresRule,
    SecretsRule,
    SizeRule,
    ToolsRule,
)
from governance.verdict import Action, Enforcement, Severity, Verdict

_BYTES_MAX: Final = 1 << 30
_RULE_ID: Final = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
_ENTITY: Final = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*")
_DOMAIN: Final = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)+")
_GLOB: Final = re.compile(r"[^\[\]{}]+")
_USER_ID: Final = (Handling.HASH, Handling.DROP, Handling.KEEP)

Values = Mapping[str, yaml.Node]


def parse_policy(text: str, name: str = "policy") -> Policy:
    """Gives the policy that a YAML text says.

    Args:
        text: One YAML document.
        name: Name of the file, as it stands in messages.

    Raises:
        ConfigError: With every problem, e.g. ``default.yaml:12:5: rules[3].verdict: must be one of allow, warn, ...``.
    """
    reader = NodeReader(name)
    top = reader.mapping(reader.root(text), "", ("id", "version", "purpose", "handling", "pii", "rules"), ("models",))
    identity = [reader.text(*pick(top, key, "")) for key in ("id", "version", "purpose")]
    handling = _handling(reader, top.get("handling"))
    pii = _pii(reader, top.get("pii"))
    models = models_policy(reader, top.get("models"))
    if models.pii_tagger is not None and all(pii.handling_of(entity) is Handling.KEEP for entity in NAME_ENTITIES):
        reader.problem(top["models"], "models.pii_tagger", f"pii.entities handles none of {', '.join(NAME_ENTITIES)}; add one, or remove the tagger")
    rules = _Rules(reader, has_guard=models.guard is not None).read(top.get("rules"))
    reader.check()
    policy_id, version, purpose = (part or "" for part in identity)
    return Policy(policy_id, version, purpose, pii, handling, rules, models)


def default_policy() -> Policy:
    """Gives the policy that comes with headrace: ``governance/policies/default.yaml``."""
    file = resources.files("governance").joinpath("policies/default.yaml")
    return parse_policy(file.read_text(encoding="utf-8"), "policies/default.yaml")


def _handling(reader: NodeReader, node: yaml.Node | None) -> tuple[tuple[DataClass, Handling], ...]:
    values = reader.mapping(node, "handling", [member.value for member in DataClass])
    read = {member: reader.choice(*pick(values, member, "handling"), Handling) for member in DataClass}
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
        name = _unique(reader, names, *pick(values, "name", at))
        entity = _shaped(reader, *pick(values, "entity", at), _ENTITY, "upper case letters, digits and '_'")
        patterns = _patterns(reader, *pick(values, "patterns", at))
        context = reader.texts(*pick(values, "context", at))
        # With a bad pattern it is given all the same, so that its entity is known and no second problem follows from the first.
        return ExtraRecogniser(entity, name, patterns, context) if entity and name else None

    return reader.sequence(node, path, read)


def _patterns(reader: NodeReader, node: yaml.Node | None, path: str) -> tuple[PatternSpec, ...]:
    names: set[str] = set()

    def read(item: yaml.Node, at: str) -> PatternSpec | None:
        values = reader.mapping(item, at, ("name", "regex"), ("score",))
        name = _unique(reader, names, *pick(values, "name", at))
        expression = reader.regex(*pick(values, "regex", at))
        score = reader.fraction(*pick(values, "score", at)) if "score" in values else 1.0
        return PatternSpec(name, expression, score) if name and expression and score else None

    return reader.sequence(node, path, read)


def _unique(reader: NodeReader, taken: set[str], node: yaml.Node | None, path: str) -> str | None:
    text = reader.text(node, path)
    if node is not None and text in taken:
        reader.problem(node, path, f"'{text}' is taken by an earlier entry; choose another")
    if text is not None:
        taken.add(text)
    return text


def _shaped(reader: NodeReader, node: yaml.Node | None, path: str, shape: re.Pattern[str], wanted: str) -> str | None:
    text = reader.text(node, path)
    if node is not None and text is not None and not shape.fullmatch(text):
        reader.problem(node, path, f"must be {wanted}, came '{text}'")
        return None
    return text


@dataclass(frozen=True, slots=True)
class _Common:
    """The parts that every rule has, as read; placeholders where there was a problem, for then no policy is made."""

    id: str
    description: str
    verdict: Verdict
    action: Action
    enforcement: Enforcement
    severity: Severity
    kinds: tuple[str, ...]
    fields: tuple[str, ...]


class _Rules:
    """Reads the list of rules; one method a type."""

    def __init__(self, reader: NodeReader, *, has_guard: bool) -> None:
        self._reader = reader
        self._has_guard = has_guard
        self._ids: set[str] = set()
        self._types: Mapping[str, tuple[tuple[str, ...], tuple[str, ...], Callable[[_Common, Values, str], AnyRule]]] = {
            SizeRule.type: (("bytes_max", "applies_to"), (), self._size),
            ToolsRule.type: ((), ("agents", "allow", "deny"), self._tools),
            DomainsRule.type: (("domains",), (), self._domains),
            PhrasesRule.type: ((), ("phrases", "patterns"), self._phrases),
            SecretsRule.type: (("patterns",), (), self._secrets),
            ScoresRule.type: (("label", "threshold"), (), self._scores),
        }

    def read(self, node: yaml.Node | None) -> tuple[AnyRule, ...]:
        return self._reader.sequence(node, "rules", self._rule)

    def _rule(self, node: yaml.Node, path: str) -> AnyRule | None:
        reader = self._reader
        kind = self._type(node, path)
        if kind is None:
            return None
        required, optional, make = self._types[kind]
        keys = ("id", "type", "description", "verdict", "action", "severity", *required)
        values = reader.mapping(node, path, keys, tuple(key for key in ("enforcement", "applies_to", *optional) if key not in required))
        return make(self._common(values, path, kind), values, path)

    def _type(self, node: yaml.Node, path: str) -> str | None:
        """The type is read first, for it says which keys are known."""
        known = tuple(self._types)
        if not isinstance(node, yaml.MappingNode):
            self._reader.mapping(node, path)
            return None
        for key, value in node.value:
            if key.value == "type":
                return self._reader.word(value, f"{path}.type", known)
        self._reader.problem(node, f"{path}.type", f"is missing; add one of {', '.join(known)}")
        return None

    def _common(self, values: Values, path: str, kind: str) -> _Common:
        reader = self._reader
        rule_id = _unique(reader, self._ids, *pick(values, "id", path))
        if rule_id is not None:
            _shaped(reader, *pick(values, "id", path), _RULE_ID, "lower case words joined by '.', '_' or '-'")
        verdict = reader.choice(*pick(values, "verdict", path), Verdict)
        action = reader.choice(*pick(values, "action", path), Action)
        if verdict is Verdict.ALLOW and action not in (None, Action.PASS):
            reader.problem(values["action"], f"{path}.action", f"must be pass where the verdict is allow, came '{action}'")
        needs_fields = kind == SizeRule.type
        at = f"{path}.applies_to"
        applies_to = reader.mapping(values.get("applies_to"), at, ("fields",) if needs_fields else (), ("kinds",))
        return _Common(
            id=rule_id or "",
            description=reader.text(*pick(values, "description", path)) or "",
            verdict=verdict or Verdict.ALLOW,
            action=action or Action.PASS,
            enforcement=reader.choice(*pick(values, "enforcement", path), Enforcement) or Enforcement.ENFORCE,
            severity=reader.choice(*pick(values, "severity", path), Severity) or Severity.INFO,
            kinds=reader.words(*pick(applies_to, "kinds", at), KINDS) or KINDS,
            fields=reader.words(*pick(applies_to, "fields", at), SIZED_FIELDS),
        )

    def _size(self, common: _Common, values: Values, path: str) -> AnyRule:
        bytes_max = self._reader.integer(*pick(values, "bytes_max", path), 1, _BYTES_MAX)
        return SizeRule(*_head(common), common.fields, bytes_max or 1)

    def _tools(self, common: _Common, values: Values, path: str) -> AnyRule:
        if "allow" not in values and "deny" not in values:
            self._reader.problem(_place(values), path, "a tools rule needs allow, deny or both; add one")
        agents, allow, deny = (self._globs(*pick(values, key, path)) for key in ("agents", "allow", "deny"))
        return ToolsRule(*_head(common), agents or ("*",), allow if "allow" in values else None, deny)

    def _domains(self, common: _Common, values: Values, path: str) -> AnyRule:
        reader = self._reader
        node, at = pick(values, "domains", path)
        domains = reader.texts(node, at)
        shaped = reader.sequence(node, at, lambda item, place: _shaped(reader, item, place, _DOMAIN, "a domain in lower case without scheme or path"))
        return DomainsRule(*_head(common), shaped or domains)

    def _phrases(self, common: _Common, values: Values, path: str) -> AnyRule:
        if "phrases" not in values and "patterns" not in values:
            self._reader.problem(_place(values), path, "a phrases rule needs phrases, patterns or both; add one")
        node, at = pick(values, "phrases", path)
        phrases = self._reader.texts(node, at)
        for phrase in phrases:
            if node is not None and (not phrase.isascii() or not any(char.isalnum() for char in phrase)):
                self._reader.problem(node, at, f"'{phrase}' must be written in ASCII letters; look-alikes of them are found as well")
        return PhrasesRule(*_head(common), phrases, _patterns(self._reader, *pick(values, "patterns", path)))

    def _secrets(self, common: _Common, values: Values, path: str) -> AnyRule:
        return SecretsRule(*_head(common), _patterns(self._reader, *pick(values, "patterns", path)))

    def _scores(self, common: _Common, values: Values, path: str) -> AnyRule:
        label = self._reader.word(*pick(values, "label", path), SCORE_LABELS)
        threshold = self._reader.fraction(*pick(values, "threshold", path))
        if not self._has_guard:
            self._reader.problem(_place(values), path, "a scores rule needs models.guard, which says what is scored; add it")
        return ScoresRule(*_head(common), label or SCORE_LABELS[0], round((threshold or 1.0) * PPM))

    def _globs(self, node: yaml.Node | None, path: str) -> tuple[str, ...]:
        globs = self._reader.texts(node, path)
        for glob in globs:
            if node is not None and not _GLOB.fullmatch(glob):
                self._reader.problem(node, path, f"'{glob}': a glob knows '*' and '?' and no brackets")
        return globs


def _head(common: _Common) -> tuple[str, str, Verdict, Action, Enforcement, Severity, tuple[str, ...]]:
    return common.id, common.description, common.verdict, common.action, common.enforcement, common.severity, common.kinds


def _place(values: Values) -> yaml.Node:
    return values["type"]
