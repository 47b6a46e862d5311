"""A file of cases to values, or every problem in it at once, each with its line, column and fix."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from governance.nodes import NodeReader, guess, pick
from governance.pii import NAME_ENTITIES
from governance.rules import SCORE_LABELS
from models.spec import MODELS
from schemas.errors import ConfigError
from schemas.topics import INPUTS, OUTPUTS
from streams.cases.case import Case, CaseFile, InputEvent, ModelSays, Scored
from streams.cases.outcome import OUTCOME_KEYS
from streams.cases.wanted import TAGS, Tagged
from streams.engines.files import topic_of_fields

SUFFIX: Final = ".test.yaml"
#: Event time of the first event that names none, and how far the next ones lie apart.
FIRST_MS: Final = 1_767_225_600_000
STEP_MS: Final = 1_000
_REPEAT_MAX: Final = 100_000
#: The fields of an event that are filled where a case leaves them out, by topic where they differ.
_OWNER: Final = {"workflow_events": "workflow_id", "system_events": "service"}
_HARMLESS: Final = yaml.SafeLoader("")


def parse_cases(text: str, path: Path, policy: Path | None = None) -> CaseFile:
    """Gives the cases that a YAML text says.

    Args:
        text: One YAML document.
        path: Its file; says which policy is meant where the text does not.
        policy: The policy to run the cases on in place of theirs.

    Raises:
        ConfigError: With every problem, e.g. ``default.test.yaml:12:5: tests[3].expect: ...``.
    """
    reader = NodeReader(str(path))
    top = reader.mapping(reader.root(text), "", ("tests",), ("policy", "models"))
    named = reader.text(*pick(top, "policy", ""))
    everywhere = _models(reader, top.get("models"), "models") if "models" in top else None
    names: set[str] = set()
    cases = reader.sequence(top.get("tests"), "tests", lambda node, at: _case(reader, node, at, everywhere, names))
    reader.check()
    beside = path.with_name(path.name.removesuffix(SUFFIX) + ".yaml")
    return CaseFile(path, policy or (path.parent / named if named else beside), cases)


def read_cases(path: Path, policy: Path | None = None) -> CaseFile:
    """Gives the cases in a file; raises ConfigError with every problem."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the cases cannot be read ({type(error).__name__}); check the path") from None
    return parse_cases(text, path, policy)


def _case(reader: NodeReader, node: yaml.Node, path: str, everywhere: ModelSays | None, names: set[str]) -> Case | None:
    values = reader.mapping(node, path, ("name", "events"), ("expect", "outputs", "models"))
    name = reader.text(*pick(values, "name", path))
    if name is not None and name in names:
        reader.problem(values["name"], f"{path}.name", f"'{name}' is taken by an earlier case; choose another")
    names.add(name or "")
    counts: list[int] = []
    groups = reader.sequence(*pick(values, "events", path), lambda item, at: _events(reader, item, at, counts))
    events = [event for group in groups for event in group]
    models = _models(reader, values["models"], f"{path}.models") if "models" in values else everywhere
    outputs = _outputs(reader, values.get("outputs"), f"{path}.outputs")
    expected = _expected(reader, values.get("expect"), f"{path}.expect", len(events))
    if "expect" not in values and "outputs" not in values:
        reader.problem(node, path, "says nothing that must hold; add expect or outputs")
    return Case(name or "", node.start_mark.line + 1, events, models, expected, outputs)


def _events(reader: NodeReader, node: yaml.Node, path: str, counts: list[int]) -> list[InputEvent] | None:
    """Gives one event, or as many as ``repeat`` says; fields that every event has are filled where they are absent."""
    values = reader.mapping(node, path, open_keys=True)
    topic = reader.word(*pick(values, "topic", path), tuple(INPUTS)) or topic_of_fields(values)
    if "raw" in values:
        text = reader.text(*pick(values, "raw", path))
        for key in values.keys() - {"raw", "topic"}:
            reader.problem(values[key], f"{path}.{key}", "raw is the whole record as text; leave the other keys out")
        counts.append(1)
        return [InputEvent(topic, (text or "").encode())]
    times, every_ms = 1, STEP_MS
    if "repeat" in values:
        repeat = reader.mapping(values["repeat"], f"{path}.repeat", ("times",), ("every_ms",))
        times = reader.integer(*pick(repeat, "times", f"{path}.repeat"), 1, _REPEAT_MAX) or 1
        given_ms = reader.integer(*pick(repeat, "every_ms", f"{path}.repeat"), 0, 86_400_000)
        every_ms = STEP_MS if given_ms is None else given_ms
    fields = {key: value_of(reader, value, f"{path}.{key}") for key, value in values.items() if key not in ("topic", "repeat")}
    made = []
    for number in range(times):
        filled = {
            "event_id": f"event-{len(counts) + 1}",
            "event_type": f"{INPUTS[topic].kind}.executed",
            "timestamp": FIRST_MS + len(counts) * STEP_MS,
            _OWNER.get(topic, "agent_id"): "agent-1",
        }
        event = {**filled, **fields}
        if times > 1:
            start = event["timestamp"] if isinstance(event["timestamp"], int) and "timestamp" in fields else FIRST_MS
            event |= {"event_id": f"{fields.get('event_id', 'event')}-{len(counts) + 1}", "timestamp": start + number * every_ms}
        made.append(InputEvent(topic, json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()))
        counts.append(1)
    return made


def _expected(reader: NodeReader, node: yaml.Node | None, path: str, count: int) -> list[Mapping[str, Any]]:
    """Gives what must become of each event: a list with an entry each, or one mapping that holds for every event."""
    if node is None:
        return []
    if isinstance(node, yaml.MappingNode):
        return [_outcome(reader, node, path)] * count
    found = list(reader.sequence(node, path, lambda item, at: _outcome(reader, item, at)))
    if isinstance(node, yaml.SequenceNode) and len(node.value) != count:
        reader.problem(node, path, f"must have an entry for each of {count} events, has {len(node.value)}; write {{}} for one that does not matter")
    return found


def _outcome(reader: NodeReader, node: yaml.Node, path: str) -> Mapping[str, Any]:
    values = reader.mapping(node, path, (), OUTCOME_KEYS)
    return {key: value_of(reader, value, f"{path}.{key}") for key, value in values.items()}


def _outputs(reader: NodeReader, node: yaml.Node | None, path: str) -> Mapping[str, list[Any]]:
    values = reader.mapping(node, path, (), tuple(OUTPUTS))
    found = {}
    for topic, items in values.items():
        wanted = value_of(reader, items, f"{path}.{topic}")
        if not isinstance(wanted, list) or not all(isinstance(one, dict) for one in wanted):
            reader.problem(items, f"{path}.{topic}", "must be a list of records, each a mapping of the fields that matter; [] wants none")
            wanted = []
        found[topic] = wanted
    return found


def _models(reader: NodeReader, node: yaml.Node | None, path: str) -> ModelSays:
    values = reader.mapping(node, path, (), ("names", "scores", "away"))
    names = {
        text: entity
        for text, item in reader.mapping(*pick(values, "names", path), open_keys=True).items()
        if (entity := reader.word(item, f"{path}.names.{text}", NAME_ENTITIES)) is not None
    }
    scores = reader.sequence(*pick(values, "scores", path), lambda item, at: _scored(reader, item, at))
    away = reader.words(*pick(values, "away", path), [spec.name for spec in MODELS])
    return ModelSays(names, scores, frozenset(away))


def _scored(reader: NodeReader, node: yaml.Node, path: str) -> Scored | None:
    values = reader.mapping(node, path, ("text",), SCORE_LABELS)
    text = reader.text(*pick(values, "text", path))
    scores = {label: reader.fraction(values[label], f"{path}.{label}") or 0.0 for label in SCORE_LABELS if label in values}
    return Scored(text, **scores) if text else None


def value_of(reader: NodeReader, node: yaml.Node, path: str) -> Any:
    """Gives the JSON value that a node says; dates stay the text that was written, tags of ``wanted`` become what they say."""
    if node.tag.startswith("!"):
        if node.tag not in TAGS or not isinstance(node, yaml.ScalarNode):
            reader.problem(node, path, f"unknown tag; known are {', '.join(TAGS)}, each before a text{guess(node.tag, TAGS)}")
            return None
        return Tagged(node.tag, str(node.value))
    if isinstance(node, yaml.MappingNode):
        return {str(key.value): value_of(reader, value, f"{path}.{key.value}") for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [value_of(reader, item, f"{path}[{index}]") for index, item in enumerate(node.value)]
    if node.tag in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:str"):
        return str(node.value)
    return _HARMLESS.construct_object(node)
