"""Frames in PostgreSQL's binary COPY format.

pgpq encodes Arrow in Rust; psycopg's own row writer takes a Python call for every row and cost a third of a core at pipeline rates.
"""

from __future__ import annotations

from typing import Any, Final

import polars as pl
import pyarrow as pa
from pgpq import ArrowToPostgresBinaryEncoder
from pgpq.encoders import LargeStringEncoderBuilder
from pgpq.schema import Jsonb

from schemas.errors import FatalError
from sinks.tables import Table

#: PostgreSQL's text cannot hold U+0000. It is replaced, not dropped, so that lengths and positions stay.
_JSON: Final = "jsonb"
NUL_REPLACEMENT: Final = "\ufffd"


def encode(frame: pl.DataFrame, table: Table) -> bytes:
    """Gives the rows of an output frame as one COPY stream for ``table.copy()``.

    Args:
        frame: Has exactly the table's columns, in any order. Times are whole milliseconds since 1970 or datetimes.
        table: Where the rows go. NUL characters in its text columns become U+FFFD.

    Raises:
        FatalError: The frame has other columns, or a column cannot be cast to the table's type.
    """
    wanted = {column.name for column in table.columns}
    if wanted != set(frame.columns):
        missing, extra = sorted(wanted - set(frame.columns)), sorted(set(frame.columns) - wanted)
        raise FatalError(f"topic {table.topic}: the frame must have the columns of its schema; missing: {missing}, not in the schema: {extra}")
    failed = False
    try:
        ready = frame.select(_expression(column.name, column.dtype, frame.schema[column.name]) for column in table.columns)
    except pl.exceptions.PolarsError:
        failed = True  # The text of the error can hold values.
    if failed:
        raise FatalError(f"topic {table.topic}: a column cannot be cast to the type of table {table.name}; dtypes came as {dict(frame.schema)}")
    arrow: pa.Table = ready.to_arrow(compat_level=pl.CompatLevel.oldest())
    encoder = ArrowToPostgresBinaryEncoder.new_with_encoders(arrow.schema, _encoders(arrow.schema, table))
    parts = [encoder.write_header(), *map(encoder.write_batch, arrow.to_batches()), encoder.finish()]
    return b"".join(parts)


def _encoders(schema: pa.Schema, table: Table) -> dict[str, Any]:
    """Gives how each column is encoded; text that is JSON goes as such."""
    found = {field.name: ArrowToPostgresBinaryEncoder.infer_encoder(field) for field in schema}
    documents = [column.name for column in table.columns if column.sql_type == _JSON]
    return found | {name: LargeStringEncoderBuilder.new_with_output(schema.field(name), Jsonb()) for name in documents}


def _as_json(name: str, record: pl.Struct) -> pl.Expr:
    """Gives a column of lists of records as JSON text."""
    texts = [field.name for field in record.fields if field.dtype == pl.String]
    clean = pl.element().struct.with_fields(pl.field(texts).str.replace_all("\x00", NUL_REPLACEMENT, literal=True))
    whole = pl.struct(pl.col(name).list.eval(clean)).struct.json_encode()
    return pl.when(pl.col(name).is_not_null()).then(whole.str.slice(len(name) + 4).str.strip_suffix("}")).alias(name)


def _expression(name: str, dtype: pl.DataType, came: pl.DataType) -> pl.Expr:
    """Casts one column; whole numbers that are to become times count milliseconds."""
    column = pl.col(name)
    if isinstance(came, pl.List) and isinstance(came.inner, pl.Struct):
        return _as_json(name, came.inner)
    if isinstance(dtype, pl.Datetime):
        return (column.cast(pl.Datetime("ms", "UTC")) if came.is_integer() else column).cast(dtype)
    if dtype == pl.String:
        return column.cast(dtype).str.replace_all("\x00", NUL_REPLACEMENT, literal=True)
    if dtype == pl.List(pl.String):
        return column.cast(dtype).list.eval(pl.element().str.replace_all("\x00", NUL_REPLACEMENT, literal=True))
    return column.cast(dtype)
