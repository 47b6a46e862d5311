"""A partition that is added to a running pipeline joins where the others are: it reopens no window that was published and freed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl
import pytest

from operators.contract import Outcome
from operators.windows.measure import Measure
from schemas.events import DECIDED, EVENT, INSPECTED, MASKED, RAW, SCORED
from streams.batch import LaneBatch, Partition
from streams.lane import Lane
from streams.telemetry import Telemetry
from streams.topology import Topology

OLD, NEW = ("agent_events", 0), ("agent_events", 1)
WINDOW_S, LATENESS_S = 10, 20
COLUMNS = pl.Schema({**EVENT, **MASKED, **SCORED, **INSPECTED, **DECIDED})


class Canonical:
    """The lane asks it for its columns only."""

    name = "canonical"

    def __call__(self, batch: pl.DataFrame) -> Outcome:
        return Outcome(COLUMNS.to_frame() if batch.schema == RAW else batch)


TOPOLOGY = Topology(
    "test",
    ("agent_events",),
    (Canonical(),),
    "agent_id",
    1,
    1,
    WINDOW_S * 1000,
    (Measure(window_ms=WINDOW_S * 1000, lateness_ms=LATENESS_S * 1000),),
    ("agent_metrics",),
)


def rows(partition: Partition, seconds: Sequence[int], watermark: int | None = None) -> pl.DataFrame:
    count = len(seconds)
    known = {
        "topic": [partition[0]] * count,
        "partition": [partition[1]] * count,
        "offset": list(range(count)),
        "kind": ["agent"] * count,
        "agent_id": ["a"] * count,
        "event_type": ["agent.executed"] * count,
        "status": ["ok"] * count,
        "verdict": ["allow"] * count,
        "action": ["pass"] * count,
        "event_time": [1000 * second for second in seconds],
    }
    frame = pl.DataFrame({name: known.get(name, [None] * count) for name in COLUMNS}, schema=COLUMNS)
    return frame.with_columns(pl.lit(None if watermark is None else 1000 * watermark, pl.Int64).alias("row_watermark"))


def revisions(output: Mapping[str, pl.DataFrame]) -> dict[int, int]:
    if "agent_metrics" not in output:
        return {}
    return {start // 1000: revision for start, revision in output["agent_metrics"].select("window_start", "revision").iter_rows()}


def grown() -> Lane:
    """A lane that was resumed with one partition more, after everything before second 70 was freed."""
    first = Lane(TOPOLOGY, (OLD,), Telemetry())
    assert revisions(first.apply([LaneBatch(rows(OLD, [1, 2, 3]), {OLD: 3000})])) == {}
    assert revisions(first.apply([LaneBatch(rows(OLD, [100], 3), {OLD: 100_000})])) == {0: 3}
    return Lane(TOPOLOGY, (OLD, NEW), Telemetry(), first.states, first.marks, first.joined)


def test_a_row_from_before_the_partition_joined_is_late_and_lowers_no_revision() -> None:
    unit = grown()
    output = unit.apply([LaneBatch(rows(NEW, [1]), {NEW: 300_000}), LaneBatch(rows(OLD, [200], 100), {OLD: 200_000})])
    assert 0 not in revisions(output)


def test_a_row_within_the_lateness_of_the_place_where_it_joined_counts() -> None:
    unit = grown()
    # 85 lies in the window [80, 90), which is freed at 110 and not at 100.
    assert revisions(unit.apply([LaneBatch(rows(NEW, [85, 86]), {NEW: 86_000})])) == {80: 2}


def test_the_others_are_not_held_back_by_a_partition_that_has_shown_nothing() -> None:
    unit = grown()
    assert unit.marks == {OLD: 100_000, NEW: 100_000}
    assert unit.joined == {NEW: 100_000}


def test_a_partition_that_is_there_from_the_beginning_joins_nowhere() -> None:
    unit = Lane(TOPOLOGY, (OLD, NEW), Telemetry())
    assert unit.joined == {}
    assert unit.marks == {OLD: None, NEW: None}


@pytest.mark.parametrize("lives", [1, 2])
def test_a_later_life_judges_alike(lives: int) -> None:
    unit = grown()
    for _ in range(lives):
        unit = Lane(TOPOLOGY, (OLD, NEW), Telemetry(), unit.states, unit.marks, unit.joined)
    output = unit.apply([LaneBatch(rows(NEW, [1, 85]), {NEW: 85_000}), LaneBatch(rows(OLD, [200], 100), {OLD: 200_000})])
    assert 0 not in revisions(output)
    assert unit.joined == {NEW: 100_000}
