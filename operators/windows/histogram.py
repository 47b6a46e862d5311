"""A mergeable histogram of whole numbers: quantiles within a stated relative error, whatever the order of merging.

In the manner of DDSketch (Masson, Rim, Lee: DDSketch, VLDB 2019): bucket bounds grow geometrically, a bucket counts values, merging adds counts,
and a quantile is the one value that stands for the bucket its rank falls into. Unlike DDSketch the bounds are whole numbers from a table made
in integer arithmetic, never logarithms, so a value at a border falls into the same bucket on every machine.

Why the error holds: with ``a`` = alpha, bucket ``[low, high]`` stands for ``mid = low + floor(a * low)`` and ends at ``high = floor(mid / (1 - a))``.
For ``low <= v <= mid``: ``mid - v <= mid - low <= a * low <= a * v``. For ``mid <= v <= high``: ``v * (1 - a) <= mid``, so ``v - mid <= a * v``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from schemas.limits import NUMBER_MAX

_MILLION: Final = 1_000_000
DEFAULT_ALPHA_PPM: Final = 10_000


@dataclass(frozen=True, slots=True)
class Buckets:
    """The table of bounds for one relative error.

    Attributes:
        alpha_ppm: Relative error of a quantile in parts per million.
        highs: Largest value of each bucket, ascending; bucket 0 holds zero alone. Buckets are without gaps up to the largest legal number.
        mids: The value each bucket stands for.
    """

    alpha_ppm: int
    highs: NDArray[np.int64]
    mids: NDArray[np.int64]

    def index(self, values: pl.Series) -> pl.Series:
        """Gives the bucket (Int16) of each value, null for null. Values are in ``0 .. NUMBER_MAX - 1``, which decode has seen to."""
        found = np.searchsorted(self.highs, values.fill_null(0).to_numpy(), side="left").astype(np.int16)
        return pl.Series(values.name, found).set(values.is_null(), None) if values.null_count() else pl.Series(values.name, found)


@cache
def buckets(alpha_ppm: int = DEFAULT_ALPHA_PPM) -> Buckets:
    """Gives the table for a relative error: at 1 % about 1,700 buckets up to 2^53, in which values up to 98 stand for themselves."""
    assert 1_000 <= alpha_ppm < _MILLION, f"relative error must be 0.1 % to under 100 %, came {alpha_ppm} ppm"
    highs, mids = [0], [0]
    low = 1
    while low < NUMBER_MAX:
        mid = low + low * alpha_ppm // _MILLION
        high = mid * _MILLION // (_MILLION - alpha_ppm)
        mids.append(mid)
        highs.append(high)
        low = high + 1
    return Buckets(alpha_ppm, np.array(highs, dtype=np.int64), np.array(mids, dtype=np.int64))


@dataclass(frozen=True, slots=True)
class Histograms:
    """Many histograms, one a row, each a run of (bucket, count) with buckets ascending and no bucket twice.

    Attributes:
        ends: Where each row's run ends in ``index`` and ``counts``; it begins where the row before ends.
        index: Buckets of all rows, one run after the other.
        counts: How many values each bucket counts, at least 1.
    """

    ends: NDArray[np.int64]
    index: NDArray[np.int16]
    counts: NDArray[np.int64]

    @staticmethod
    def of(index: pl.Series, counts: pl.Series) -> Histograms:
        """Gives the histograms of two parallel list columns (List[Int16], List[Int64], no nulls), in which a bucket may come several times."""
        rows = np.repeat(np.arange(len(index)), index.list.len().to_numpy())
        code = rows << 16 | index.explode(empty_as_null=False).to_numpy()
        order = np.argsort(code, kind="stable")
        code = code[order]
        heads = np.flatnonzero(np.diff(code, prepend=-1))
        total = np.add.reduceat(counts.explode(empty_as_null=False).to_numpy()[order], heads) if len(heads) else np.empty(0, dtype=np.int64)
        code = code[heads]
        return Histograms(np.searchsorted(code >> 16, np.arange(len(index)), side="right"), (code & 0xFFFF).astype(np.int16), total)

    def lists(self) -> tuple[pl.Series, pl.Series]:
        """Gives the two list columns again, ``hist_index`` and ``hist_count``."""
        # through Polars: pyarrow imports pandas (a second) where it meets a NumPy array
        offsets, index, counts = (pl.Series(part).to_arrow() for part in (np.concatenate(([0], self.ends)), self.index, self.counts))
        return (
            pl.Series("hist_index", pa.LargeListArray.from_arrays(offsets, index), dtype=pl.List(pl.Int16)),
            pl.Series("hist_count", pa.LargeListArray.from_arrays(offsets, counts), dtype=pl.List(pl.Int64)),
        )

    def quantile(self, permille: int, table: Buckets) -> pl.Series:
        """Gives one quantile (950 is p95) of each row as Int64, null for a histogram without values.

        Of ``n`` values in ascending order, quantile ``q`` is the one of rank ``floor(q * (n - 1))`` counted from 0, as in DDSketch (the "lower"
        quantile of NumPy), told within the table's relative error.
        """
        summed = np.concatenate(([0], np.cumsum(self.counts)))
        starts = np.concatenate(([0], self.ends[:-1])) if len(self.ends) else self.ends
        before = summed[starts]
        totals = summed[self.ends] - before
        rank = before + permille * np.maximum(totals - 1, 0) // 1000
        if not len(self.index):
            return pl.repeat(None, len(self.ends), dtype=pl.Int64, eager=True)
        at = np.minimum(np.searchsorted(summed, rank, side="right") - 1, len(self.index) - 1)
        values = pl.Series(table.mids[self.index[at]], dtype=pl.Int64)
        return values.set(pl.Series(totals == 0), None)
