"""The intake: from polled records to lane batches, beside the source, before anything crosses a thread.

Runs the front steps, gives each row its partition's watermark, tells idle partitions, and splits by lane. Engine-independent.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import polars as pl

from operators.contract import NO_DEAD
from operators.shards import shard_of
from operators.windows.watermark import Mark, idle_floor, row_watermarks
from schemas.events import RAW
from sinks.contract import OutputBatch
from streams.batch import LaneBatch, Partition
from streams.recovery import IdleMark
from streams.telemetry import Telemetry
from streams.topology import Topology

NO_OUTPUTS: Final[OutputBatch] = MappingProxyType({})


class Board:
    """Where every input partition stands, shared by the source lanes of a run."""

    def __init__(self, partitions: Sequence[Partition]) -> None:
        self._lock = threading.Lock()
        #: Front steps hold scratch memory, so one source lane at a time runs them.
        self.front_lock = threading.Lock()
        self._marks = {partition: Mark(watermark=None, newest=None, idle=False) for partition in partitions}

    def post(self, marks: Mapping[Partition, Mark]) -> None:
        """Takes in how some partitions stand now."""
        with self._lock:
            self._marks.update(marks)

    def marks(self) -> dict[Partition, Mark]:
        """Gives how all partitions stand."""
        with self._lock:
            return dict(self._marks)

    @property
    def all_idle(self) -> bool:
        """Whether no partition is active."""
        return all(mark.idle for mark in self.marks().values())


@dataclass(slots=True)
class IntakeState:
    """What an intake needs to go on: part of the source's snapshot.

    Attributes:
        watermarks: Watermark by partition, floors included.
        newest: Largest event time seen, by partition.
        entered: Records ever given to each lane, by topic and lane.
    """

    watermarks: dict[Partition, int] = field(default_factory=dict)
    newest: dict[Partition, int] = field(default_factory=dict)
    entered: dict[tuple[str, int], int] = field(default_factory=dict)


class Intake:
    """Turns polled records of one source lane into lane batches.

    Args:
        topology: The pipeline.
        partitions: Partitions this source lane reads.
        board: Where all partitions stand.
        floors: Recorded idle marks by partition.
        record_idle: Makes idle marks durable.
        telemetry: Counts.
        state: As of the snapshot.
        number: Of this source lane.
    """

    def __init__(
        self,
        topology: Topology,
        partitions: Sequence[Partition],
        board: Board,
        floors: Mapping[Partition, Sequence[tuple[int, int]]],
        record_idle: Callable[[Sequence[IdleMark]], None],
        telemetry: Telemetry,
        state: IntakeState | None = None,
        number: int = 0,
    ) -> None:
        self._number = number
        self._topology = topology
        self._partitions = tuple(partitions)
        self._board = board
        self._floors = {partition: list(floors.get(partition, ())) for partition in partitions}
        self._record_idle = record_idle
        self._telemetry = telemetry
        self.state = state or IntakeState()
        self._post(frozenset())

    def take(self, raw: pl.DataFrame) -> list[LaneBatch]:
        """Gives one batch for each lane, in lane order; every row of ``raw`` is in one of them, as a row or as a dead letter.

        Raises:
            RetryableError: The schema registry is away. Nothing was taken: the same rows must come again, before any others.
        """
        with self._board.front_lock:
            outputs: dict[str, pl.DataFrame] = {}
            rows, dead = through_front(self._topology, raw, self._telemetry, outputs)
        return self.admit(rows, dead, outputs)

    def admit(self, rows: pl.DataFrame, dead: pl.DataFrame, outputs: OutputBatch = NO_OUTPUTS) -> list[LaneBatch]:
        """Gives one batch for each lane, in lane order, from what ``through_front`` made of a poll."""
        rows, self.state.watermarks = row_watermarks(rows, self.state.watermarks, self._floors)
        self._drop_floors(rows)
        for topic, partition, newest in rows.group_by("topic", "partition").agg(pl.col("event_time").max()).iter_rows():
            self.state.newest[topic, partition] = max(newest, self.state.newest.get((topic, partition), newest))
        self._telemetry.dead(dead)
        self._post(frozenset())
        return self._split(rows, dead, outputs)

    def _drop_floors(self, rows: pl.DataFrame) -> None:
        """Forgets the floors that the watermarks hold by now, so that a batch costs the same after a year."""
        for topic, partition, last in rows.group_by("topic", "partition").agg(pl.col("offset").max()).iter_rows():
            floors = self._floors[topic, partition]
            if floors:
                self._floors[topic, partition] = [(at, watermark) for at, watermark in floors if at > last + 1]

    def rest(self, idle: Mapping[Partition, int]) -> list[LaneBatch]:
        """Lets idle partitions hold the others back no more; gives batches of marks alone where that moved a watermark, else nothing.

        Args:
            idle: Next offset of each partition that is read to its end and has been quiet for long enough.
        """
        moved = self._replay_floors(idle)
        self._post(frozenset(idle))
        floor = idle_floor(self._board.marks(), self._topology.window_ms)
        raised = [
            IdleMark(topic, partition, offset, floor)
            for (topic, partition), offset in idle.items()
            if floor is not None and self._closes_a_window((topic, partition), floor)
        ]
        if raised:
            self._record_idle(raised)
            for mark in raised:
                self.state.watermarks[mark.topic, mark.partition] = mark.watermark
            self._post(frozenset(idle))
        return self._split(None, NO_DEAD) if raised or moved else []

    def wants(self, idle: Collection[Partition]) -> bool:
        """Tells whether ``rest`` would raise a watermark if all of these partitions were idle: so that nobody asks Kafka in vain."""
        marks = self._board.marks()
        floor = idle_floor({**marks, **{p: Mark(marks[p].watermark, marks[p].newest, idle=True) for p in idle}}, self._topology.window_ms)
        return floor is not None and any(self._closes_a_window(partition, floor) for partition in idle)

    def _closes_a_window(self, partition: Partition, floor: int) -> bool:
        """Tells whether the floor is worth a durable mark: one that passes no window's end closes nothing, and would cost a sync at every poll."""
        before = self.state.watermarks.get(partition)
        return before is None or floor // self._topology.window_ms > before // self._topology.window_ms

    def _replay_floors(self, idle: Mapping[Partition, int]) -> bool:
        """Applies the marks that an earlier life recorded for the offsets now reached."""
        moved = False
        for partition, offset in idle.items():
            reached = [watermark for at, watermark in self._floors[partition] if at <= offset]
            if reached:
                self._floors[partition] = [(at, watermark) for at, watermark in self._floors[partition] if at > offset]
            before = self.state.watermarks.get(partition)
            if reached and (before is None or max(reached) > before):
                self.state.watermarks[partition] = max(reached)
                moved = True
        return moved

    def _post(self, idle: frozenset[Partition]) -> None:
        state = self.state
        self._board.post({p: Mark(state.watermarks.get(p), state.newest.get(p), p in idle) for p in self._partitions})

    def _split(self, rows: pl.DataFrame | None, dead: pl.DataFrame, outputs: OutputBatch = NO_OUTPUTS) -> list[LaneBatch]:
        lanes = self._topology.lanes
        marks = {partition: self.state.watermarks.get(partition) for partition in self._partitions}
        dead_by_lane = {lane: dead.filter(pl.col("offset") % lanes == lane) for lane in range(lanes)} if dead.height else {}
        batches = []
        shared = None if rows is None or self._topology.shared is None else self._topology.shared.spread(rows)
        shared_by_lane = self._by_lane(shared)
        lane_of = shard_of(rows[self._topology.key], self._topology.shards) % lanes if rows is not None else None
        for lane in range(lanes):
            share = None if rows is None else rows if lanes == 1 else rows.filter(lane_of == lane)
            ended = dead_by_lane.get(lane, NO_DEAD)
            source_rows = (0 if share is None else share.height) + ended.height
            entered = self._entered(lane, share, ended)
            made = {} if lane else outputs
            batches.append(LaneBatch(share, marks, ended, source_rows, _oldest(share), shared_by_lane.get(lane), made, self._number, entered))
        return batches

    def _entered(self, lane: int, rows: pl.DataFrame | None, ended: pl.DataFrame) -> dict[str, int]:
        """Counts what a lane is given; gives all that it was ever given, by topic."""
        counts = self.state.entered
        for frame in (rows, ended):
            if frame is not None and frame.height:
                for topic, count in frame.group_by("topic").len().iter_rows():
                    counts[topic, lane] = counts.get((topic, lane), 0) + count
        return {topic: count for (topic, of), count in counts.items() if of == lane}

    def _by_lane(self, shared: pl.DataFrame | None) -> dict[int, pl.DataFrame]:
        """Gives the rows of the second exchange by the lane that owns their key."""
        if shared is None or self._topology.shared is None:
            return {}
        lanes = self._topology.lanes
        lane_of = shard_of(shared[self._topology.shared.key], self._topology.shards) % lanes
        return {lane: shared if lanes == 1 else shared.filter(lane_of == lane) for lane in range(lanes)}


def through_front(
    topology: Topology, raw: pl.DataFrame, telemetry: Telemetry, outputs: dict[str, pl.DataFrame] | None = None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Takes a poll through the front steps; gives the rows that are left and what ended (``schemas.events.DEAD``). Nothing raw is in either.

    Raises:
        RetryableError: The schema registry is away. Nothing was taken: the same rows must come again, before any others.
    """
    rows, dead, facts = raw, [NO_DEAD], Counter[tuple[str, str]]()
    for step in topology.front:
        with telemetry.stage(step.name, rows.height):
            outcome = step(rows)
        assert rows.height == outcome.batch.height + outcome.dead.height, f"step {step.name} lost or made rows"
        rows = outcome.batch
        dead.append(outcome.dead)
        facts.update(outcome.facts)
        if outputs is not None:  # records that front steps put out: audit entries of policies that take over
            outputs |= outcome.outputs
    telemetry.outcome_facts(facts)  # once: a step may have to wait, and those before it then run again
    telemetry.batch_polled(raw.height)
    for topic, polled in raw.group_by("topic").len().iter_rows():
        telemetry.outcome(topic, "polled", polled)
    return rows, pl.concat(dead)


def _oldest(rows: pl.DataFrame | None) -> int | None:
    oldest = None if rows is None else rows["kafka_time"].min()
    return oldest if isinstance(oldest, int) else None


def empty_rows(topology: Topology) -> pl.DataFrame:
    """Gives a frame without rows and with the columns that the front steps and the row watermark make."""
    rows = RAW.to_frame()
    for step in topology.front:
        rows = step(rows).batch
    return rows.with_columns(pl.lit(None, dtype=pl.Int64).alias("row_watermark"))
