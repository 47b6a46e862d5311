"""Rows that the decoder turns away: their place in the batch, code and reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import polars as pl

from schemas.errors import RecordError
from schemas.events import DEAD

#: Place of a row in the polled batch: ties everything made of a record to its coordinates, and gives the order back after grouping.
ROW: Final = "row"
STEP: Final = "decode"

REJECTS: Final = pl.Schema({ROW: pl.UInt32(), "code": pl.String(), "reason": pl.String()})

#: The one form of a W3C trace context that goes on: a header is text of the producer, and anything may stand in it.
_TRACEPARENT: Final = r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"


@dataclass(slots=True)
class Rejects:
    """Collects rejected rows one by one.

    A reason is written by headrace from field names of our schemas, type names and sizes; no text of a record or of a foreign exception.
    """

    rows: list[int] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def add(self, row: int, error: RecordError) -> None:
        """Adds one row."""
        self.rows.append(row)
        self.codes.append(error.code)
        self.reasons.append(str(error))

    def frame(self) -> pl.DataFrame:
        """Gives the rejected rows, schema ``REJECTS``."""
        return pl.DataFrame({ROW: self.rows, "code": self.codes, "reason": self.reasons}, schema=REJECTS)


def safe_traceparent() -> pl.Expr:
    """Gives the ``traceparent`` column with null where it is not of the W3C form."""
    return pl.when(pl.col("traceparent").str.contains(_TRACEPARENT)).then(pl.col("traceparent")).alias("traceparent")


def redriven_from(raw: pl.DataFrame) -> pl.Expr:
    """Gives the ``redriven_from`` column; null where the poll brought no redriven record."""
    return pl.col("redriven_from") if "redriven_from" in raw.columns else pl.lit(None, dtype=pl.Int64).alias("redriven_from")


def dead_frame(raw: pl.DataFrame, rejects: pl.DataFrame) -> pl.DataFrame:
    """Gives dead letters (schema DEAD, ordered by row) for rejected rows of a raw batch that has the column ``row``."""
    named = raw.join(rejects, on=ROW, how="inner", maintain_order="left").with_columns(
        safe_traceparent(), step=pl.lit(STEP), disposition=pl.lit("dead")
    )
    return named.select(pl.col(name).cast(dtype) if name in named.columns else pl.lit(None, dtype=dtype).alias(name) for name, dtype in DEAD.items())
