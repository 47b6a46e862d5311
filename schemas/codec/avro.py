"""Avro records in Confluent wire format (a zero byte, the schema id in four bytes, the datum) to typed columns, and frames to such records.

A record is read with the schema that wrote it and mapped to the shipped schema of its topic by field name, by Avro's rules: promoted numbers,
defaults for fields that the writer lacks. Fields that only the writer has are kept in ``attributes``. Whether the rules allow the pair is
checked once for every schema id.

Source: Avro 1.12 specification, "Schema Resolution"; Confluent wire format.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import fastavro
import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.compute
import pyruhvro

from schemas import avro, compatibility
from schemas.codec.attributes import Members, gather
from schemas.codec.columns import TIME_MS, TIME_TEXT, wide_frame
from schemas.codec.content import json_text
from schemas.codec.rejects import Rejects
from schemas.codec.shapes import LINKS, Role, Shape
from schemas.errors import BytesInvalid, FatalError, NumberNotFinite, RecordError, SchemaUnknown
from schemas.frames import enum_symbols, frame_schema, required_columns

HEADER_BYTES: Final = 5
_MAGIC: Final = b"\x00"
_TEXT_ROLES: Final = (Role.TEXT, Role.CONTENT, Role.METADATA, Role.ATTRIBUTES, Role.KEPT_TEXT)
_encode: Final = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class WriterSchema:
    """A schema that producers write with, found readable as the shipped schema of a topic.

    Attributes:
        text: Its JSON text.
        parsed: The same, parsed by fastavro, for the exact check of single records.
        extra: Fields that the shipped schema does not have.
    """

    text: str
    parsed: Any
    extra: tuple[str, ...]


def writer_schema(text: str, shape: Shape, schema_id: int) -> WriterSchema:
    """Gives the writer's schema, checked against the shipped one.

    Raises:
        SchemaUnknown: It is no Avro schema, or the rules of evolution do not let it be read as the topic's schema; its records are dead-lettered.
    """
    problems = compatibility.problems(reader=avro.text(shape.schema), writer=text)
    if problems:
        raise SchemaUnknown(
            f"schema id {schema_id}: want a schema that can be read as {shape.schema}, got {', '.join(problems)}; register a compatible version"
        )
    try:
        arrow = pyruhvro.avro_to_arrow_schema(text)
        parsed = fastavro.parse_schema(json.loads(text))
    except (ValueError, TypeError, KeyError, fastavro.schema.SchemaParseException, fastavro.schema.UnknownType):
        raise SchemaUnknown(f"schema id {schema_id}: want a record of types that this decoder reads, got others; register a simpler schema") from None
    known = {field.name for field in shape.fields}
    for field in shape.fields:
        if field.role in _TEXT_ROLES and field.name in arrow.names and not pa.types.is_string(arrow.field(field.name).type):
            raise SchemaUnknown(f"schema id {schema_id}: {field.name}: want a string, got another type; register it as a string")
    return WriterSchema(text, parsed, tuple(name for name in arrow.names if name not in known))


def read_avro(data: Sequence[bytes], rows: Sequence[int], writer: WriterSchema, shape: Shape, depth_max: int) -> tuple[pl.DataFrame, Rejects]:
    """Gives the wide frame (see ``columns.wide_frame``) of data written with one schema, and the rest as rejects.

    Args:
        data: Datums without the wire header.
        rows: Place of each in the batch.
        depth_max: Deepest nesting of JSON text inside a field, the record counted as one level.

    Rejected here: ``bytes_invalid`` (not of the schema, bytes left over, text that is not UTF-8), ``nesting_too_deep``, and
    ``number_not_finite`` where a number without a column is NaN.
    """
    rejects = Rejects()
    batches: list[pa.RecordBatch] = []
    kept: list[int] = []
    for part, batch in _decode(data, 0, writer.text):
        if batch is None:
            rejects.add(rows[part.start], BytesInvalid("record: want Avro of its schema, got bytes that are not; check what the producer writes"))
            continue
        whole = [index for index, ok in zip(part, _consumed(data[part.start : part.stop], batch, writer), strict=True) if ok]
        if len(whole) < len(part):
            for index in sorted(set(part) - set(whole)):
                rejects.add(rows[index], BytesInvalid("record: want one Avro record, got bytes left over after it; check the schema id"))
            batch = batch.take(pa.array([index - part.start for index in whole], pa.int64()))
        kept += [rows[index] for index in whole]
        batches.append(batch)
    if not kept:
        return wide_frame(shape, [], _no_columns(shape)), rejects
    decoded = pa.Table.from_batches(batches)
    return _wide(decoded, kept, writer, shape, depth_max, rejects), rejects


def _decode(data: Sequence[bytes], start: int, schema: str) -> Iterator[tuple[range, pa.RecordBatch | None]]:
    """Gives runs of readable data in order, and the unreadable ones alone (with None), found by halving."""
    part = range(start, start + len(data))
    try:
        batch = pyruhvro.deserialize_array(list(data), schema)
        batch.validate(full=True)  # the decoder does not check that strings are UTF-8, and Polars takes it for granted
    except (ValueError, pa.ArrowInvalid):
        if len(data) == 1:
            yield part, None
            return
        half = len(data) // 2
        yield from _decode(data[:half], start, schema)
        yield from _decode(data[half:], start + half, schema)
    else:
        yield part, batch


def _consumed(data: Sequence[bytes], batch: pa.RecordBatch, writer: WriterSchema) -> list[bool]:
    """Tells for each datum whether the record took all of its bytes.

    The decoder ignores what follows a record. Written again, a record has its shortest form; where the sizes differ, fastavro says
    exactly how far the record goes (arrays may be written in blocks).
    """
    again = pyruhvro.serialize_record_batch(batch, writer.text, 1)[0]
    sizes = pa.compute.binary_length(again).to_pylist()
    return [size == len(datum) or _exact_size(datum, writer) == len(datum) for size, datum in zip(sizes, data, strict=True)]


def _exact_size(datum: bytes, writer: WriterSchema) -> int:
    source = io.BytesIO(datum)
    try:
        fastavro.schemaless_reader(source, writer.parsed, None)
    except (EOFError, ValueError, IndexError, KeyError, OverflowError, TypeError):
        return -1
    return source.tell()


def _wide(decoded: pa.Table, rows: list[int], writer: WriterSchema, shape: Shape, depth_max: int, rejects: Rejects) -> pl.DataFrame:
    frame = pl.from_arrow(decoded)
    assert isinstance(frame, pl.DataFrame)
    count = len(rows)
    nothing: list[Any] = [None] * count
    bad: dict[int, RecordError] = {}
    extras = _extras(decoded, writer, shape, bad)
    columns: dict[str, Any] = _no_columns(shape)
    sources: list[tuple[str, list[msgspec.Raw | None]]] = []
    for field in shape.fields:
        column = frame[field.name] if field.name in frame.columns else None
        if field.role is Role.TIME:
            columns[TIME_TEXT] = nothing
            columns[TIME_MS] = nothing if column is None else _millis(column)
        elif field.role in (Role.CONTENT, Role.METADATA, Role.ATTRIBUTES):
            texts = nothing if column is None else _json_texts(column, depth_max - 1, bad)
            if field.role is Role.CONTENT:
                columns[field.name] = texts
            else:
                sources.append((field.name, [None if text is None else msgspec.Raw(text.encode()) for text in texts]))
        elif field.role not in (Role.KEPT_TEXT, Role.KEPT_NUMBER):
            columns[field.name] = nothing if column is None else column.to_list() if field.name in LINKS else column
    for link in LINKS:
        if not isinstance(columns.get(link), list) or not columns[link]:
            columns[link] = [None] * count
    sources.sort(key=lambda source: source[0])  # attributes before metadata: the stronger first
    columns["attributes"] = gather(sources, extras, columns)
    wide = wide_frame(shape, rows, columns)
    for index, error in bad.items():
        rejects.add(rows[index], error)
    return wide if not bad else wide.filter(~pl.int_range(pl.len()).is_in(sorted(bad)))


def _no_columns(shape: Shape) -> dict[str, Any]:
    names = [TIME_TEXT, TIME_MS, "attributes", *LINKS, *(field.name for field in shape.fields)]
    return {name: [] for name in names}


def _millis(column: pl.Series) -> pl.Series:
    if isinstance(column.dtype, pl.Datetime):
        return column.dt.epoch("ms").cast(pl.Float64)
    return column.cast(pl.Float64)


def _json_texts(column: pl.Series, depth_max: int, bad: dict[int, RecordError]) -> list[str | None]:
    texts: list[str | None] = []
    for index, text in enumerate(column):
        try:
            texts.append(None if text is None else json_text(text, depth_max))
        except RecordError as error:
            bad.setdefault(index, error)
            texts.append(None)
    return texts


def _extras(decoded: pa.Table, writer: WriterSchema, shape: Shape, bad: dict[int, RecordError]) -> dict[int, Members]:
    """Gives what goes to ``attributes`` by row: fields that only the writer has, and fields without a column."""
    kept = [field.name for field in shape.of_role(Role.KEPT_TEXT, Role.KEPT_NUMBER)]
    names = [name for name in (*writer.extra, *kept) if name in decoded.column_names]
    extras: dict[int, Members] = {}
    for name in names:
        for index, value in enumerate(decoded[name].to_pylist()):
            if isinstance(value, float) and not math.isfinite(value):
                field = name if name in kept else "record"
                bad.setdefault(index, NumberNotFinite(f"{field}: want a finite number, got NaN or infinity; leave the field out"))
            elif value is not None:
                extras.setdefault(index, {})[name] = msgspec.Raw(_encode(value))
    return extras


@cache
def _arrow_schema(schema: str) -> pa.Schema:
    return pyruhvro.avro_to_arrow_schema(avro.text(schema))


def encode_avro(frame: pl.DataFrame, schema: str, schema_id: int) -> list[bytes]:
    """Gives the rows of a frame as Avro in Confluent wire format, in order.

    Args:
        frame: Columns exactly as ``frames.frame_schema(schema)``.
        schema: Name of a shipped schema.
        schema_id: Its id in the registry, less than 2^32.

    Raises:
        FatalError: The frame does not fit the schema (a column, a null or a symbol that it does not have): our own bug, never the record's.
    """
    _check_fit(frame, schema)
    if frame.is_empty():
        return []
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(_arrow_schema(schema))
    batch = table.combine_chunks().to_batches()[0]
    header = _MAGIC + schema_id.to_bytes(4, "big")
    return [header + datum for datum in pyruhvro.serialize_record_batch(batch, avro.text(schema), 1)[0].to_pylist()]


def _check_fit(frame: pl.DataFrame, schema: str) -> None:
    wanted = frame_schema(schema)
    if frame.schema != wanted:
        differing = sorted({name for name, _ in set(frame.schema.items()) ^ set(wanted.items())}) or ["the order of columns"]
        raise FatalError(f"frame for {schema}: columns differ from its schema in {', '.join(differing)}")
    for name in required_columns(schema):
        if frame[name].null_count():
            raise FatalError(f"frame for {schema}: {frame[name].null_count()} nulls in {name}, which must not be null")
        symbols = enum_symbols(schema, name)
        if symbols is not None and not frame[name].is_in(symbols).all():
            raise FatalError(f"frame for {schema}: {name} holds a value that is no symbol of its enum")
