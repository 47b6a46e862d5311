"""Enrich: what is left of an event after its decision becomes an enriched event."""

from __future__ import annotations

from typing import Final

import polars as pl

from governance.verdict import REDACTING, REMOVING
from operators.contract import Outcome, dead_rows
from operators.guardrails.evidence import read
from operators.guardrails.redact import REDACTED, redacted
from schemas.errors import OutputOversized
from schemas.events import CONTENT, DECIDED, EVENT, INSPECTED, INTERNAL, MASKED, ROW_WATERMARK, SCORED
from schemas.limits import OUTPUT_BYTES_MAX
from schemas.vault import VAULT_ROW, VAULT_TOKENS

#: An event without what only the pipe needs.
EVENT_COLUMNS: Final = (
    "event_uid",
    *(name for name in EVENT if name not in ("event_uid", "content_digest")),
    *(name for name in MASKED if name not in INTERNAL),
    *SCORED,
    *INSPECTED,
    *(name for name in DECIDED if name not in INTERNAL),
    *ROW_WATERMARK,
    "late",
)

#: Fields of ``enriched_event.avsc``.
ENRICHED_COLUMNS: Final = (*EVENT_COLUMNS, "released_from")


#: Ids, names, numbers and headers of a message: bounded by the limit on identifiers.
_OTHER_BYTES: Final = 64 * 1024
#: Masking makes of six characters (``a@b.co``) a placeholder of fifteen or a ciphertext of ninety, and an entry of up to a hundred in the list of
#: what was masked.
_GROWTH_MAX: Final = 40
#: Filled by a release alone (``streams/reviews.py``).
_NOT_RELEASED: Final = pl.lit(None, dtype=pl.String).alias("released_from")
_ACTION: Final = pl.col("action")
_TOUCHING: Final = [*REMOVING, *REDACTING]
_APPLIED: Final = [
    pl.when(_ACTION.is_in(list(REMOVING)))
    .then(None)
    .when(_ACTION.is_in(list(REDACTING)) & pl.col(name).is_not_null() & pl.col("redactions").is_null())
    .then(pl.lit(REDACTED))
    .otherwise(pl.col(name))
    .alias(name)
    for name in CONTENT
]


#: Bytes of the list of what was masked, about: its texts, and 16 a span for the score and the lengths.
_SPANS_BYTES: Final = (
    pl.col("masked_spans")
    .list.eval(pl.sum_horizontal(pl.element().struct.field("entity", "column", "path", "recogniser").str.len_bytes()) + 16)
    .list.sum()
    .fill_null(0)
)


class Enrich:
    """Applies the action to the content columns and puts every row out as an enriched event.

    ``redact`` puts "<REDACTED>" in the place of what the evidence names: a place in a leaf, a leaf, a column; where a rule without a place asks for
    it, in the place of each content column that is not null. ``quarantine``, ``pause_agent`` and ``stop_agent`` make all columns null; ``pass`` and
    ``throttle`` leave them. Everything else, the verdict too, stays.

    A row whose texts exceed what the output topic takes (masking can lengthen them) is dead with ``output_oversized``.

    What tokens in the texts stand for (``sealed``) goes to the vault, whatever the action.

    Shapes: rows of EVENT, MASKED, SCORED, INSPECTED, DECIDED and ROW_WATERMARK, and ``late`` where ``measure`` added it (False otherwise); the same
    rows with the action applied. Outputs: ``enriched_events``, one row each; ``vault_tokens``, one for each value behind a token.

    Args:
        text_bytes_max: Bytes of content and of the list of what was masked, together, in one enriched event.
    """

    name: Final = "enrich"

    def __init__(self, text_bytes_max: int = OUTPUT_BYTES_MAX - _OTHER_BYTES) -> None:
        self._text_bytes_max = text_bytes_max

    def __call__(self, batch: pl.DataFrame) -> Outcome:
        """Maps one batch."""
        touched = batch.get_column("action").is_in(_TOUCHING).any()
        applied = _without_places(batch.with_columns(_APPLIED)) if touched else batch
        if "late" not in applied.columns:
            applied = applied.with_columns(pl.lit(False).alias("late"))
        largest = batch.get_column("value_bytes").max()
        if not isinstance(largest, int) or largest * _GROWTH_MAX <= self._text_bytes_max:
            return Outcome(applied, outputs=_outputs(applied))
        return self._sized(applied)

    def _sized(self, rows: pl.DataFrame) -> Outcome:
        size = pl.sum_horizontal(*(pl.col(name).str.len_bytes().fill_null(0) for name in CONTENT), _SPANS_BYTES)
        oversized = rows.select(size > self._text_bytes_max).to_series()
        reason = f"enriched event: want at most {self._text_bytes_max} bytes of text, got more; lower the limit on an input record"
        dead = dead_rows(rows.filter(oversized), step=self.name, disposition="dead", code=OutputOversized.code, reason=reason)
        fitting = rows.filter(~oversized)
        return Outcome(fitting, outputs=_outputs(fitting), dead=dead)


def _outputs(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    enriched = {"enriched_events": rows.select(*EVENT_COLUMNS, _NOT_RELEASED)}
    held = rows.select("sealed", "event_time").drop_nulls("sealed")
    if held.is_empty():
        return enriched
    return enriched | {VAULT_TOKENS: held.explode("sealed").unnest("sealed").select(VAULT_ROW.names())}


def _without_places(batch: pl.DataFrame) -> pl.DataFrame:
    """Takes the named places out of the rows whose action is to redact."""
    rows = batch.select((_ACTION.is_in(list(REDACTING)) & pl.col("redactions").is_not_null()).arg_true()).to_series()
    if rows.is_empty():
        return batch
    pieces = [read(text) for text in batch["redactions"][rows].to_list()]
    columns = []
    for name in CONTENT:
        left = [
            content if content is None or not (of := [piece for piece in of_row if piece.column == name]) else redacted(content, of)
            for content, of_row in zip(batch[name][rows].to_list(), pieces, strict=True)
        ]
        columns.append(batch[name].scatter(rows, pl.Series(name, left, dtype=pl.String)))
    return batch.with_columns(columns)
