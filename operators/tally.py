"""Tally: how much was masked, by agent and entity, in windows of event time, for the audit log."""

from __future__ import annotations

import json
from typing import Final

import polars as pl

from operators.audit import TOPIC
from operators.contract import Order, Outcome, State, StateSpec
from schemas.coordinates import audit_uid
from schemas.frames import output_schema

_SCHEMA: Final = output_schema(TOPIC)
_STATE: Final = pl.Schema({"agent_id": pl.String(), "entity": pl.String(), "spans": pl.Int64()})
_KEY: Final = ["agent_id", "entity"]


class TallyMasks:
    """Puts out one entry an agent and window, once the window is past its lateness: how many spans of each entity were masked.

    Lateness is decided by a row's own ``row_watermark``; a row that comes too late for its window gives an entry of its own, so that none is missed
    and none is counted twice.

    Shapes: rows of EVENT, MASKED and ROW_WATERMARK; the same rows. Output ``audit_log``.

    Args:
        window_ms: Length of a window.
        lateness_ms: How long after its end a window takes in events.
    """

    name: Final = "tally"
    order: Final = Order.COMMUTATIVE

    def __init__(self, window_ms: int = 60_000, lateness_ms: int = 60_000) -> None:
        self._window_ms = window_ms
        self._lateness_ms = lateness_ms

    @property
    def state_spec(self) -> StateSpec:
        """One entry an agent and entity, about 60 bytes."""
        bound = "60 bytes x agents active in a window x entities, for windows not past their lateness at the slowest partition"
        return StateSpec(version=1, schema=_STATE, bound=bound)

    def apply(self, state: State, batch: pl.DataFrame, watermark: int | None) -> tuple[State, Outcome]:
        """Counts the batch, and closes windows that the watermark has passed."""
        after = dict(state)
        masked = batch.filter(pl.col("masked_spans").is_not_null())
        entries = []
        if masked.height:
            counted, late = self._counted(masked)
            entries.append(late)
            for (start,), rows in counted.partition_by("start", as_dict=True, include_key=False).items():
                bucket = str(start)
                joined = pl.concat([after[bucket], rows]) if bucket in after else rows
                after[bucket] = joined.group_by(_KEY).agg(pl.col("spans").sum()).sort(_KEY)
        if watermark is not None:
            for bucket in [one for one in after if int(one) + self._window_ms + self._lateness_ms <= watermark]:
                entries.append(_entries(after.pop(bucket).with_columns(pl.lit(int(bucket), dtype=pl.Int64).alias("start")), self._window_ms))
        told = [entry for entry in entries if entry.height]
        return after, Outcome(batch, outputs={TOPIC: pl.concat(told)} if told else {})

    def _counted(self, masked: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Gives spans by window, agent and entity of rows in time, and the entries of late rows."""
        start = pl.col("event_time") - pl.col("event_time") % self._window_ms
        spans = masked.select(
            "agent_id",
            "event_uid",
            "event_time",
            start.alias("start"),
            (start + self._window_ms + self._lateness_ms <= pl.col("row_watermark")).fill_null(False).alias("late"),
            pl.col("masked_spans").alias("entity"),
        ).explode("entity")
        spans = spans.with_columns(pl.col("entity").struct.field("entity"))
        in_time = spans.filter(~pl.col("late")).group_by("start", *_KEY).agg(pl.len().cast(pl.Int64).alias("spans"))
        late = spans.filter(pl.col("late")).group_by("event_uid", "start", *_KEY).agg(pl.len().cast(pl.Int64).alias("spans"))
        return in_time.select("start", *_STATE.names()), _entries(late, self._window_ms)


def _entries(counts: pl.DataFrame, window_ms: int) -> pl.DataFrame:
    """Gives an entry for each agent and window of the counts, or for each event where they name one."""
    by = [name for name in ("event_uid", "start", "agent_id") if name in counts.columns]
    rows = []
    for found in counts.sort([*by, "entity"]).group_by(by, maintain_order=True).agg("entity", "spans").iter_rows(named=True):
        detail = {"window_ms": window_ms, "masked": dict(zip(found["entity"], found["spans"], strict=True))}
        about = (found["event_uid"],) if "event_uid" in found else (str(found["start"]), str(window_ms), found["agent_id"])
        rows.append(
            dict.fromkeys(_SCHEMA)
            | {
                "audit_uid": audit_uid("masks", *about),
                "event_time": found["start"],
                "what": "masks",
                "service": "mask",
                "agent_id": found["agent_id"],
                "event_uid": found.get("event_uid"),
                "result": "done",
                "detail": json.dumps(detail, sort_keys=True),
            }
        )
    return pl.DataFrame(rows, schema=_SCHEMA)
