"""What is counted for a group of events, and how partial counts are added: whole numbers only, so that the order of adding cannot show.

A frame of ``ACCUMULATORS`` holds rows by (window_start, agent_id, event_type, tool_name). Rows of one key add up: sums and counts are summed, bounds
taken as minimum and maximum, histograms concatenated and their counts summed. The same row kind serves a batch's partials, state and totals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from operators.windows.histogram import Buckets, Histograms

KEY: Final = ("window_start", "agent_id", "event_type", "tool_name")

_SUMS: Final = (
    "events",
    "errors",
    "latency_count",
    "latency_sum_us",
    "input_tokens",
    "output_tokens",
    "cost_nano_usd",
    "tool_calls",
    "confidence_count",
    "confidence_sum_ppm",
)
_LEAST: Final = ("latency_min_us", "first_event_time")
_GREATEST: Final = ("latency_max_us", "last_event_time")
_HISTOGRAM: Final = ("hist_index", "hist_count")

ACCUMULATORS: Final = pl.Schema(
    {
        "window_start": pl.Int64(),
        "agent_id": pl.String(),
        "event_type": pl.String(),
        "tool_name": pl.String(),
        **{name: pl.Int64() for name in (*_SUMS, *_LEAST, *_GREATEST)},
        "hist_index": pl.List(pl.Int16()),  # latency buckets; in partials one may come several times
        "hist_count": pl.List(pl.Int64()),  # events of the bucket beside it
    }
)

_TEXTS: Final = ("agent_id", "event_type", "tool_name")
_PLAIN: Final = [name for name in ACCUMULATORS if name not in _HISTOGRAM]
_ADD: Final = (
    pl.col(_SUMS).sum(),
    pl.col(_LEAST).min(),
    pl.col(_GREATEST).max(),
    *(pl.col(name).explode(empty_as_null=False) for name in _HISTOGRAM),
)

#: Statuses that say an event failed, whatever the producer's spelling of case.
ERROR_STATUSES: Final = ("error", "failed", "failure", "timeout", "timed_out", "rejected", "aborted")

#: An event failed iff its status says so, its type ends in ".failed", or it carries an error that is not JSON null.
FAILED: Final = (
    pl.col("status").str.to_lowercase().is_in(ERROR_STATUSES).fill_null(False)
    | pl.col("event_type").str.ends_with(".failed").fill_null(False)
    | (pl.col("error") != "null").fill_null(False)
)


def accumulate(events: pl.DataFrame, table: Buckets) -> pl.DataFrame:
    """Gives the partial counts of a batch, one row a key.

    Args:
        events: EVENT rows with ``window_start``.
        table: Buckets of the latency histogram.
    """
    indexed = events.with_columns(table.index(events["latency_us"]).alias("hist_index"))
    return indexed.group_by(KEY).agg(_ACCUMULATE)


_INDEX: Final = pl.col("hist_index").drop_nulls()
_ACCUMULATE: Final = (
    pl.len().cast(pl.Int64).alias("events"),
    FAILED.sum().cast(pl.Int64).alias("errors"),
    pl.col("latency_us").count().cast(pl.Int64).alias("latency_count"),
    pl.col("latency_us").sum().alias("latency_sum_us"),
    pl.col("input_tokens", "output_tokens", "cost_nano_usd").sum(),
    (pl.col("kind") == "tool").sum().cast(pl.Int64).alias("tool_calls"),
    pl.col("confidence_ppm").count().cast(pl.Int64).alias("confidence_count"),
    pl.col("confidence_ppm").sum().alias("confidence_sum_ppm"),
    pl.col("latency_us").min().alias("latency_min_us"),
    pl.col("event_time").min().alias("first_event_time"),
    pl.col("latency_us").max().alias("latency_max_us"),
    pl.col("event_time").max().alias("last_event_time"),
    _INDEX.alias("hist_index"),
    (_INDEX * 0 + 1).cast(pl.Int64).alias("hist_count"),  # one event each
)


def add(partials: Sequence[pl.DataFrame]) -> tuple[pl.DataFrame, Histograms]:
    """Gives one row a key, the sum of all partials (histogram columns left out), and the histogram of each row."""
    sums = pl.concat(partials, rechunk=False).group_by(KEY).agg(_ADD)
    return sums[_PLAIN], Histograms.of(sums["hist_index"], sums["hist_count"])


def as_rows(sums: pl.DataFrame, histograms: Histograms) -> pl.DataFrame:
    """Gives sums and histograms as one frame of ``ACCUMULATORS``."""
    return sums.hstack(list(histograms.lists()))


def own_text(rows: pl.DataFrame) -> pl.DataFrame:
    """Gives the rows with copies of their key texts.

    Polars text is a view of the buffers it came from: ten rows kept in state would keep the whole batch's texts in memory (200 kB a run measured).
    """
    return rows.with_columns(pl.Series(name, rows[name].to_list(), dtype=pl.String) for name in _TEXTS)
