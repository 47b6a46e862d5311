"""An event lies in the windows that cover its time, before 1970 too."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from operators.windows.assign import sliding, tumbling

TIMES = st.lists(st.integers(-40, 40), max_size=10)


@given(TIMES, st.integers(1, 15))
def test_a_tumbling_window_covers_its_event_and_starts_at_a_multiple(times: list[int], length: int) -> None:
    starts = tumbling(pl.Series(times, dtype=pl.Int64), length)
    assert starts.dtype == pl.Int64
    assert all(start <= time < start + length and start % length == 0 for start, time in zip(starts, times, strict=True))


@given(TIMES, st.integers(1, 15), st.integers(1, 15))
def test_sliding_windows_are_all_those_that_cover_the_event(times: list[int], length: int, slide: int) -> None:
    starts = sliding(pl.Series(times, dtype=pl.Int64), length, slide)
    expected = [[at for at in range(-120, 120) if at % slide == 0 and at <= time < at + length] for time in times]
    assert starts.to_list() == expected
