"""JSON records to typed columns: row by row with msgspec, so that one bad record costs itself alone."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
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
    TypeMismatch,
)
from schemas.limits import NUMBER_MAX, Limits

_Count = Annotated[int, Meta(ge=0, lt=NUMBER_MAX)]

#: Floats and times stay as they are written until the whole column is parsed at once. It also keeps a record that is encoded again from
#: growing (1e9 would become 1000000000.0), which the check for repeated keys rests on.
_TYPES: Final[dict[Role, Any]] = {
    Role.TEXT: str,
    Role.TIME: Raw,
    Role.DURATION_MS: Raw,
    Role.USD: Raw,
    Role.RATIO: Raw,
    Role.COUNT: _Count,
    Role.NUMBERS: list[_Count],
    Role.CONTENT: Raw,
    Role.METADATA: Raw,
    Role.ATTRIBUTES: Raw,
    Role.KEPT_TEXT: str,
    Role.KEPT_NUMBER: Raw,
}
_RAW_ROLES: Final = tuple(role for role, kind in _TYPES.items() if kind is Raw)
_FLOAT_ROLES: Final = (Role.DURATION_MS, Role.USD, Role.RATIO)
_NULL: Final = b"null"
_MEMBER: Final = b'\n "'
_encode: Final = msgspec.json.encode
_decode_text: Final = msgspec.json.Decoder(str).decode


@dataclass(frozen=True, slots=True)
class _Reader:
    """The msgspec decoders of one shape (one refuses unknown keys, one passes over them), with what their errors are told apart by."""

    decode: Any
    decode_known: Any
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
    strict = msgspec.defstruct(shape.schema, declared, forbid_unknown_fields=True, omit_defaults=True, gc=False)
    lenient = msgspec.defstruct(shape.schema, declared, gc=False)
    return _Reader(msgspec.json.Decoder(strict).decode, msgspec.json.Decoder(lenient).decode, {field.name: field for field in shape.fields})


def read_json(values: pl.Series, rows: Sequence[int], shape: Shape, limits: Limits) -> tuple[pl.DataFrame, Rejects]:
    """Gives the wide frame (see ``columns.wide_frame``) of the records that are JSON of this shape, and the rest as rejects.

    Args:
        values: Record values (Binary, no null), none larger than the limit.
        rows: Place of each in the batch.

    Rejected here: ``json_invalid`` (not UTF-8, not one JSON object, a lone surrogate, a key that occurs twice), ``nesting_too_deep``,
    ``field_missing``, ``type_mismatch``, ``number_not_finite``, ``number_out_of_range``.
    """
    reader = _reader(shape)
    rejects = Rejects()
    kept: list[int] = []
    records: list[tuple[Any, ...]] = []
    extras: dict[int, Members] = {}
    for row, value, suspect in zip(rows, values.to_list(), _suspects(values, limits.nesting_depth_max), strict=True):
        try:
            if suspect:
                str(value, "utf-8")  # msgspec checks the strings that it decodes, not those inside content that it keeps raw
                check_nesting(value, limits.nesting_depth_max)
            record, unknown = _read_one(reader, value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            rejects.add(row, _explain(reader, value, error))
        except RecordError as error:
            rejects.add(row, error)
        else:
            if unknown:
                extras[len(kept)] = unknown
            kept.append(row)
            records.append(record)
    return _frame(shape, kept, records, extras, rejects), rejects


def _suspects(values: pl.Series, depth_max: int) -> list[bool]:
    """Tells which values must be looked at alone: those with more brackets than may nest, and all where one of them is not UTF-8."""
    try:
        text = values.cast(pl.String).to_frame("text")
    except pl.exceptions.ComputeError:
        return [True] * len(values)
    brackets = pl.sum_horizontal(pl.col("text").str.count_matches(bracket, literal=True) for bracket in "[{")
    return text.select(brackets > depth_max).to_series().to_list()


def _read_one(reader: _Reader, value: bytes) -> tuple[tuple[Any, ...], Members | None]:
    """Gives the fields of one record in the order of its schema, and the keys that the schema does not know.

    A key that occurs twice could show one value here and another to who reads the record next, so it is refused. A record encoded again without
    whitespace is never longer than it came, and is shorter where a key was repeated: equal sizes rule that out.
    """
    if b'": ' in value[:64]:
        value = msgspec.json.format(value, indent=-1)
    try:
        record = reader.decode(value)
    except msgspec.ValidationError as error:
        if not str(error).startswith("Object contains unknown field"):
            raise
        return _read_with_unknown(reader, value)
    if len(_encode(record)) != len(value):
        value = msgspec.json.format(value, indent=-1)
        record = reader.decode(value)  # so that content columns hold compact text
        if len(_encode(record)) != len(value):
            _check_once(value, decode_members(value))
    return msgspec.structs.astuple(record), None


def _read_with_unknown(reader: _Reader, value: bytes) -> tuple[tuple[Any, ...], Members]:
    members = decode_members(value)
    if len(_encode(members)) != len(value):
        value = msgspec.json.format(value, indent=-1)
        members = decode_members(value)
        if len(_encode(members)) != len(value):
            _check_once(value, members)
    record = reader.decode_known(value)
    return msgspec.structs.astuple(record), {name: members[name] for name in sorted(members.keys() - reader.by_name.keys())}


def _check_once(compact: bytes, members: Members) -> None:
    """Passes a record that has as many members as different keys: pretty-printed, each member starts a line with one space."""
    if msgspec.json.format(compact, indent=1).count(_MEMBER) != len(members):
        raise JsonInvalid("record: want every key once, got a key twice; send each key once")


def _frame(shape: Shape, rows: list[int], records: list[tuple[Any, ...]], extras: dict[int, Members], rejects: Rejects) -> pl.DataFrame:
    given: list[Sequence[Any]] = list(zip(*records, strict=True)) if records else [()] * len(shape.fields)
    columns: dict[str, Any] = {}
    sources: list[tuple[str, Sequence[Raw | None]]] = []
    bad: dict[int, RecordError] = {}
    for field, column in zip(shape.fields, given, strict=True):
        if field.role is Role.TIME:
            columns[TIME_TEXT], columns[TIME_MS] = _times(field, column, bad)
        elif field.role in _FLOAT_ROLES:
            columns[field.name] = _floats(field, _texts(field, column), bad)
        elif field.role is Role.CONTENT:
            columns[field.name] = _texts(field, column)
        elif field.role in (Role.METADATA, Role.ATTRIBUTES):
            sources.append((field.name, column))
        elif field.role is Role.KEPT_NUMBER:
            _keep(field, _floats(field, _texts(field, column), bad), extras)
        elif field.role is Role.KEPT_TEXT:
            _keep(field, column, extras)
        else:
            columns[field.name] = list(column) if field.name in LINKS else column
    sources.sort(key=lambda source: source[0])  # attributes before metadata: the stronger first
    for link in LINKS:
        columns.setdefault(link, [None] * len(rows))
    columns["attributes"] = gather(sources, extras, columns)
    wide = wide_frame(shape, rows, columns)
    for index, error in bad.items():
        rejects.add(rows[index], error)
    return wide if not bad else wide.filter(~pl.int_range(pl.len()).is_in(sorted(bad)))


def _texts(field: Field, column: Sequence[Raw | None]) -> pl.Series:
    """Gives JSON values as text, null where there was none or ``null``."""
    texts = pl.Series(field.name, [None if value is None else bytes(value) for value in column], dtype=pl.Binary).cast(pl.String)
    return texts.set(texts == "null", None)


def _floats(field: Field, texts: pl.Series, bad: dict[int, RecordError]) -> pl.Series:
    """Gives JSON numbers as floats; notes the rows whose value is no number."""
    numbers = texts.cast(pl.Float64, strict=False)
    if numbers.null_count() > texts.null_count():
        for index in (numbers.is_null() & texts.is_not_null()).arg_true():
            got = _type_of(texts[index])
            bad.setdefault(index, TypeMismatch(f"{field.name}: want float, got {got}; send a number"))
    return numbers


def _times(field: Field, column: Sequence[Raw | None], bad: dict[int, RecordError]) -> tuple[pl.Series, pl.Series]:
    """Gives times written as text and times written as numbers; notes the rows that hold neither."""
    given = _texts(field, column).to_frame("given")
    is_text = pl.col("given").str.starts_with('"')
    apart = given.select(text=pl.when(is_text).then(pl.col("given").str.slice(1).str.head(-1)), number=pl.when(~is_text).then(pl.col("given")))
    text = apart["text"]
    if text.str.contains("\\", literal=True).any():
        # Escapes are legal in a time too (some encoders write + as \u002B).
        text = pl.Series("text", [None if one is None else _decode_text(f'"{one}"') for one in text], dtype=pl.String)
    return text, _floats(field, apart["number"], bad)


def _type_of(text: str) -> str:
    return {'"': "str", "[": "array", "{": "object", "t": "bool", "f": "bool"}.get(text[:1], "another type")


def _keep(field: Field, column: Iterable[Any], extras: dict[int, Members]) -> None:
    for index, value in enumerate(column):
        if value is not None:
            extras.setdefault(index, {})[field.name] = Raw(_encode(value))


_MISSING: Final = re.compile(r"^Object missing required field `(\w+)`$")
_EXPECTED: Final = re.compile(r"^Expected `([a-z |]+)`(?: [<>]=? -?\d+)?(?:, got `([a-z]+)`)?(?: - at `\$\.(\w+)(?:\[\.\.\.\]|\[\d+\])?`)?$")
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
    expected = _EXPECTED.match(message)
    if expected and expected[3] is None and expected[1] == "object":
        return JsonInvalid(f"record: want one JSON object, got {expected[2] or 'another type'}; send an object")
    if not expected or expected[3] not in reader.by_name:
        return TypeMismatch("record: a field has another type than its schema names; compare it with the schema of the topic")
    field = reader.by_name[expected[3]]
    want = expected[1].removesuffix(" | null")
    if expected[2] is None:
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
