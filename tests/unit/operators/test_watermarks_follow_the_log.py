"""A row's watermark is a function of its own partition's log and of recorded floors; the merged one is the slowest partition's."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from operators.windows.watermark import Floor, Mark, Partition, idle_floor, merge, row_watermarks

PARTITIONS: tuple[Partition, ...] = (("t", 0), ("t", 1), ("u", 0))
SCHEMA = pl.Schema({"topic": pl.String(), "partition": pl.Int32(), "offset": pl.Int64(), "event_time": pl.Int64()})
MARKS = st.integers(-3, 12)
STEPS = st.tuples(st.sampled_from(PARTITIONS), st.integers(1, 3), MARKS)
FLOORS = st.dictionaries(st.sampled_from(PARTITIONS), st.lists(st.tuples(st.integers(0, 20), MARKS), max_size=3))
BEFORE = st.dictionaries(st.sampled_from(PARTITIONS), MARKS)


def _frame(steps: list[tuple[Partition, int, int]]) -> pl.DataFrame:
    offsets = dict.fromkeys(PARTITIONS, -1)
    rows = []
    for partition, gap, event_time in steps:
        offsets[partition] += gap  # offsets may have gaps: transaction markers, compaction
        rows.append((*partition, offsets[partition], event_time))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _plain(frame: pl.DataFrame, before: dict[Partition, int], floors: dict[Partition, list[Floor]]) -> list[int | None]:
    """The definition, row by row."""
    seen = dict(before)
    marks: list[int | None] = []
    for topic, partition, offset, event_time in frame.iter_rows():
        reached = [level for at, level in floors.get((topic, partition), []) if at <= offset]
        parts = [*reached, *([seen[topic, partition]] if (topic, partition) in seen else [])]
        marks.append(max(parts) if parts else None)
        seen[topic, partition] = max([*parts, event_time])
    return marks


@given(st.lists(STEPS, max_size=20), BEFORE, FLOORS)
def test_each_row_carries_its_partitions_watermark_before_it(
    steps: list[tuple[Partition, int, int]], before: dict[Partition, int], floors: dict[Partition, list[Floor]]
) -> None:
    frame = _frame(steps)
    marked, _ = row_watermarks(frame, before, floors)
    assert marked.drop("row_watermark").equals(frame)
    assert marked["row_watermark"].dtype == pl.Int64
    assert marked["row_watermark"].to_list() == _plain(frame, before, floors)


@given(st.lists(STEPS, max_size=20), st.integers(0, 20), BEFORE, FLOORS)
def test_a_cut_of_the_log_into_batches_changes_no_watermark(
    steps: list[tuple[Partition, int, int]], cut: int, before: dict[Partition, int], floors: dict[Partition, list[Floor]]
) -> None:
    frame = _frame(steps)
    whole, after = row_watermarks(frame, before, floors)
    first, between = row_watermarks(frame.head(cut), before, floors)
    second, end = row_watermarks(frame.tail(max(frame.height - cut, 0)), between, floors)
    assert pl.concat([first, second]).equals(whole)
    assert end == after


def test_other_partitions_do_not_move_a_rows_watermark() -> None:
    slow = _frame([(("t", 0), 1, 1), (("t", 0), 1, 2)])
    fast = _frame([(("t", 1), 1, 900), (("t", 1), 1, 901)])
    mixed, after = row_watermarks(pl.concat([fast.head(1), slow.head(1), fast.tail(1), slow.tail(1)]), {}, {})
    assert mixed.filter(pl.col("partition") == 0)["row_watermark"].to_list() == [None, 1]
    assert after == {("t", 0): 2, ("t", 1): 901}


def test_the_merged_watermark_is_the_slowest_partitions_and_waits_for_all() -> None:
    assert merge({}) is None
    assert merge({("t", 0): 5, ("t", 1): None}) is None
    assert merge({("t", 0): 5, ("t", 1): -2}) == -2


def test_an_idle_partition_follows_the_slowest_active_one() -> None:
    board = {("t", 0): Mark(3, 3, idle=True), ("t", 1): Mark(9, 9, idle=False), ("t", 2): Mark(7, 7, idle=False)}
    assert idle_floor(board, 10) == 7
    assert idle_floor({**board, ("t", 3): Mark(None, None, idle=False)}, 10) is None


def test_an_idle_fleet_closes_its_windows_once_however_often_it_is_marked() -> None:
    assert idle_floor({("t", 0): Mark(None, None, idle=True)}, 10) is None
    board = {("t", 0): Mark(3, 3, idle=True), ("t", 1): Mark(9, 9, idle=True)}
    floor = idle_floor(board, 10)
    assert floor == 19
    marked = {partition: Mark(floor, mark.newest, idle=True) for partition, mark in board.items()}
    assert idle_floor(marked, 10) == floor
