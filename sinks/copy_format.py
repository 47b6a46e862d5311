"""Frames in PostgreSQL's binary COPY format.

pgpq encodes Arrow in Rust; psycopg's own row writer takes a Python call for every row and cost a third of a core at pipeline rates.
"""

from __future__ import annotations

from typing import Final

import polars as pl
import pyarrow as pa
from pgpq import ArrowToPostgresBinaryEncoder

from schemas.errors import FatalError
from sinks.tables import Table

#: PostgreSQL's text cannot hold U+0000. It is replaced, not dropped, so that lengths and positions stay.
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
    encoder = ArrowToPostgresBinaryEncoder(arrow.schema)
    parts = [encoder.write_header(), *map(encoder.write_batch, arrow.to_batches()), encoder.finish()]
    return b"".join(parts)


def _expression(name: str, dtype: pl.DataType, came: pl.DataType) -> pl.Expr:
    """Casts one column; whole numbers that are to become times count milliseconds."""
    column = pl.col(name)
    if isinstance(dtype, pl.Datetime):
        return (column.cast(pl.Datetime("ms", "UTC")) if came.is_integer() else column).cast(dtype)
    if dtype == pl.String:
        return column.cast(dtype).str.replace_all("\x00", NUL_REPLACEMENT, literal=True)
    if dtype == pl.List(pl.String):
        return column.cast(dtype).list.eval(pl.element().str.replace_all("\x00", NUL_REPLACEMENT, literal=True))
    return column.cast(dtype)
