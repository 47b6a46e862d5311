"""Quantiles of the histogram are within the stated relative error, and no order of merging shows."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.windows.histogram import Buckets, Histograms, buckets
from schemas.limits import NUMBER_MAX

TABLES = [buckets(alpha) for alpha in (1_000, 10_000, 50_000)]
PERMILLE = (0, 1, 500, 950, 990, 1000)
VALUES = st.one_of(st.integers(0, 300), st.integers(0, NUMBER_MAX - 1), st.integers(0, 52).map(lambda power: 2**power))


def _histogram(rows: list[list[int]], table: Buckets) -> Histograms:
    indices = [table.index(pl.Series(row, dtype=pl.Int64)).to_list() for row in rows]
    ones = [[1] * len(row) for row in rows]
    return Histograms.of(pl.Series(indices, dtype=pl.List(pl.Int16)), pl.Series(ones, dtype=pl.List(pl.Int64)))


def _exact(values: list[int], permille: int) -> int:
    return sorted(values)[permille * (len(values) - 1) // 1000]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: str(table.alpha_ppm))
@given(rows=st.lists(st.lists(VALUES, max_size=12), min_size=1, max_size=4))
def test_a_quantile_is_within_the_stated_error_of_the_exact_one(table: Buckets, rows: list[list[int]]) -> None:
    histograms = _histogram(rows, table)
    for permille in PERMILLE:
        for row, told in zip(rows, histograms.quantile(permille, table), strict=True):
            if not row:
                assert told is None
                continue
            exact = _exact(row, permille)
            assert abs(told - exact) * 1_000_000 <= table.alpha_ppm * exact  # whole numbers: no rounding helps


@pytest.mark.parametrize("table", TABLES, ids=lambda table: str(table.alpha_ppm))
def test_every_border_of_every_bucket_is_within_the_error(table: Buckets) -> None:
    lows, highs, mids = table.highs[:-1] + 1, table.highs[1:], table.mids[1:]
    assert table.highs[0] == 0
    assert table.highs[-1] >= NUMBER_MAX - 1
    for low, high, mid in zip(lows.tolist(), highs.tolist(), mids.tolist(), strict=True):
        assert low <= mid <= high
        assert (mid - low) * 1_000_000 <= table.alpha_ppm * low
        assert (high - mid) * 1_000_000 <= table.alpha_ppm * high
    borders = pl.Series(np.concatenate((lows, highs[:-1])))
    expected = np.concatenate((np.arange(1, len(table.highs)), np.arange(1, len(table.highs) - 1)))
    assert table.index(borders).to_numpy().tolist() == expected.tolist()


def test_a_null_has_no_bucket_and_zero_has_its_own() -> None:
    index = TABLES[1].index(pl.Series("v", [None, 0, 1], dtype=pl.Int64))
    assert index.to_list() == [None, 0, 1]
    assert index.dtype == pl.Int16


@settings(deadline=None)
@given(parts=st.lists(st.lists(VALUES, max_size=6), min_size=1, max_size=6), order=st.randoms(use_true_random=False))
def test_merging_in_any_order_gives_the_same_histogram(parts: list[list[int]], order: object) -> None:
    table = TABLES[1]
    shuffled = list(parts)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    whole = _histogram([[value for part in parts for value in part]], table)
    for turn in (parts, shuffled):
        merged = _histogram([[]], table)
        for part in turn:
            pairs = zip(merged.lists(), _histogram([part], table).lists(), strict=True)
            index, counts = (pl.Series([[*a[0].to_list(), *b[0].to_list()]], dtype=a.dtype) for a, b in pairs)
            merged = Histograms.of(index, counts)
        assert [column.to_list() for column in merged.lists()] == [column.to_list() for column in whole.lists()]


def test_buckets_cut_off_low_would_break_the_bound() -> None:
    """The mutant: a table whose buckets end one tenth later."""
    table = TABLES[1]
    wide = Buckets(table.alpha_ppm, table.highs + table.highs // 10, table.mids)
    values = list(range(1_000, 2_000))
    worst = max(abs(int(wide.mids[wide.index(pl.Series([value]))[0]]) - value) / value for value in values)
    assert worst > 0.01
