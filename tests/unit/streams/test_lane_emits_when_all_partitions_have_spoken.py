"""A lane: marks never go back, nothing is emitted before every partition has one, and the end of a finite input closes every window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.contract import NO_DEAD, Order, Outcome, State, StateSpec, dead_rows
from schemas.coordinates import record_uid
from schemas.events import RAW
from schemas.frames import output_schema
from streams.batch import LaneBatch, Partition
from streams.lane import END_OF_TIME, Lane, dead_letters
from streams.telemetry import Telemetry
from streams.topology import Topology

WINDOW = 10
A, B = ("agent_events", 0), ("agent_events", 1)
ROWS = pl.Schema({**RAW, "event_time": pl.Int64()})
WINDOWS = pl.Schema({"start": pl.Int64(), "events": pl.UInt32()})


@dataclass(frozen=True, slots=True)
class Read:
    """Gives every record the event time 0; the lane asks it for its columns."""

    name: str = "read"

    def __call__(self, batch: pl.DataFrame) -> Outcome:
        return Outcome(batch.with_columns(pl.lit(0, pl.Int64).alias("event_time")))


@dataclass(frozen=True, slots=True)
class Refuse:
    """Dead-letters events of a negative time, and filters those at 13."""

    name: str = "refuse"

    def __call__(self, batch: pl.DataFrame) -> Outcome:
        bad, filtered = batch.filter(pl.col("event_time") < 0), batch.filter(pl.col("event_time") == 13)
        dead = pl.concat(
            [
                dead_rows(bad, step=self.name, disposition="dead", code="timestamp_invalid", reason="negative"),
                dead_rows(filtered, step=self.name, disposition="filtered", code="duplicate", reason="thirteen"),
            ]
        )
        return Outcome(batch.filter((pl.col("event_time") >= 0) & (pl.col("event_time") != 13)), dead=dead)


@dataclass(frozen=True, slots=True)
class Count:
    """Counts events by window; emits and frees a window when the merged watermark has passed it."""

    name: str = "count"
    order: Order = Order.COMMUTATIVE

    @property
    def state_spec(self) -> StateSpec:
        return StateSpec(1, WINDOWS, "one row a window")

    def apply(self, state: State, batch: pl.DataFrame, watermark: int | None) -> tuple[State, Outcome]:
        starts = batch["event_time"] // WINDOW * WINDOW
        counts = {int(name): frame["events"][0] for name, frame in state.items()}
        for start in starts:
            counts[start] = counts.get(start, 0) + 1
        closed = {start: count for start, count in counts.items() if watermark is not None and start + WINDOW <= watermark}
        kept = {str(s): pl.DataFrame([(s, n)], schema=WINDOWS, orient="row") for s, n in counts.items() if s not in closed}
        emitted = pl.DataFrame(sorted(closed.items()), schema=WINDOWS, orient="row")
        return kept, Outcome(batch, {"agent_metrics": emitted})


TOPOLOGY = Topology("test", ("agent_events",), (Read(),), "key", 1, 1, WINDOW, (Refuse(), Count()), ("agent_metrics",))


def lane(**resumed: object) -> Lane:
    return Lane(TOPOLOGY, (A, B), Telemetry(), **resumed)  # type: ignore[arg-type]  # states and marks, by name


def batch(times: Sequence[int] | None, **marks: int | None) -> LaneBatch:
    told: dict[Partition, int | None] = {{"a": A, "b": B}[name]: mark for name, mark in marks.items()}
    if times is None:
        return LaneBatch(None, told)
    rows = [("agent_events", 0, at, 1, None, None, None, time, None) for at, time in enumerate(times)]
    return LaneBatch(pl.DataFrame(rows, schema={**ROWS, "row_watermark": pl.Int64()}, orient="row"), told)


def emitted(output: object) -> dict[int, int]:
    assert isinstance(output, dict)
    return dict(output["agent_metrics"].iter_rows()) if "agent_metrics" in output else {}


def test_nothing_is_emitted_before_every_partition_has_a_mark() -> None:
    unit = lane()
    assert emitted(unit.apply([batch([1, 2, 31], a=1000)])) == {}
    assert emitted(unit.apply([batch(None, b=None)])) == {}
    assert emitted(unit.apply([batch(None, b=10)])) == {0: 2}


def test_the_slowest_partition_decides() -> None:
    unit = lane()
    unit.apply([batch([1, 11, 21], a=1000, b=9)])
    assert emitted(unit.apply([batch(None, b=20)])) == {0: 1, 10: 1}


def test_marks_count_after_the_rows_of_their_batches() -> None:
    assert emitted(lane().apply([batch([1], a=10, b=10), batch([2], a=12)])) == {0: 2}


def test_the_end_of_a_finite_input_closes_every_window() -> None:
    unit = lane()
    unit.apply([batch([1, 11, 5_000_000])])
    assert emitted(unit.finish()) == {0: 1, 10: 1, 5_000_000: 1}
    assert unit.states["count"] == {}
    assert emitted(unit.finish()) == {}
    assert unit.marks == {A: None, B: None}  # the end is no fact of the log: a later run goes on from the partitions' own marks
    assert END_OF_TIME > 253_402_300_799_999  # the last millisecond of the year 9999


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([A, B]), st.one_of(st.none(), st.integers(0, 99))), max_size=20))
def test_marks_never_go_back(moves: list[tuple[Partition, int | None]]) -> None:
    unit, highest = lane(), dict[Partition, int | None]({A: None, B: None})
    for partition, mark in moves:
        unit.apply([LaneBatch(None, {partition: mark})])
        before = highest[partition]
        highest[partition] = mark if before is None else max(before, mark if mark is not None else before)
        assert unit.marks == highest


Turn = tuple[list[int], int | None, int | None]
TURN = st.tuples(st.lists(st.integers(-2, 40), max_size=4), st.one_of(st.none(), st.integers(0, 50)), st.one_of(st.none(), st.integers(0, 50)))


@settings(max_examples=60, deadline=None)
@given(st.lists(TURN, max_size=8), st.integers(0, 8))
def test_a_lane_resumed_from_its_snapshot_goes_on_as_if_nothing_had_been(turns: list[Turn], at: int) -> None:
    def run(unit: Lane, part: Sequence[Turn]) -> list[dict[int, int]]:
        return [emitted(unit.apply([batch(times, a=a, b=b)])) for times, a, b in part]

    whole, first = lane(), lane()
    expected = [*run(whole, turns), emitted(whole.finish())]
    before = run(first, turns[:at])
    second = lane(states=dict(first.states), marks=dict(first.marks))
    assert [*before, *run(second, turns[at:]), emitted(second.finish())] == expected


def test_marks_of_partitions_that_are_gone_hold_nothing_back() -> None:
    unit = lane(marks={A: 5, ("agent_events", 9): None})
    assert unit.marks == {A: 5, B: None}


def test_dead_rows_become_letters_and_filtered_ones_do_not() -> None:
    before = dead_rows(batch([1]).rows, step="decode", disposition="dead", code="json_invalid", reason="cut")  # type: ignore[arg-type]  # it has rows
    output = lane().apply([LaneBatch(batch([1, -1, 13, -2]).rows, {}, before)])
    assert output["dead_letters"]["record_uid"].to_list() == [record_uid("agent_events", 0, offset) for offset in (0, 1, 3)]
    assert output["dead_letters"].schema == output_schema("dead_letters")


def test_letters_that_came_without_rows_are_published_though_no_mark_moved() -> None:
    before = dead_rows(batch([1]).rows, step="decode", disposition="dead", code="json_invalid", reason="cut")  # type: ignore[arg-type]  # it has rows
    assert lane().apply([LaneBatch(None, {}, before)])["dead_letters"].height == 1


def test_a_code_outside_the_error_tree_is_a_bug_that_shows() -> None:
    rows = batch([1]).rows
    assert rows is not None
    with pytest.raises(AssertionError, match="not in the error tree"):
        dead_letters(dead_rows(rows, step="x", disposition="dead", code="invented", reason="r"))


def test_a_batch_of_nothing_gives_nothing() -> None:
    assert lane().apply([]) == {}
    assert lane().apply([LaneBatch(None, {A: 3}, NO_DEAD)]) == {}


def test_a_step_that_loses_a_row_is_caught() -> None:
    @dataclass(frozen=True, slots=True)
    class Lose:
        name: str = "lose"

        def __call__(self, batch: pl.DataFrame) -> Outcome:
            return Outcome(batch.head(0))

    broken = Topology("test", ("agent_events",), (Read(),), "key", 1, 1, WINDOW, (Lose(),), ())
    with pytest.raises(AssertionError, match="step lose lost or made rows"):
        Lane(broken, (A, B), Telemetry()).apply([batch([1])])
