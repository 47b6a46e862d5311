"""The job of the peers on one record: the rules that headrace applies to a frame, written as anybody would write them for one event.

Every string in a content field is masked with Presidio's patterns (JSON inside strings too), the raw-value rules of the default policy look at the
same strings, the user id becomes a keyed hash, and the record gets a verdict. The masker is given: plain Presidio, or headrace's own, so that
the share of masking in a peer's cost shows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from hashlib import blake2b
from math import ceil, log
from typing import Any, Final

from governance.parse import default_policy
from governance.policy import Policy
from governance.rules import DomainsRule, PhrasesRule, SecretsRule, SizeRule, ToolsRule
from operators.guardrails.rules import RawRules
from operators.pii.mask import TextMasker
from operators.pii.reference import engine
from operators.pii.step import mask_spec

#: Fields of the input JSON that hold free text.
CONTENT: Final = ("input_data", "output_data", "arguments", "result", "content", "error", "metadata", "message")
WINDOW_MS: Final = 10_000
#: How long after its end a peer keeps a window. headrace keeps 60 s: this is to the peers' advantage.
GRACE_MS: Final = 10_000
_KEY: Final = b"benchmark key 16"
_GAMMA: Final = log(1.02)
_ORDER: Final = ("allow", "warn", "modify", "deny", "escalate")

#: Start and end of a finding, and its entity.
Found = tuple[int, int, str]
#: Masks the content fields of an event in place; gives how many values were masked and the ids of the raw-value rules that hit.
ContentMasker = Callable[[dict[str, Any]], tuple[int, set[str]]]


def _python_rules(policy: Policy) -> list[tuple[str, re.Pattern[str]]]:
    """Gives one regex a raw-value rule."""
    rules = []
    for rule in policy.rules:
        if isinstance(rule, DomainsRule):
            expressions = [rf"(?<![\w-]){re.escape(domain)}(?![\w-])" for domain in rule.domains]
        elif isinstance(rule, PhrasesRule):
            expressions = [re.escape(phrase).replace(r"\ ", r"\W*") for phrase in rule.phrases]
            expressions += [re.sub(r" (?![^\[]*\])", r"\\W*", pattern.regex) for pattern in rule.patterns]
        elif isinstance(rule, SecretsRule):
            expressions = [pattern.regex for pattern in rule.patterns]
        else:
            continue
        rules.append((rule.id, re.compile("|".join(f"(?:{one})" for one in expressions), re.IGNORECASE | re.MULTILINE | re.DOTALL)))
    return rules


@dataclass(frozen=True, slots=True)
class Leaf:
    """A string in a record, how to put another in its place, and what it is where its key says so."""

    text: str
    put: Callable[[str], None]
    entity: str | None = None


class PlainPresidio:
    """Presidio's own engine asked text by text, and the rules as Python regexes."""

    def __init__(self, policy: Policy) -> None:
        spec = mask_spec(policy, _KEY).recogniser
        self._threshold = spec.score_threshold
        self._analyzer = engine(spec)
        known = {entity for recogniser in self._analyzer.registry.recognizers for entity in recogniser.supported_entities}
        self._entities = sorted(known & (spec.entities or known))
        self._rules = _python_rules(policy)
        self._names = {key.name: key.entity for key in policy.pii.key_names}

    def __call__(self, event: dict[str, Any]) -> tuple[int, set[str]]:
        """Masks the content of an event."""
        embedded: list[Callable[[], None]] = []
        masked, hits = 0, set()
        for name in CONTENT:
            for leaf in self._leaves(event, name, embedded) if name in event else ():
                if leaf.entity is not None:
                    leaf.put(f"<{leaf.entity}>")
                    masked += 1
                    continue
                hits |= {rule for rule, expression in self._rules if expression.search(leaf.text)}
                results = self._analyzer.analyze(leaf.text, "en", entities=self._entities, score_threshold=self._threshold)
                if results:
                    text, count = _masked(leaf.text, [(one.start, one.end, one.entity_type) for one in results])
                    leaf.put(text)
                    masked += count
        for pack in reversed(embedded):
            pack()
        return masked, hits

    def _leaves(self, parent: Any, at: Any, embedded: list[Callable[[], None]]) -> Iterator[Leaf]:
        """Gives the strings below ``parent[at]``, those under a personal key with its entity."""
        value = parent[at]
        if isinstance(value, dict):
            for key in value:
                if key in self._names and isinstance(value[key], str):
                    yield Leaf(value[key], partial(value.__setitem__, key), self._names[key])
                else:
                    yield from self._leaves(value, key, embedded)
        elif isinstance(value, list):
            for index in range(len(value)):
                yield from self._leaves(value, index, embedded)
        elif isinstance(value, str):
            inner = _json_inside(value)
            if inner is None:
                yield Leaf(value, partial(parent.__setitem__, at))
            else:
                box = [inner]
                embedded.append(lambda: parent.__setitem__(at, json.dumps(box[0], ensure_ascii=False, separators=(",", ":"))))
                yield from self._leaves(box, 0, embedded)


class HeadraceMasker:
    """headrace's masker with its memory of texts and its rule scan, asked record by record."""

    def __init__(self, policy: Policy) -> None:
        self._masker = TextMasker(mask_spec(policy, _KEY), RawRules(policy))

    def __call__(self, event: dict[str, Any]) -> tuple[int, set[str]]:
        """Masks the content of an event."""
        present = [name for name in CONTENT if event.get(name) is not None]
        made = self._masker.mask_json([json.dumps(event[name], ensure_ascii=False) for name in present])
        if made.failures:
            raise ValueError("a record could not be masked")
        for name, text in zip(present, made.values, strict=True):
            event[name] = json.loads(text or "null")
        return sum(len(hits) for hits in made.hits), {rule for rules in made.rules for rule in rules}


MASKERS: Final[dict[str, Callable[[Policy], ContentMasker]]] = {"presidio": PlainPresidio, "headrace": HeadraceMasker}


class RecordRules:
    """Turns the bytes of one record into its enriched event."""

    def __init__(self, masker: str) -> None:
        policy = default_policy()
        self._mask = MASKERS[masker](policy)
        self._size = [rule for rule in policy.rules if isinstance(rule, SizeRule)]
        self._tools = [rule for rule in policy.rules if isinstance(rule, ToolsRule)]
        self._verdict = {rule.id: rule.verdict.value for rule in policy.rules}
        self._policy = (policy.id, policy.version)

    def __call__(self, value: bytes) -> dict[str, Any]:
        """Gives the enriched event of a record's bytes."""
        event: dict[str, Any] = json.loads(value)
        masked, hits = self._mask(event)
        if event.get("user_id"):
            event["user_id"] = "u_" + blake2b(event["user_id"].encode(), digest_size=8, key=_KEY).hexdigest()
        hits |= {rule.id for rule in self._size if len(value) > rule.bytes_max and "value" in rule.fields}
        tool = event.get("tool_name")
        hits |= {rule.id for rule in self._tools if tool and any(fnmatchcase(tool.lower(), glob) for glob in rule.deny)}
        verdict = max((self._verdict[hit] for hit in hits), key=_ORDER.index, default="allow")
        event.update(masked_count=masked, hits=sorted(hits), verdict=verdict, policy_id=self._policy[0], policy_version=self._policy[1])
        return event


def _json_inside(text: str) -> Any:
    if text[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None


def _masked(text: str, findings: list[Found]) -> tuple[str, int]:
    """Puts ``<ENTITY>`` in the place of each span; of overlapping spans the earliest, longest stays."""
    parts, at, count = [], 0, 0
    for start, end, entity in sorted(findings, key=lambda one: (one[0], -one[1])):
        if start >= at:
            parts += [text[at:start], f"<{entity}>"]
            at, count = end, count + 1
    return "".join([*parts, text[at:]]), count


def empty_window() -> dict[str, Any]:
    """Gives a window without events; a dict of JSON values, so that every peer can keep it."""
    return {"count": 0, "errors": 0, "tokens": 0, "masked": 0, "latency_sum_ms": 0.0, "latencies": {}}


def fold(window: dict[str, Any], event: dict[str, Any]) -> dict[str, Any]:
    """Counts an event into a window: count, errors, tokens and a log-bucket histogram of latencies."""
    window["count"] += 1
    window["masked"] += event["masked_count"]
    window["errors"] += event.get("status") not in (None, "success", "ok")
    window["tokens"] += (event.get("input_tokens") or 0) + (event.get("output_tokens") or 0)
    latency_ms = event.get("latency_ms", event.get("execution_time_ms"))
    if latency_ms is not None:
        window["latency_sum_ms"] += latency_ms
        bucket = str(ceil(log(max(latency_ms, 0.001)) / _GAMMA))
        window["latencies"][bucket] = window["latencies"].get(bucket, 0) + 1
    return window


def summary(agent: str, start_ms: int, window: dict[str, Any]) -> dict[str, Any]:
    """Gives the metrics of a closed window, with the p95 latency."""
    counts = sorted((int(bucket), count) for bucket, count in window["latencies"].items())
    rank, p95 = 0.95 * sum(count for _, count in counts), None
    for bucket, count in counts:
        rank -= count
        if rank <= 0:
            p95 = 1.02**bucket
            break
    return {"agent_id": agent, "window_start": start_ms, "p95_ms": p95, **{name: window[name] for name in window if name != "latencies"}}
