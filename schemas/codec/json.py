"""JSON records to typed columns: row by row with msgspec, so that one bad record costs itself alone."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Final

import msgspec
import polars as pl
from msgspec import Meta, Raw

from schemas.codec.attributes import Members, decode_members, gather
from schemas.codec.columns import TIME_MS, TIME_TEXT, wide_frame
from schemas.codec.depth import check_nesting
from schemas.codec.rejects import Rejects
from schemas.codec.shapes import LINKS, Field, Role, Shape
from schemas.errors import (
    FieldMissing,
    JsonInvalid,
    NestingTooDeep,
    NumberNotFinite,
    NumberOutOfRange,
    RecordError,
    TimestampInvalid,
    TypeMismatch,
)
from schemas.limits import NUMBER_MAX, Limits

_Count = Annotated[int, Meta(ge=0, lt=NUMBER_MAX)]
#: A time may also be negative or far off: what is out of range is said by the checks that Avro shares. The bound only keeps it in a double.
_Millis = Annotated[int, Meta(ge=-(2**62), le=2**62)]

_TYPES: Final[dict[Role, Any]] = {
    Role.TEXT: str,
    Role.TIME: str | _Millis | float,
    Role.DURATION_MS: float,
    Role.USD: float,
    Role.RATIO: float,
    Role.COUNT: _Count,
    Role.NUMBERS: list[_Count],
    Role.CONTENT: Raw,
    Role.METADATA: Raw,
    Role.ATTRIBUTES: Raw,
    Role.KEPT_TEXT: str,
    Role.KEPT_NUMBER: float,
}
_RAW_ROLES: Final = (Role.CONTENT, Role.METADATA, Role.ATTRIBUTES)
_NULL: Final = b"null"
_MEMBER: Final = b'\n "'


@dataclass(frozen=True, slots=True)
class _Reader:
    """The msgspec decoder of one shape, with what its errors are told apart by."""

    decode: Any
    names: tuple[str, ...]
    by_name: dict[str, Field]


@cache
def _reader(shape: Shape) -> _Reader:
    declared: list[Any] = []
    for field in shape.fields:
        kind = _TYPES[field.role]
        if field.required:
            declared.append((field.name, kind))
        else:
            declared.append((field.name, kind if field.role in _RAW_ROLES else kind | None, None))
    struct = msgspec.defstruct(shape.schema, declared, forbid_unknown_fields=True, gc=False)
    return _Reader(msgspec.json.Decoder(struct).decode, tuple(field.name for field in shape.fields), {f.name: f for f in shape.fields})


def read_json(values: Sequence[bytes], rows: Sequence[int], shape: Shape, limits: Limits) -> tuple[pl.DataFrame, Rejects]:
    """Gives the wide frame (see ``columns.wide_frame``) of the records that are JSON of this shape, and the rest as rejects.

    Args:
        values: Record values, none larger than the limit.
        rows: Place of each in the batch.

    Rejected here: ``json_invalid`` (not UTF-8, not one JSON object, a lone surrogate, a key that occurs twice), ``nesting_too_deep``,
    ``field_missing``, ``type_mismatch``, ``number_not_finite``, ``number_out_of_range``.
    """
    reader = _reader(shape)
    rejects = Rejects()
    kept: list[int] = []
    records: list[tuple[Any, ...]] = []
    extras: dict[int, Members] = {}
    for row, value in zip(rows, values, strict=True):
        try:
            record, unknown = _read_one(reader, value, limits.nesting_depth_max)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            rejects.add(row, _explain(reader, value, error))
        except RecordError as error:
            rejects.add(row, error)
        else:
            if unknown:
                extras[len(kept)] = unknown
            kept.append(row)
            records.append(record)
    return _frame(shape, kept, records, extras), rejects


def _read_one(reader: _Reader, value: bytes, depth_max: int) -> tuple[tuple[Any, ...], Members | None]:
    """Gives the fields of one record in the order of its schema, and the keys that the schema does not know."""
    str(value, "utf-8")  # msgspec checks the strings that it decodes, not those inside content that it keeps raw
    check_nesting(value, depth_max)
    if b'": ' in value or b"\n" in value:
        value = msgspec.json.format(value, indent=-1)  # content columns hold compact text
    unknown: Members | None = None
    try:
        record = msgspec.structs.astuple(reader.decode(value))
    except msgspec.ValidationError as error:
        if not str(error).startswith("Object contains unknown field"):
            raise
        record, unknown = _split(reader, value)
    # Pretty-printed, every top-level member starts a line with one space: an exact count, escaped and repeated keys included. A key that
    # occurs twice could show one value here and another to who reads the record next.
    member_count = msgspec.json.format(value, indent=1).count(_MEMBER)
    known_count = len(record) - record.count(None) + (len(unknown) if unknown else 0)
    if member_count != known_count and member_count != len(decode_members(value)):
        raise JsonInvalid("record: want every key once, got a key twice; send each key once")
    return record, unknown


def _split(reader: _Reader, value: bytes) -> tuple[tuple[Any, ...], Members]:
    members = decode_members(value)
    unknown = {name: members.pop(name) for name in members.keys() - reader.by_name.keys()}
    return msgspec.structs.astuple(reader.decode(msgspec.json.encode(members))), unknown


def _frame(shape: Shape, rows: list[int], records: list[tuple[Any, ...]], extras: dict[int, Members]) -> pl.DataFrame:
    names = [field.name for field in shape.fields]
    by_name: dict[str, list[Any]] = {name: list(column) for name, column in zip(names, zip(*records, strict=True), strict=False)} if records else {}
    columns: dict[str, list[Any]] = {}
    sources: list[tuple[str, list[Raw | None]]] = []
    for field in shape.fields:
        column = by_name.get(field.name, [])
        if field.role is Role.TIME:
            columns[TIME_TEXT] = [value if type(value) is str else None for value in column]
            columns[TIME_MS] = [None if type(value) is str else float(value) for value in column]
        elif field.role is Role.CONTENT:
            columns[field.name] = [_text(value) for value in column]
        elif field.role in (Role.METADATA, Role.ATTRIBUTES):
            sources.append((field.name, [None if value is None or bytes(value) == _NULL else value for value in column]))
        elif field.role in (Role.KEPT_TEXT, Role.KEPT_NUMBER):
            for index, value in enumerate(column):
                if value is not None:
                    extras.setdefault(index, {})[field.name] = Raw(msgspec.json.encode(value))
        else:
            columns[field.name] = column
    sources.sort()  # attributes before metadata: the stronger first
    for link in LINKS:
        columns.setdefault(link, [None] * len(rows))
    columns["attributes"] = gather(sources, extras, columns)
    return wide_frame(shape, rows, columns)


def _text(value: Raw | None) -> str | None:
    if value is None:
        return None
    text = str(value, "utf-8")
    return None if text == "null" else text


_MISSING: Final = re.compile(r"^Object missing required field `(\w+)`$")
_EXPECTED: Final = re.compile(r"^Expected `([a-z |]+)`(?: [<>]=? -?\d+)?(?:, got `([a-z]+)`)?(?: - at `\$\.(\w+)(?:\[\.\.\.\]|\[\d+\])?`)?$")
_RANGE: Final = re.compile(r"^Number out of range - at `\$\.(\w+)(?:\[\.\.\.\]|\[\d+\])?`$")
_BYTE: Final = re.compile(r"\(byte (\d+)\)$")


def _explain(reader: _Reader, value: bytes, error: Exception) -> RecordError:
    """Gives our own error for one of msgspec; nothing of its message is kept but names of our fields, type names and positions."""
    if isinstance(error, RecursionError):
        return NestingTooDeep("record: want JSON that a parser can read, got nesting beyond its stack; send the inner part as a string")
    if isinstance(error, UnicodeDecodeError):
        return JsonInvalid(f"record: want UTF-8, got an invalid byte at {error.start}; encode the record as UTF-8")
    if isinstance(error, msgspec.ValidationError):
        return _explain_type(reader, str(error))
    where = _not_finite_field(reader, value)
    if where is not None:
        return NumberNotFinite(f"{where}: want a finite number, got NaN or Infinity; leave the field out")
    place = _BYTE.search(str(error))
    return JsonInvalid(f"record: want one JSON object, got text that breaks off or breaks JSON{f' at byte {place[1]}' if place else ''}; send JSON")


def _explain_type(reader: _Reader, message: str) -> RecordError:
    missing = _MISSING.match(message)
    if missing and missing[1] in reader.by_name:
        return FieldMissing(f"{missing[1]}: required, got no such field; send it")
    too_large = _RANGE.match(message)
    if too_large and too_large[1] in reader.by_name:
        return NumberNotFinite(f"{too_large[1]}: want a number that a double can hold, got a larger one; send a smaller one")
    expected = _EXPECTED.match(message)
    if expected and expected[3] is None and expected[1] == "object":
        return JsonInvalid(f"record: want one JSON object, got {expected[2] or 'another type'}; send an object")
    if not expected or expected[3] not in reader.by_name:
        return TypeMismatch("record: a field has another type than its schema names; compare it with the schema of the topic")
    field = reader.by_name[expected[3]]
    want = expected[1].removesuffix(" | null")
    if expected[2] is None:
        if field.role is Role.TIME:
            return TimestampInvalid(f"{field.name}: want milliseconds since 1970, got an integer beyond 64 bits; send milliseconds")
        return NumberOutOfRange(f"{field.name}: want 0 or more and less than {NUMBER_MAX}, got an integer outside; send one inside or leave it out")
    if expected[2] == "null" and field.required:
        return FieldMissing(f"{field.name}: required, got null; send it")
    return TypeMismatch(f"{field.name}: want {want}, got {expected[2]}; send {want}")


class _NotFinite(float):
    """Stands for a NaN or Infinity literal while its field is looked for."""


def _not_finite_field(reader: _Reader, value: bytes) -> str | None:
    """Gives where a NaN or Infinity literal stands that breaks this record, None where that is not what breaks it."""
    found: list[str] = []

    def note(literal: str) -> _NotFinite:
        found.append(literal)
        return _NotFinite(math.nan)

    try:
        record = json.loads(value, parse_constant=note)
    except (ValueError, RecursionError):
        return None
    if not found:
        return None
    if isinstance(record, dict):
        for name, content in record.items():
            if isinstance(content, _NotFinite) and name in reader.by_name:
                return str(name)
    return "record"
