"""From the bytes of a record to an event or to the codes of its faults, in plain Python.

A record may have several faults and gets one dead letter; which fault a parser meets first is no promise, so every code that fits counts as right.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final

import fastavro

from streams.verify.plain.event import NUMBER_MAX, Event, Reading, Record
from streams.verify.plain.shapes import CONTENT_OF, KEPT, ROAMING, SCALED, Shape

_TIME_MAX_MS: Final = 253_402_300_799_999
_NAME_BYTES_MAX: Final = 512
_HEADER_BYTES: Final = 5
_UTC_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a record may be at most."""

    bytes_max: int
    depth_max: int
    skew_ms_max: int


class _Fault(Exception):
    """A record that cannot go on; holds the code alone."""

    def __init__(self, *codes: str) -> None:
        super().__init__(*codes)
        self.codes = codes


class _NotFinite(float):
    """Stands for a NaN or Infinity literal."""


def read(record: Record, shape: Shape, bounds: Bounds, writer: Callable[[int], Any] | None) -> Reading:
    """Gives what can become of one record.

    Args:
        record: As it lies in its topic.
        shape: Of its topic.
        bounds: Of the configuration.
        writer: Gives the parsed schema of an id, None where there is none that can be read; None where no registry is configured.
    """
    value = record.value
    if value is None:
        return Reading(None, frozenset({"field_missing"}))
    if len(value) > bounds.bytes_max:
        return Reading(None, frozenset({"record_oversized"}))
    try:
        fields = _avro(value, shape, bounds, writer) if value[:1] == b"\0" else _json(value, bounds)
        maybe = frozenset({"json_invalid"}) if _has_lone_surrogate(fields) else frozenset[str]()
        return Reading(_event(record, value, fields, shape, bounds), maybe)
    except _Fault as fault:
        return Reading(None, frozenset(fault.codes))
    except RecursionError:
        return Reading(None, frozenset({"nesting_too_deep"}))


def _json(value: bytes, bounds: Bounds) -> dict[str, Any]:
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _Fault("json_invalid") from error
    if _depth(text) > bounds.depth_max:
        raise _Fault("nesting_too_deep", "json_invalid")
    twice: list[bool] = []

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        twice.append(len({name for name, _ in pairs}) < len(pairs))
        return dict(pairs)

    literals: list[str] = []

    def not_finite(literal: str) -> _NotFinite:
        literals.append(literal)
        return _NotFinite(literal.replace("Infinity", "inf"))

    try:
        found = json.loads(text, object_pairs_hook=members, parse_constant=not_finite)
    except ValueError as error:
        raise _Fault("json_invalid") from error
    if literals:
        raise _Fault("number_not_finite", "json_invalid")
    if not isinstance(found, dict) or twice[-1]:  # the outermost object is finished last
        raise _Fault("json_invalid")
    return found


def _depth(text: str) -> int:
    """Gives how deep brackets nest outside strings."""
    deepest = depth = 0
    in_string = escaped = False
    for sign in text:
        if in_string:
            if escaped:
                escaped = False
            elif sign == "\\":
                escaped = True
            elif sign == '"':
                in_string = False
        elif sign == '"':
            in_string = True
        elif sign in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif sign in "]}":
            depth -= 1
    return deepest


def _has_lone_surrogate(node: Any) -> bool:
    if isinstance(node, str):
        return any("\ud800" <= sign <= "\udfff" for sign in node)
    if isinstance(node, dict):
        return any(_has_lone_surrogate(part) for pair in node.items() for part in pair)
    return isinstance(node, list) and any(_has_lone_surrogate(part) for part in node)


def _avro(value: bytes, shape: Shape, bounds: Bounds, writer: Callable[[int], Any] | None) -> dict[str, Any]:
    if writer is None or len(value) < _HEADER_BYTES:
        raise _Fault("bytes_invalid")
    schema = writer(int.from_bytes(value[1:_HEADER_BYTES], "big"))
    if schema is None:
        raise _Fault("schema_unknown")
    source = io.BytesIO(value[_HEADER_BYTES:])
    try:
        found: Any = fastavro.schemaless_reader(source, schema, None)
    except (EOFError, ValueError, IndexError, KeyError, OverflowError, TypeError, UnicodeDecodeError) as error:
        raise _Fault("bytes_invalid") from error
    if source.read(1) or not isinstance(found, dict):
        raise _Fault("bytes_invalid")
    for name in (*CONTENT_OF, "metadata", "attributes"):
        if name in shape.fields and isinstance(found.get(name), str):
            found[name] = _embedded(found[name], bounds.depth_max - 1)
    return {name: _millis(one) if isinstance(one, datetime) else one for name, one in found.items()}


def _embedded(text: str, depth_max: int) -> Any:
    """Gives what a string of Avro holds: an object, an array or a quoted string of JSON, else the text itself."""
    if text.lstrip(" \t\r\n")[:1] not in ("{", "[", '"'):
        return text
    try:
        parsed = json.loads(text, parse_constant=_refuse)
    except ValueError:
        return text
    if _depth(text) > depth_max:
        raise _Fault("nesting_too_deep")
    return parsed


def _refuse(_literal: str) -> None:
    raise ValueError("no literal of JSON")


def _event(record: Record, value: bytes, fields: dict[str, Any], shape: Shape, bounds: Bounds) -> Event:
    faults: list[str] = []
    names: dict[str, str | None] = {}
    numbers: dict[str, int | None] = {}
    content: dict[str, Any] = {}
    depends_on = None
    kept = {name: one for name, one in fields.items() if name not in shape.fields}
    for name, declared in shape.fields.items():
        given = fields.get(name)
        if given is None:
            if name in shape.required:
                faults.append("field_missing")
            continue
        if name in KEPT.get(shape.kind, {}):
            kept[name] = _kept(given, KEPT[shape.kind][name], faults)
        elif name in SCALED:
            column, scale = SCALED[name]
            numbers[column] = _scaled(given, scale, column == "confidence_ppm", faults)
        elif name in CONTENT_OF:
            content[CONTENT_OF[name]] = given
        elif name in ("timestamp", "metadata", "attributes"):
            pass
        elif declared == "long":
            numbers[name] = _counted(given, faults)
        elif isinstance(declared, dict) and declared.get("type") == "array":
            depends_on = _all_counted(given, faults)
        else:
            column = "agent_id" if name == shape.owner else "status" if name == "severity" else name
            names[column] = _named(given, name in shape.required, faults)
            if name in ROAMING:  # the id of a workflow says whom its events are about, and is a link too
                names[name] = names[column]
    time_ms = _time(fields.get("timestamp"), faults)
    roamed = _attributes(names, kept, fields)
    if roamed:
        content["attributes"] = roamed
    if any(text is not None and len(text.encode("utf-8", "surrogatepass")) > _NAME_BYTES_MAX for text in names.values()):
        faults.append("record_oversized")
    if time_ms is not None and record.time_ms is not None and time_ms > record.time_ms + bounds.skew_ms_max:
        faults.append("event_time_in_future")
    if faults or time_ms is None:
        raise _Fault(*faults)
    cleaned = {name: None if text is None else text.replace("\0", "\ufffd") for name, text in names.items()}
    digest = blake2b(value, digest_size=16).digest()
    return Event(record.place, shape.kind, time_ms, cleaned, numbers, depends_on, content, len(value), digest)


def _kept(given: Any, what: str, faults: list[str]) -> Any:
    if what == "text" and not isinstance(given, str):
        faults.append("type_mismatch")
    if what == "number":
        if isinstance(given, bool) or not isinstance(given, int | float):
            faults.append("type_mismatch")
        elif given != given or given in (float("inf"), float("-inf")):
            faults.append("number_not_finite")
        else:
            return float(given)
    return given


def _scaled(given: Any, scale: float, is_ratio: bool, faults: list[str]) -> int | None:
    if isinstance(given, bool) or not isinstance(given, int | float):
        faults.append("type_mismatch")
        return None
    try:
        number = float(given)
    except OverflowError:
        number = float("inf")
    if number != number or number in (float("inf"), float("-inf")):
        faults.append("number_not_finite")
        return None
    largest = 1.0 if is_ratio else NUMBER_MAX / scale
    if number < 0 or number > largest or round(number * scale) > (scale if is_ratio else NUMBER_MAX - 1):
        faults.append("number_out_of_range")
        return None
    return round(number * scale)  # half to even


def _counted(given: Any, faults: list[str]) -> int | None:
    if isinstance(given, bool) or not isinstance(given, int):
        faults.append("type_mismatch")
        return None
    if not 0 <= given < NUMBER_MAX:
        faults.append("number_out_of_range")
        return None
    return given


def _all_counted(given: Any, faults: list[str]) -> list[int] | None:
    if not isinstance(given, list):
        faults.append("type_mismatch")
        return None
    found = [_counted(one, faults) for one in given]
    return [one for one in found if one is not None]


def _named(given: object, is_required: bool, faults: list[str]) -> str | None:
    if not isinstance(given, str):
        faults.append("type_mismatch")
        return None
    if is_required and not given:
        faults.append("field_missing")
    return given


def _time(given: Any, faults: list[str]) -> int | None:
    if given is None:
        faults.append("field_missing")
        return None
    found = None
    if isinstance(given, str):
        found = _iso(given)
    elif isinstance(given, bool) or not isinstance(given, int | float):
        faults.append("type_mismatch")
        return None
    else:
        try:
            number = float(given)
        except OverflowError:
            number = float("inf")
        if number != number or number in (float("inf"), float("-inf")):
            faults.append("number_not_finite")
            return None
        found = round(number) if -1.0 <= number <= _TIME_MAX_MS + 1.0 else None
    if found is None or not 0 <= found <= _TIME_MAX_MS:
        faults.append("timestamp_invalid")
        return None
    return found


def _iso(text: str) -> int | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return _millis(moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC))


def _millis(moment: datetime) -> int:
    since = moment - _UTC_EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000 + since.microseconds // 1_000


def _attributes(names: dict[str, str | None], kept: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Gives what stays in ``attributes``; ids found on the way fill ``names``. The strongest source comes first."""
    merged: dict[str, Any] = {}
    for source in (None, "attributes", "metadata"):
        given = dict(sorted(kept.items())) if source is None else fields.get(source)
        if given is None:
            continue
        members = dict(given) if isinstance(given, dict) else {str(source): given}
        for name in sorted(set(ROAMING) & members.keys()):
            text = _roaming(name, members[name])
            if text is None:
                continue
            if names.get(name) is None:
                names[name] = text
            elif name != "user_id" and names[name] != text:
                continue
            del members[name]
        for name, one in members.items():
            key = name
            while key in merged and merged[key] != one:
                key = f"{source}.{key}"
            merged[key] = one
    return merged


def _roaming(name: str, given: Any) -> str | None:
    if isinstance(given, str):
        return str(given) or None
    if name != "user_id" or given is None:
        return None
    return json.dumps(given, ensure_ascii=False, separators=(",", ":"))
