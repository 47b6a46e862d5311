"""The list ``rules`` of a policy: one reading method a type of rule."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, get_args

import yaml

from governance.nodes import NodeReader, pick
from governance.parse_json_schema import read_json_schema
from governance.parse_patterns import read_patterns
from governance.policy import PPM
from governance.rules import (
    CHARACTER_CLASSES,
    FILE_CONTENTS,
    FORMATS,
    KINDS,
    NETWORKS,
    SCORE_LABELS,
    SIZED_FIELDS,
    AnyRule,
    CharactersRule,
    DomainsRule,
    FilesRule,
    FormatRule,
    Origin,
    PatternsRule,
    PhrasesRule,
    SchemaRule,
    ScoresRule,
    SecretsRule,
    SizeRule,
    TermsRule,
    TextRule,
    TextScope,
    ToolsRule,
    TopicsRule,
    UrlsRule,
)
from governance.verdict import Action, Enforcement, Severity, Verdict
from schemas.events import CONTENT

_BYTES_MAX: Final = 1 << 30
_RULE_ID: Final = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
_DOMAIN: Final = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)+")
_TERM: Final = re.compile(r"[a-z0-9]+(?:[ '-][a-z0-9]+)*")
_EXTENSION: Final = re.compile(r"[a-z0-9]{1,16}")
_POINTER: Final = re.compile(r"(?:/[^/]+)+")
_URL_KEYS: Final = ("allow_domains", "allow_ports", "deny_ports", "deny_networks", "deny_disguised")
_FILE_KEYS: Final = ("extensions", "contents", "allow_extensions", "allow_contents")
#: What says less than a short sentence speaks of no topic.
_TOPIC_CHARS_MIN: Final = 40
_GLOB: Final = re.compile(r"[^\[\]{}]+")

#: Types of rule whose texts can be narrowed to some columns or to words of some origin.
_OF_TEXTS: Final = tuple(rule.type for rule in get_args(TextRule))

Values = Mapping[str, yaml.Node]


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
    scope: TextScope


class RulesReader:
    """Reads the list of rules; one method a type.

    Args:
        reader: Takes the problems.
        has_guard: Whether the policy says what the model ``guard`` scores.
    """

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
            PatternsRule.type: (("patterns",), (), self._patterns),
            TermsRule.type: (("terms",), ("count_min",), self._terms),
            TopicsRule.type: (("allow",), ("chars_min",), self._topics),
            CharactersRule.type: (("classes", "count_min"), (), self._characters),
            UrlsRule.type: ((), _URL_KEYS, self._urls),
            FilesRule.type: ((), _FILE_KEYS, self._files),
            SchemaRule.type: ((), ("agents", "column", "tools", "schema"), self._schema),
            FormatRule.type: (("column", "formats"), ("path",), self._format),
            ScoresRule.type: (("label", "threshold"), (), self._scores),
        }

    def read(self, node: yaml.Node | None) -> tuple[AnyRule, ...]:
        """Gives the rules in the order of the file; problems go to the reader."""
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
        rule_id = reader.unique(self._ids, *pick(values, "id", path))
        if rule_id is not None:
            reader.shaped(*pick(values, "id", path), _RULE_ID, "lower case words joined by '.', '_' or '-'")
        verdict = reader.choice(*pick(values, "verdict", path), Verdict)
        action = reader.choice(*pick(values, "action", path), Action)
        if verdict is Verdict.ALLOW and action not in (None, Action.PASS):
            reader.problem(values["action"], f"{path}.action", f"must be pass where the verdict is allow, came '{action}'")
        at = f"{path}.applies_to"
        narrowing = ("kinds", "columns", "origin") if kind in _OF_TEXTS else ("kinds",)
        applies_to = reader.mapping(values.get("applies_to"), at, ("fields",) if kind == SizeRule.type else (), narrowing)
        return _Common(
            id=rule_id or "",
            description=reader.text(*pick(values, "description", path)) or "",
            verdict=verdict or Verdict.ALLOW,
            action=action or Action.PASS,
            enforcement=reader.choice(*pick(values, "enforcement", path), Enforcement) or Enforcement.ENFORCE,
            severity=reader.choice(*pick(values, "severity", path), Severity) or Severity.INFO,
            kinds=reader.words(*pick(applies_to, "kinds", at), KINDS) or KINDS,
            fields=reader.words(*pick(applies_to, "fields", at), SIZED_FIELDS),
            scope=TextScope(
                reader.words(*pick(applies_to, "columns", at), CONTENT) or CONTENT,
                reader.choice(*pick(applies_to, "origin", at), Origin) or Origin.ANY,
            ),
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
        shaped = reader.sequence(node, at, lambda item, place: reader.shaped(item, place, _DOMAIN, "a domain in lower case without scheme or path"))
        return DomainsRule(*_head(common), shaped or domains, common.scope)

    def _phrases(self, common: _Common, values: Values, path: str) -> AnyRule:
        if "phrases" not in values and "patterns" not in values:
            self._reader.problem(_place(values), path, "a phrases rule needs phrases, patterns or both; add one")
        node, at = pick(values, "phrases", path)
        phrases = self._reader.texts(node, at)
        for phrase in phrases:
            if node is not None and not any(char.isalnum() for char in phrase):
                self._reader.problem(node, at, f"'{phrase}' holds neither letter nor digit; write words")
        return PhrasesRule(*_head(common), phrases, read_patterns(self._reader, *pick(values, "patterns", path)), common.scope)

    def _secrets(self, common: _Common, values: Values, path: str) -> AnyRule:
        return SecretsRule(*_head(common), read_patterns(self._reader, *pick(values, "patterns", path)), common.scope)

    def _patterns(self, common: _Common, values: Values, path: str) -> AnyRule:
        return PatternsRule(*_head(common), read_patterns(self._reader, *pick(values, "patterns", path)), common.scope)

    def _terms(self, common: _Common, values: Values, path: str) -> AnyRule:
        reader = self._reader
        node, at = pick(values, "terms", path)
        shaped = reader.sequence(
            node, at, lambda item, place: reader.shaped(item, place, _TERM, "words in lower case ASCII, e.g. 'high blood pressure'")
        )
        terms = tuple(dict.fromkeys(shaped))
        count = reader.integer(*pick(values, "count_min", path), 1, max(1, len(terms)))
        return TermsRule(*_head(common), terms, count or 1, common.scope)

    def _topics(self, common: _Common, values: Values, path: str) -> AnyRule:
        reader = self._reader
        node, at = pick(values, "allow", path)
        topics = reader.mapping(node, at, open_keys=True)
        if node is not None and isinstance(node, yaml.MappingNode) and not topics:
            reader.problem(node, at, "no topic is allowed; name at least one with its words")
        allow = tuple((name, reader.texts(words, f"{at}.{name}")) for name, words in topics.items())
        for name, words in allow:
            for word in words:
                if not any(char.isalnum() for char in word):
                    reader.problem(topics[name], f"{at}.{name}", f"'{word}' holds neither letter nor digit; write words")
        chars = reader.integer(*pick(values, "chars_min", path), 1, 1_000_000)
        return TopicsRule(*_head(common), allow, chars or _TOPIC_CHARS_MIN, common.scope)

    def _characters(self, common: _Common, values: Values, path: str) -> AnyRule:
        classes = self._reader.words(*pick(values, "classes", path), CHARACTER_CLASSES)
        count = self._reader.integer(*pick(values, "count_min", path), 1, 1_000_000)
        return CharactersRule(*_head(common), classes or CHARACTER_CLASSES[:1], count or 1, common.scope)

    def _urls(self, common: _Common, values: Values, path: str) -> AnyRule:
        reader = self._reader
        if not any(key in values for key in _URL_KEYS):
            reader.problem(_place(values), path, f"a urls rule needs one of {', '.join(_URL_KEYS)}; add one")
        node, at = pick(values, "allow_domains", path)
        domains = reader.sequence(node, at, lambda item, place: reader.shaped(item, place, _DOMAIN, "a domain in lower case without scheme or path"))
        allow, deny = (reader.sequence(*pick(values, key, path), lambda item, at: reader.integer(item, at, 1, 65_535)) for key in _URL_KEYS[1:3])
        networks = reader.words(*pick(values, "deny_networks", path), NETWORKS)
        disguised = reader.boolean(*pick(values, "deny_disguised", path)) or False
        return UrlsRule(
            *_head(common),
            domains if "allow_domains" in values else None,
            allow if "allow_ports" in values else None,
            deny,
            networks,
            disguised,
            common.scope,
        )

    def _files(self, common: _Common, values: Values, path: str) -> AnyRule:
        reader = self._reader
        if not any(key in values for key in _FILE_KEYS):
            reader.problem(_place(values), path, f"a files rule needs one of {', '.join(_FILE_KEYS)}; add one")
        wanted = "letters and digits in lower case without a dot"
        denied, allowed = (
            reader.sequence(*pick(values, key, path), lambda item, place: reader.shaped(item, place, _EXTENSION, wanted)) for key in _FILE_KEYS[::2]
        )
        contents, allowed_contents = (reader.words(*pick(values, key, path), FILE_CONTENTS) for key in _FILE_KEYS[1::2])
        for key, both in (("allow_extensions", {*denied} & {*allowed}), ("allow_contents", {*contents} & {*allowed_contents})):
            for one in sorted(both):
                reader.problem(values[key], f"{path}.{key}", f"'{one}' is denied by the same rule, and deny wins; remove it from one of the two")
        return FilesRule(
            *_head(common),
            denied,
            contents,
            common.scope,
            allowed if "allow_extensions" in values else None,
            allowed_contents if "allow_contents" in values else None,
        )

    def _schema(self, common: _Common, values: Values, path: str) -> AnyRule:
        reader = self._reader
        if ("tools" in values) == ("schema" in values):
            reader.problem(_place(values), path, "a schema rule needs either tools (a schema for each) or schema (one for all); leave one")
        schemas = [(glob, node, f"{path}.tools.{glob}") for glob, node in reader.mapping(*pick(values, "tools", path), open_keys=True).items()]
        node_of_all, at_all = pick(values, "schema", path)
        if node_of_all is not None:
            schemas.append(("*", node_of_all, at_all))
        read = tuple((glob, schema) for glob, node, at in schemas if (schema := read_json_schema(reader, node, at)) is not None)
        column = reader.word(*pick(values, "column", path), CONTENT) or "input"
        return SchemaRule(*_head(common), self._globs(*pick(values, "agents", path)) or ("*",), column, read)

    def _format(self, common: _Common, values: Values, path: str) -> AnyRule:
        reader = self._reader
        column = reader.word(*pick(values, "column", path), CONTENT) or "input"
        pointer = reader.shaped(*pick(values, "path", path), _POINTER, "a JSON pointer to a key, e.g. /answer/date")
        return FormatRule(*_head(common), column, pointer or "", reader.words(*pick(values, "formats", path), FORMATS))

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
