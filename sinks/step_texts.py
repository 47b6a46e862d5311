"""Which events become vectors, and which text of an event: pure, over frames of ``enriched_events``.

An event is chosen by its kind; its text is made of the strings in the columns named for that kind, in order, one a line: a string that is the whole
column as it is, a member of an object as ``key: value``. What was masked stays masked. An event without text, or with too little of it beside
placeholders, is left out, and counted by reason.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import msgspec
import polars as pl

from sinks.contract import Refused
from sinks.leak_check import LeakCheck

NOT_SELECTED: Final = "not_selected"
EMPTY: Final = "empty"
SHORT: Final = "short"
UNMASKED: Final = "unmasked"

#: Payload fields that are columns of the frame.
PAYLOAD_COLUMNS: Final = (
    *("agent_id", "session_id", "execution_id", "user_id", "kind", "event_type", "tool_name", "step_type", "event_time", "verdict", "action"),
    *("topic", "partition", "offset"),
)
PATHS_MAX: Final = 32

_PLACEHOLDER: Final = re.compile(r"<[A-Z_]+(?::[a-p]{12})?>")
_DECODE: Final = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class TextRule:
    """Which texts are embedded.

    Attributes:
        columns: Content columns by kind of event; kinds that are not named are not embedded.
        chars_min: Characters beside placeholders that a text must have.
        chars_max: Characters of a text that are embedded and stored; the rest is left off, and the payload says so.
        masked: Entities that policy masks: none of them may be left in what is written.
    """

    columns: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: MappingProxyType({"reasoning": ("output",), "tool": ("output",), "agent": ("output",)})
    )
    chars_min: int = 16
    chars_max: int = 2_000
    masked: frozenset[str] = LeakCheck.ENTITIES


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is to be embedded of a frame.

    Attributes:
        payloads: Payload by event_uid, in the order of the rows; the text is in ``text``.
        repeated: Rows whose event_uid stood in an earlier row.
        left_out: Rows that are not embedded, by reason.
        unmasked: Those of them that hold what must not be written.
    """

    payloads: Mapping[str, dict[str, Any]]
    repeated: int
    left_out: Mapping[str, int]
    unmasked: Sequence[Refused]


def chosen(frame: pl.DataFrame, rule: TextRule) -> Chosen:
    """Gives what is to be embedded of rows of ``enriched_events``.

    Raises:
        msgspec.DecodeError: A content column holds no JSON text; our own bug, and its message quotes nothing.
    """
    payloads: dict[str, dict[str, Any]] = {}
    left_out: Counter[str] = Counter()
    unmasked: list[Refused] = []
    repeated = 0
    check = LeakCheck(rule.masked)
    content = sorted({column for columns in rule.columns.values() for column in columns})
    for row in frame.select("event_uid", *PAYLOAD_COLUMNS, *content).iter_rows(named=True):
        reason, payload = _payload(row, rule)
        if reason is None and (entity := check.first(_strings(payload))) is not None:
            reason = UNMASKED
            unmasked.append(Refused(row["topic"], row["partition"], row["offset"], f"{UNMASKED}: {entity}"))
        if reason is not None:
            left_out[reason] += 1
        elif row["event_uid"] in payloads:
            repeated += 1
        else:
            payloads[row["event_uid"]] = payload
    return Chosen(payloads, repeated, left_out, unmasked)


def _payload(row: Mapping[str, Any], rule: TextRule) -> tuple[str | None, dict[str, Any]]:
    """Gives the reason to leave a row out, or None and its payload."""
    columns = rule.columns.get(row["kind"])
    if columns is None:
        return NOT_SELECTED, {}
    lines: list[str] = []
    paths: list[str] = []
    chars = size = 0
    for path, key, text in (leaf for column in columns if row[column] is not None for leaf in _leaves(_DECODE(row[column]), column, None)):
        lines.append(text if key is None else f"{key}: {text}")
        chars += len(_PLACEHOLDER.sub("", text).strip())
        size += len(lines[-1]) + 1
        if len(paths) < PATHS_MAX:
            paths.append(path)
        if size > rule.chars_max:
            break
    if not chars:
        return EMPTY, {}
    if chars < rule.chars_min:
        return SHORT, {}
    text = "\n".join(lines)
    payload = {column: row[column] for column in PAYLOAD_COLUMNS}
    return None, {**payload, "text": text[: rule.chars_max], "cut": len(text) > rule.chars_max, "paths": paths}


def _leaves(node: Any, path: str, key: str | None) -> Iterator[tuple[str, str | None, str]]:
    """Gives path, key and text of every string that is not blank, in the order of the document."""
    if isinstance(node, str):
        if node.strip():
            yield path, key, node
    elif isinstance(node, dict):
        for name, value in node.items():
            yield from _leaves(value, f"{path}/{name}", name)
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _leaves(value, f"{path}/{index}", key)


def _strings(payload: Mapping[str, Any]) -> Iterator[str]:
    """Gives every string that would be written."""
    for value in payload.values():
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            yield from value
