"""Watermarks: how far event time has come, told by the data alone.

A partition's watermark before a row is the largest event time among the partition's earlier rows, raised to the idle floors recorded at or
before that row's offset. It is a function of that partition's log and of recorded marks, so a replay computes the same one; it alone
decides lateness. The merged watermark is the minimum over partitions: it triggers emission and frees state, and decides nothing else.
No allowance for disorder is subtracted: allowed lateness covers it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

#: A partition of a topic.
Partition = tuple[str, int]
#: An idle mark: from this offset on, the partition's watermark is at least this many ms.
Floor = tuple[int, int]

_KEY = ("topic", "partition")


@dataclass(frozen=True, slots=True)
class Mark:
    """How one partition stands.

    Attributes:
        watermark: Its watermark before its next row, floors included; None before the first event.
        newest: Largest event time seen in it, floors not included; None before the first event.
        idle: Whether it is taken to be idle now.
    """

    watermark: int | None
    newest: int | None
    idle: bool


def row_watermarks(
    frame: pl.DataFrame, before: Mapping[Partition, int], floors: Mapping[Partition, Sequence[Floor]]
) -> tuple[pl.DataFrame, dict[Partition, int]]:
    """Gives the frame with ``row_watermark`` (Int64, ms; null before the first event), and the watermarks after it.

    Args:
        frame: EVENT rows; the rows of one partition stand in the order of their offsets, partitions may interleave.
        before: Watermark of each partition before the frame; a partition that is absent has none yet.
        floors: Idle marks by partition, in any order; may hold marks of the past and of offsets not yet reached.

    Returns:
        The frame with one column more, and the watermark that the next row of each partition will see: those of ``before``, raised by the rows
        and by every floor that is certain to apply to the next row (its offset is at most one past the partition's last row here).
    """
    assert frame["event_time"].null_count() == 0, "an event without event_time: decode rejects it"
    after = dict(before)
    times, offsets = frame["event_time"].to_numpy(), frame["offset"].to_numpy()
    marks = np.full(frame.height, _NONE, dtype=np.int64)
    groups = frame.lazy().select(*_KEY, pl.int_range(pl.len()).alias("at")).group_by(_KEY).agg("at").collect()
    for topic, partition, at in zip(*groups.select(_KEY), groups["at"], strict=True):
        rows = at.to_numpy()
        start = before.get((topic, partition), _NONE)
        seen = np.maximum.accumulate(np.concatenate(([start], times[rows])))
        marks[rows] = seen[:-1]
        end = int(seen[-1])
        if stairs := floors.get((topic, partition)):
            steps, levels = _staircase(stairs)
            marks[rows] = np.maximum(marks[rows], levels[np.searchsorted(steps, offsets[rows], side="right")])
            end = max(end, int(levels[np.searchsorted(steps, offsets[rows[-1]] + 1, side="right")]))
        after[topic, partition] = end
    column = pl.Series("row_watermark", marks)
    return frame.with_columns(column.set(column == _NONE, None)), after


_NONE = -(2**63)  # stands for "no watermark yet" among integers


def _staircase(floors: Sequence[Floor]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Gives the floors as sorted offsets and, one longer, the highest level reached before each of them and after the last."""
    stairs = np.array(sorted(floors), dtype=np.int64)
    return stairs[:, 0], np.maximum.accumulate(np.concatenate(([_NONE], stairs[:, 1])))


def merge(marks: Mapping[Partition, int | None]) -> int | None:
    """Gives the merged watermark in ms: the minimum over all known partitions, None while one of them has none (or none is known)."""
    lowest: int | None = None
    for mark in marks.values():
        if mark is None:
            return None
        lowest = mark if lowest is None else min(lowest, mark)
    return lowest


def idle_floor(board: Mapping[Partition, Mark], window_ms: int) -> int | None:
    """Gives the floor to record for the idle partitions, in ms; None where nothing can be said yet.

    While some partition is active, an idle one follows the slowest active one (None while an active one has no watermark). When all are idle,
    the floor is the newest event time of all plus one window, so that the open windows close, while the allowed lateness still lets a
    stream that goes on in. It counts from event times, not from earlier floors, so marking an idle fleet again and again moves nothing.
    """
    active = {partition: mark.watermark for partition, mark in board.items() if not mark.idle}
    if active:
        return merge(active)
    newest = [mark.newest for mark in board.values() if mark.newest is not None]
    return max(newest) + window_ms if newest else None
