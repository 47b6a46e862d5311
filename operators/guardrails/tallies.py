"""Tallies: running sums by key and window of time, as state in sorted runs.

An entry is a 64-bit key and what a batch added to it in one window, 16 bytes. The entries of a batch lie sorted in one run (``operators.runs``) of
their window; partial sums of one key in several runs add up. Runs of one window are merged when their sizes come close, so a window of ``n`` entries
has about ``log2(n / batch)`` runs and each entry is copied as often.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.runs import run_id, runs_by_bucket

ENTRY: Final = pl.Schema({"key": pl.Int64(), "total": pl.Int64()})

Ints = NDArray[np.int64]

_ROW: Final = "_row"
_HIT: Final = "_hit"


def digest(text: str) -> int:
    """Gives a signed 64-bit digest: the same in every process and version, for it is kept in state."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big", signed=True)


def keys_of(rows: pl.DataFrame, columns: Iterable[str]) -> Ints:
    """Gives the 64-bit key of each row over some columns, none of them null; each distinct key is hashed once.

    Lengths take part, so that no id can be chosen to run into the next.
    """
    parts = [part for name in columns for part in (pl.col(name).cast(pl.String).str.len_bytes().cast(pl.String), pl.col(name).cast(pl.String))]
    joined = rows.select(pl.concat_str(parts, separator=":")).to_series()
    assert joined.null_count() == 0, "only rows with a key are counted"
    distinct = joined.unique()
    digests = pl.Series([digest(text) for text in distinct.to_list()], dtype=pl.Int64)
    return joined.replace_strict(distinct, digests, return_dtype=pl.Int64).to_numpy() if joined.len() else np.empty(0, dtype=np.int64)


def log_times(rows: pl.DataFrame) -> Ints:
    """Gives how far each row's own partition has come right after it, in ms.

    The larger of its event time and its watermark: it never goes back within a partition, so nothing is late and nobody gains by an old timestamp.
    """
    return rows.select(pl.max_horizontal("event_time", "row_watermark")).to_series().to_numpy()


def tally(runs: dict[str, pl.DataFrame], window_ms: int, keys: Ints, times: Ints, values: Ints) -> Ints:
    """Adds values to their keys in the windows of their times.

    Args:
        runs: State; new runs are put into it.
        window_ms: Length of the windows.
        keys: One a row.
        times: One a row, in ms.
        values: One a row, not negative.

    Returns:
        For each row the sum of its key and window up to it and with it, in the order of the rows.
    """
    totals = np.empty(len(keys), dtype=np.int64)
    windows = times // window_ms
    sequences = runs_by_bucket(runs)
    for window in np.unique(windows).tolist():
        at = np.flatnonzero(windows == window)
        order = at[np.argsort(keys[at], kind="stable")]
        key, summed = keys[order], np.cumsum(values[order])
        heads = np.flatnonzero(np.concatenate(([True], key[1:] != key[:-1])))
        sizes = np.diff(np.append(heads, len(key)))
        before = np.repeat(np.concatenate(([0], summed[heads[1:] - 1])), sizes)
        bucket = bucket_of(window_ms, window)
        numbers = sequences.get(bucket, [])
        known = totals_of(runs, [run_id(bucket, number) for number in numbers], key[heads])
        totals[order] = summed - before + np.repeat(known, sizes)
        ends = heads + sizes - 1
        append(runs, bucket, numbers, pl.DataFrame([key[heads], summed[ends] - before[ends]], schema=ENTRY))
    return totals


def bucket_of(window_ms: int, window: int) -> str:
    """Gives the name of a window's bucket of state: its length and its number since 1970."""
    return f"{window_ms}:{window}"


def free(runs: dict[str, pl.DataFrame], watermark: int | None, slack_ms: int = 0) -> None:
    """Drops the windows that ended at least ``slack_ms`` before the watermark."""
    if watermark is None:
        return
    for run in [run for run in runs if _end(run) + slack_ms <= watermark]:
        del runs[run]


def with_hits(batch: pl.DataFrame, found: Mapping[str, NDArray[np.integer]]) -> pl.DataFrame:
    """Gives the batch with ids added to ``hits`` at some rows; lists stay sorted and hold an id once.

    Args:
        batch: Rows with ``hits``.
        found: Places of rows by the id that hit there.
    """
    rows = [pl.DataFrame({_ROW: places, _HIT: name}, schema={_ROW: pl.UInt32, _HIT: pl.String}) for name, places in found.items() if len(places)]
    if not rows:
        return batch
    before = batch.select(pl.int_range(pl.len(), dtype=pl.UInt32).alias(_ROW), pl.col("hits").alias(_HIT))
    old = before.filter(pl.col(_HIT).list.len() > 0).explode(_HIT)
    hits = pl.concat([*rows, old]).unique().group_by(_ROW).agg(pl.col(_HIT).sort().alias("hits"))
    column = pl.select(pl.int_range(batch.height, dtype=pl.UInt32).alias(_ROW)).join(hits, on=_ROW, how="left", maintain_order="left")
    return batch.with_columns(column.get_column("hits").cast(pl.List(pl.String)))


def totals_of(runs: Mapping[str, pl.DataFrame], ids: Iterable[str], keys: Ints) -> Ints:
    """Gives what some runs hold for each key; 0 where they hold nothing."""
    totals = np.zeros(len(keys), dtype=np.int64)
    for run in ids:
        known = runs[run]["key"].to_numpy()
        at = np.minimum(np.searchsorted(known, keys), len(known) - 1)
        hit = known[at] == keys
        totals[hit] += runs[run]["total"].to_numpy()[at[hit]]
    return totals


def append(runs: dict[str, pl.DataFrame], bucket: str, numbers: Sequence[int], entries: pl.DataFrame) -> None:
    """Puts a run into a window, merged with the runs before it that are not much larger.

    Args:
        runs: State.
        bucket: Name of the window (``bucket_of``).
        numbers: Of the runs that the window has.
        entries: Rows of ENTRY, keys ascending.
    """
    number = numbers[-1] + 1 if numbers else 0
    merged, height = [entries], entries.height
    older = list(numbers)
    while older and runs[run_id(bucket, older[-1])].height <= 2 * height:
        merged.append(runs.pop(run_id(bucket, older.pop())))
        height += merged[-1].height
    runs[run_id(bucket, number)] = entries if len(merged) == 1 else pl.concat(merged).group_by("key").agg(pl.col("total").sum()).sort("key")


def _end(run: str) -> int:
    window_ms, _, window = run.partition("/")[0].partition(":")
    return (int(window) + 1) * int(window_ms)
