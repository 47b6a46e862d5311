"""The intake: no row is lost, lateness is a fact of the log and of recorded marks, and an idle partition holds no other back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.contract import Outcome, dead_rows
from operators.shards import shard_of
from schemas.events import EVENT, RAW
from streams.batch import LaneBatch, Partition
from streams.intake import Board, Intake, IntakeState, empty_rows
from streams.recovery import IdleMark
from streams.telemetry import Telemetry
from streams.topology import Topology

WINDOW = 60
A, B = ("agent_events", 0), ("agent_events", 1)
#: partition, event time; None is a record that cannot be read
Told = tuple[Partition, int | None]


class Read:
    """Reads ``agent:time``; a value without a time is dead."""

    name = "read"

    def __call__(self, batch: pl.DataFrame) -> Outcome:
        parts = pl.col("value").cast(pl.String).str.split(":")
        read = batch.with_columns(parts.list.get(0).alias("agent_id"), parts.list.get(1, null_on_oob=True).cast(pl.Int64).alias("event_time"))
        bad = read.filter(pl.col("event_time").is_null())
        columns = [pl.col(name) if name in read.columns else pl.lit(None, dtype).alias(name) for name, dtype in EVENT.items()]
        return Outcome(
            read.filter(pl.col("event_time").is_not_null()).select(columns),
            dead=dead_rows(bad, step=self.name, disposition="dead", code="json_invalid", reason="no time"),
        )


def topology(lanes: int = 1) -> Topology:
    return Topology("test", ("agent_events",), (Read(),), "agent_id", lanes, 8, WINDOW, (), ())


@dataclass
class Log:
    """Where the marks go, and what the world looked like when each was recorded."""

    marks: list[IdleMark] = field(default_factory=list)
    board_then: list[dict[Partition, int | None]] = field(default_factory=list)
    board: Board = field(default_factory=lambda: Board((A, B)))

    def record(self, marks: Sequence[IdleMark]) -> None:
        self.board_then.append({partition: mark.watermark for partition, mark in self.board.marks().items()})
        self.marks.extend(marks)

    def floors(self) -> dict[Partition, list[tuple[int, int]]]:
        floors: dict[Partition, list[tuple[int, int]]] = {}
        for mark in self.marks:
            floors.setdefault((mark.topic, mark.partition), []).append((mark.offset, mark.watermark))
        return floors


class Source:
    """Gives each record the next offset of its partition."""

    def __init__(self) -> None:
        self.next = {A: 0, B: 0}

    def raw(self, *told: Told) -> pl.DataFrame:
        rows = []
        for (topic, partition), time in told:
            offset = self.next[topic, partition]
            self.next[topic, partition] = offset + 1
            value = f"agent{offset % 5}" if time is None else f"agent{offset % 5}:{time}"
            rows.append((topic, partition, offset, 1000 + offset, None, value.encode(), None))
        return pl.DataFrame(rows, schema=RAW, orient="row")


def intake(log: Log, lanes: int = 1, partitions: Sequence[Partition] = (A, B), floors: bool = False, state: IntakeState | None = None) -> Intake:
    found: Mapping[Partition, Sequence[tuple[int, int]]] = log.floors() if floors else {}
    return Intake(topology(lanes), partitions, log.board, found, log.record, Telemetry(), state)


def row_marks(batches: Sequence[LaneBatch]) -> dict[tuple[Partition, int], int | None]:
    frames = [batch.rows for batch in batches if batch.rows is not None]
    rows = [row for frame in frames for row in frame.select("topic", "partition", "offset", "row_watermark").iter_rows()]
    return {((topic, partition), offset): mark for topic, partition, offset, mark in rows}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([A, B]), st.one_of(st.none(), st.integers(0, 200))), min_size=1, max_size=25), st.integers(1, 3))
def test_every_record_is_in_one_lane_as_a_row_or_as_a_dead_letter(told: list[Told], lanes: int) -> None:
    raw = Source().raw(*told)
    batches = intake(Log(), lanes).take(raw)
    assert len(batches) == lanes
    coordinates = ["topic", "partition", "offset"]
    alive = [row for batch in batches if batch.rows is not None for row in batch.rows.select(coordinates).iter_rows()]
    dead = [row for batch in batches for row in batch.dead.select(coordinates).iter_rows()]
    assert sorted(alive + dead) == sorted(raw.select(coordinates).iter_rows())
    assert len(dead) == sum(time is None for _, time in told)
    assert sum(batch.source_rows for batch in batches) == raw.height
    for lane, batch in enumerate(batches):
        assert batch.rows is not None
        assert (shard_of(batch.rows["agent_id"], 8) % lanes == lane).all()
        assert batch.oldest_kafka_time == batch.rows["kafka_time"].min()
        for partition in (A, B):
            offsets = batch.rows.filter(pl.col("partition") == partition[1])["offset"]
            assert offsets.is_sorted()


def test_a_row_is_judged_by_what_its_own_partition_saw_before_it() -> None:
    log, source = Log(), Source()
    unit = intake(log)
    (batch,) = unit.take(source.raw((A, 50), (B, 900), (A, 10), (A, 70)))
    assert row_marks([batch]) == {(A, 0): None, (A, 1): 50, (A, 2): 50, (B, 0): None}
    assert batch.marks == {A: 70, B: 900}
    assert row_marks(unit.take(source.raw((A, 0)))) == {(A, 3): 70}


def test_an_empty_partition_holds_the_others_back_until_it_is_marked_idle() -> None:
    log, source = Log(), Source()
    unit = intake(log)
    (batch,) = unit.take(source.raw((A, 500)))
    assert batch.marks == {A: 500, B: None}
    assert unit.rest({}) == []
    assert log.marks == []
    (rested,) = unit.rest({B: 0})
    assert rested.rows is None
    assert rested.source_rows == 0
    assert rested.marks == {A: 500, B: 500}
    assert log.marks == [IdleMark(*B, offset=0, watermark=500)]


def test_a_mark_is_durable_before_any_watermark_moves() -> None:
    log, source = Log(), Source()
    unit = intake(log)
    unit.take(source.raw((A, 500)))
    unit.rest({B: 0})
    assert log.board_then == [{A: 500, B: None}]


def test_a_mark_that_could_not_be_recorded_does_not_take_effect() -> None:
    def fail(_: Sequence[IdleMark]) -> None:
        raise OSError("disk full")

    source, log = Source(), Log()
    unit = Intake(topology(), (A, B), log.board, {}, fail, Telemetry())
    unit.take(source.raw((A, 500)))
    try:
        unit.rest({B: 0})
    except OSError:
        assert unit.state.watermarks == {A: 500}
        assert log.board.marks()[B].watermark is None
    else:
        raise AssertionError("the failure was swallowed")


def test_all_partitions_idle_close_the_open_windows_once() -> None:
    log, source = Log(), Source()
    unit = intake(log)
    unit.take(source.raw((A, 500), (B, 100)))
    (rested,) = unit.rest(source.next)
    assert rested.marks == {A: 500 + WINDOW, B: 500 + WINDOW}
    assert log.board.all_idle
    assert unit.rest(source.next) == []  # resting on moves nothing and records nothing
    assert len(log.marks) == 2


def test_idle_partitions_of_another_source_lane_count() -> None:
    log, source = Log(), Source()
    mine, other = intake(log, partitions=(A,)), intake(log, partitions=(B,))
    mine.take(source.raw((A, 500)))
    assert mine.rest({A: 1}) == []  # B is active and has shown nothing
    assert other.rest({B: 0})[0].marks == {B: 500 + WINDOW}
    assert mine.rest({A: 1})[0].marks == {A: 500 + WINDOW}


def test_without_any_event_there_is_nothing_to_mark() -> None:
    log = Log()
    assert intake(log).rest({A: 0, B: 0}) == []
    assert log.marks == []


def test_a_partition_that_speaks_again_is_judged_by_its_mark() -> None:
    log, source = Log(), Source()
    unit = intake(log)
    unit.take(source.raw((A, 500)))
    unit.rest({B: 0})
    (batch,) = unit.take(source.raw((B, 7), (B, 8)))
    assert row_marks([batch]) == {(B, 0): 500, (B, 1): 500}
    assert not log.board.all_idle


Turn = tuple[str, list[Told]]
TOLD = st.lists(st.tuples(st.sampled_from([A, B]), st.one_of(st.none(), st.integers(0, 200))), min_size=1, max_size=5)
TURNS = st.lists(st.one_of(st.tuples(st.just("take"), TOLD), st.tuples(st.sampled_from(["A", "B", "AB"]), st.just([]))), max_size=12)


@settings(max_examples=60, deadline=None)
@given(TURNS, st.integers(1, 7))
def test_a_replay_with_the_recorded_marks_judges_every_row_alike(turns: list[Turn], cut: int) -> None:
    log, source = Log(), Source()
    unit = intake(log)
    polled: list[pl.DataFrame] = [RAW.to_frame()]
    lived: dict[tuple[Partition, int], int | None] = {}
    for kind, told in turns:
        if kind == "take":
            polled.append(source.raw(*told))
            lived |= row_marks(unit.take(polled[-1]))
        else:
            unit.rest({p: source.next[p] for p, name in ((A, "A"), (B, "B")) if name in kind})
    again, everything = intake(Log(list(log.marks)), floors=True), pl.concat(polled)
    replayed: dict[tuple[Partition, int], int | None] = {}
    for at in range(0, everything.height, cut):
        replayed |= row_marks(again.take(everything.slice(at, cut)))
    assert replayed == lived
    again.rest(source.next)
    assert all(again.state.watermarks.get(p, -1) >= mark for p, mark in unit.state.watermarks.items())


def test_a_snapshot_of_the_state_goes_on_where_it_stood() -> None:
    log, source = Log(), Source()
    unit = intake(log)
    unit.take(source.raw((A, 500), (B, 20)))
    resumed = intake(log, floors=True, state=IntakeState(dict(unit.state.watermarks), dict(unit.state.newest)))
    assert log.board.marks()[A].watermark == 500
    assert row_marks(resumed.take(source.raw((A, 1), (B, 1)))) == {(A, 1): 500, (B, 1): 20}


def test_empty_rows_have_the_columns_of_the_keyed_stage() -> None:
    rows = empty_rows(topology())
    assert rows.height == 0
    assert rows.schema == pl.Schema([*EVENT.items(), ("row_watermark", pl.Int64())])
