"""Windows as half-open intervals of event time, aligned to 1970 in UTC: which of them an event belongs to.

All is computed in whole milliseconds, so an event before 1970 falls into the window it lies in (floor, not truncation).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

WINDOW_START: Final = "window_start"


def tumbling(times: pl.Series, length_ms: int) -> pl.Series:
    """Gives the start (Int64, ms) of the one window of this length that each time lies in: ``start <= time < start + length``.

    Times (Int64, ms) hold no null.
    """
    assert length_ms > 0, f"window length must be positive, came {length_ms} ms"
    return pl.Series(WINDOW_START, times.to_numpy() // length_ms * length_ms, dtype=pl.Int64)


def sliding(times: pl.Series, length_ms: int, slide_ms: int) -> pl.Series:
    """Gives the starts (List[Int64], ms, ascending) of all windows that each time lies in; explode it for one row a window.

    Windows start at every multiple of ``slide_ms``; where the slide is longer than the window, a time between two windows has an empty list.
    """
    assert length_ms > 0, f"window length must be positive, came {length_ms} ms"
    assert slide_ms > 0, f"window slide must be positive, came {slide_ms} ms"
    at = times.to_numpy()
    first = np.floor_divide(at - length_ms, slide_ms) * slide_ms + slide_ms  # the first multiple after time - length
    return pl.select(pl.int_ranges(pl.Series(first), pl.Series(at + 1), slide_ms, dtype=pl.Int64).alias(WINDOW_START)).to_series()
