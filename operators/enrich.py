"""Enrich: what is left of an event after its decision becomes an enriched event."""

from __future__ import annotations

from typing import Final

import polars as pl

from governance.verdict import REDACTING, REMOVING
from operators.contract import Outcome
from schemas.events import CONTENT, DECIDED, EVENT, INSPECTED, MASKED, ROW_WATERMARK

#: What stands in the place of redacted content: a JSON text, like all content.
REDACTED: Final = '"<REDACTED>"'

#: Fields of ``enriched_event.avsc``: an event without what only the pipe needs.
ENRICHED_COLUMNS: Final = (
    "event_uid",
    *(name for name in EVENT if name not in ("event_uid", "content_digest")),
    *(name for name in MASKED if name != "raw_hits"),
    *INSPECTED,
    *DECIDED,
    *ROW_WATERMARK,
    "late",
)


_ACTION: Final = pl.col("action")
_TOUCHING: Final = [*REMOVING, *REDACTING]
_APPLIED: Final = [
    pl.when(_ACTION.is_in(list(REMOVING)))
    .then(None)
    .when(_ACTION.is_in(list(REDACTING)) & pl.col(name).is_not_null())
    .then(pl.lit(REDACTED))
    .otherwise(pl.col(name))
    .alias(name)
    for name in CONTENT
]


class Enrich:
    """Applies the action to the content columns and puts every row out as an enriched event.

    ``redact`` puts the JSON string "<REDACTED>" in the place of each content column that is not null; ``quarantine``, ``pause_agent`` and
    ``stop_agent`` make all of them null; ``pass`` and ``throttle`` leave them. Everything else, the verdict too, stays.

    Shapes: rows of EVENT, MASKED, INSPECTED, DECIDED and ROW_WATERMARK, and ``late`` where ``measure`` added it (False otherwise); the same rows with
    the action applied. Output ``enriched_events``: one row each.
    """

    name: Final = "enrich"

    def __call__(self, batch: pl.DataFrame) -> Outcome:
        """Maps one batch; every row goes on."""
        touched = batch.get_column("action").is_in(_TOUCHING).any()
        applied = batch.with_columns(_APPLIED) if touched else batch
        if "late" not in applied.columns:
            applied = applied.with_columns(pl.lit(False).alias("late"))
        return Outcome(applied, outputs={"enriched_events": applied.select(ENRICHED_COLUMNS)})
