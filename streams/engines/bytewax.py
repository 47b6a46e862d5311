"""The Bytewax engine: any topology on one machine, several worker threads, recovery by snapshots.

    source lane (poll, front steps)  --lane batches-->  lane (keyed steps, sink writers)

A source lane is a Bytewax source partition, a lane is a Bytewax sink partition; their numbers are fixed, so any number of workers can resume. The
snapshot of an epoch holds, for each source lane, its offsets and watermarks, and for each lane the manifest of its state, its marks and the
positions of its sinks. The commit of an epoch goes:

1. every source lane closes the epoch and hands in its offsets;
2. each lane folds what was polled in the epoch and flushes its writers: all outputs are durable;
3. each lane writes its touched state to a pack and hands in the manifest;
4. Bytewax commits the epoch, and only then polls for the next one.

A crash before 4 resumes at the epoch before: the source reads again from its offsets, and the sinks skip the ids that they find already written.
The adapter knows no operator by name.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import bytewax.operators as op
import polars as pl
from bytewax import recovery as bytewax_recovery
from bytewax import testing as bytewax_execution
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition

from schemas.errors import FatalError, RetryableError
from sinks.contract import OutputBatch, Sink, SinkLane
from streams.audit_start import policy_in_force
from streams.balance import Balance
from streams.batch import LaneBatch, Marks, Partition
from streams.credits import Credits, Ticket
from streams.facts import FactsJournal
from streams.failpoints import Failpoints
from streams.intake import Board, Intake, IntakeState, empty_rows, through_front
from streams.lane import Lane
from streams.log import log
from streams.pacing import Pacing
from streams.packs import LanePacks
from streams.patience import Patience
from streams.recovery import RecoveryDirectory
from streams.sources import KafkaInput, KafkaReader
from streams.stop import Abandoned, Stop
from streams.telemetry import Telemetry
from streams.topology import Topology
from streams.writers import LaneWriter

T = TypeVar("T")

# Rust functions without annotations.
_cluster_main: Callable[..., None] = bytewax_execution.cluster_main
_init_db_dir: Callable[..., None] = bytewax_recovery.init_db_dir
_RecoveryConfig: Callable[..., object] = bytewax_recovery.RecoveryConfig

#: How often lag and watermark gauges are set.
_GAUGES_EVERY_S = 1.0
#: Shortest time between polls that did not fill a batch, whatever the linger: without credits or input the source must not spin.
_REST_S_MIN = 0.002


@dataclass(frozen=True, slots=True)
class Pace:
    """How a source lane polls.

    Attributes:
        batch_rows_max: Rows of one poll at most.
        batch_target_s: Batches shrink until the steps beside the source take about so long for one.
        linger_s: Time between polls that did not fill a batch.
        idle_s: How long a partition at its end must be quiet to count as idle.
        epoch_s: Time between snapshots.
        until: Offsets at which to stop, by partition; None runs until told to stop. At the end of a bounded run every window is closed.
    """

    batch_rows_max: int
    batch_target_s: float
    linger_s: float
    idle_s: float
    epoch_s: float
    until: Mapping[Partition, int] | None = None


@dataclass(slots=True)
class Run:
    """One run of a topology: what its parts share."""

    topology: Topology
    source: KafkaInput
    sinks: Sequence[Sink]
    begin_inputs: Mapping[Partition, int]
    begin_sinks: Mapping[str, bytes]
    recovery: RecoveryDirectory
    source_lanes: int
    workers: int
    pace: Pace
    credits: Credits
    write_deadline_s: float
    patience: Patience
    stop: Stop
    telemetry: Telemetry
    failpoints: Failpoints
    journals: Sequence[FactsJournal] = ()
    failure: Exception | None = None
    reader: Callable[[KafkaInput, Mapping[Partition, int]], KafkaReader] = KafkaReader
    writer: Callable[..., LaneWriter] = LaneWriter
    clock: Callable[[], float] = time.monotonic
    abandon: list[Callable[[], None]] = field(default_factory=list)
    board: Board = field(init=False)
    floors: Mapping[Partition, Sequence[tuple[int, int]]] = field(init=False)
    empty: pl.DataFrame = field(init=False)

    def __post_init__(self) -> None:
        self.board = Board(self.partitions)
        self.empty = empty_rows(self.topology)
        self.floors = self.recovery.idle_marks()

    @property
    def partitions(self) -> list[Partition]:
        """Every input partition, sorted."""
        return sorted(self.begin_inputs)

    def partitions_of(self, source_lane: int) -> list[Partition]:
        """Partitions that a source lane reads: by partition number, so that growth of one topic moves no other's."""
        return [partition for partition in self.partitions if partition[1] % self.source_lanes == source_lane]

    def failed(self, error: Exception) -> None:
        """Keeps the first failure for ``run_flow`` to raise as it was; the other parts stop when they see it."""
        if self.failure is None:
            self.failure = error


def run_flow(run: Run) -> None:
    """Runs until the stop is requested, the bounded input is done, or a part fails.

    Raises:
        Exception: The first failure of a part, as that part raised it; on purpose, a HeadraceError.
    """
    flow = Dataflow(run.topology.name.replace("-", "_"))
    lanes = op.input("source", flow, _Source(run))
    op.output("lanes", lanes, _Lanes(run))
    engine = run.recovery.engine_path
    failed: Exception | None = None
    try:
        if not engine.exists():
            engine.mkdir()
            _init_db_dir(engine, 1)
        _cluster_main(
            flow,
            [],
            0,
            epoch_interval=timedelta(seconds=run.pace.epoch_s),
            recovery_config=_RecoveryConfig(str(engine)),
            worker_count_per_proc=run.workers,
        )
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - what Rust panics with is no Exception
        failed = run.failure or _snapshots_failed(engine, error)
    if failed is None:
        failed = run.failure
    if failed is not None:
        run.failure = failed  # front steps that wait for a part that is away give up; else their thread would never end
        # Bytewax closes parts at an orderly end only.
        for abandon in run.abandon:
            abandon()
        raise failed


def _snapshots_failed(engine: Path, error: BaseException) -> FatalError:
    """Gives our error for one of the engine itself: parts keep their own, so it is about snapshots. Its text may hold one and goes nowhere."""
    return FatalError(
        f"{engine}: the engine cannot read or write its snapshots ({type(error).__name__}): the disk is full, or the files are damaged or gone; free "
        "space or mend the disk and start again, nothing is lost; damaged files: restore the whole recovery directory from a backup"
    )


@dataclass(frozen=True, slots=True)
class _Fronted:
    """What the front steps made of a poll.

    Attributes:
        polled: Rows that they were given.
        rows: Those that go on.
        dead: Those that do not.
        outputs: Records that the front steps put out.
        seconds: How long it took.
    """

    polled: int
    rows: pl.DataFrame
    dead: pl.DataFrame
    outputs: OutputBatch
    seconds: float


@dataclass(frozen=True, slots=True)
class _Ahead:
    """A poll whose front steps run while lanes work on the one before. Until it is taken, no snapshot knows of it.

    Attributes:
        offsets: Where the next poll began.
        fronted: What the front steps make of it.
    """

    offsets: Mapping[Partition, int]
    fronted: Future[_Fronted]


class _SourceLane(StatefulSourcePartition[tuple[str, LaneBatch], str]):
    """Polls the partitions of one source lane and gives lane batches.

    While polls are full, the front steps of one poll run beside the lanes' work on the poll before: two full polls are then in hand, one of them not
    taken. A stop takes it; what is not taken is polled again after a crash, as if it had never been read.
    """

    def __init__(self, run: Run, number: int, resume: str | None) -> None:
        self._run = run
        partitions = run.partitions_of(number)
        offsets, state = _resumed(resume, partitions, run.begin_inputs)
        self._waiting = False
        self._reader = run.patience.persist(lambda: run.reader(run.source, offsets), run.stop, self._waits)
        run.abandon.append(self._reader.close)
        self._intake = Intake(run.topology, partitions, run.board, run.floors, run.recovery.record_idle, run.telemetry, state, number)
        now = run.clock()
        self._quiet_since = dict.fromkeys(partitions, now)
        self._gauges_at = now
        self._hurry = False
        #: Offsets up to which everything was taken: the reader may be one poll ahead.
        self._offsets = dict(self._reader.offsets)
        self._ahead: _Ahead | None = None
        self._thread = ThreadPoolExecutor(1, f"front-{number}")
        run.abandon.append(self._thread.shutdown)
        self._pacing = Pacing(run.pace.batch_rows_max, run.pace.batch_target_s)
        self._polled_at = datetime.now(UTC)
        self._committable: Mapping[Partition, int] = {}
        self._finished = False

    def next_batch(self) -> list[tuple[str, LaneBatch]]:
        run = self._run
        self._polled_at = datetime.now(UTC)
        if run.failure is not None or self._finished or (run.stop.requested and self._ahead is None):
            raise StopIteration
        batches = _guarded(run, self._last if run.stop.requested else self._polled)
        self._gauge()
        return [(str(lane % run.topology.lanes), batch) for lane, batch in enumerate(batches)]

    def _polled(self) -> list[LaneBatch]:
        """Gives what one poll makes, or the one before where polls are full; nothing while no credits are left."""
        before = dict(self._reader.offsets)
        raw = self._poll()
        fronted = self._from_ahead()
        if raw is None:
            return self._taken(fronted)
        offsets = self._reader.offsets
        if self._hurry:
            self._ahead = _Ahead(dict(offsets), self._thread.submit(self._fronted, raw))
            return self._taken(fronted) + self._rest({p for p in offsets if offsets[p] != before[p]})
        batches = self._taken(fronted)
        if raw.height:
            batches += self._taken(self._fronted(raw))
        self._offsets = dict(offsets)
        return batches + self._rest({p for p in offsets if offsets[p] != before[p]})

    def _last(self) -> list[LaneBatch]:
        """Gives what was polled before the wish to stop."""
        return self._taken(self._from_ahead())

    def _poll(self) -> pl.DataFrame | None:
        """Gives what has arrived; None while there are no credits, or nothing could be asked for."""
        run = self._run
        self._hurry = False
        wanted = self._pacing.rows
        reserved = run.credits.reserve(wanted)
        if reserved == 0:
            return None
        try:
            raw = self._reader.poll(reserved)
        except RetryableError as error:
            run.credits.take(0, reserved)
            self._waits(error)
            return None
        run.credits.take(raw.height, reserved)
        if raw.height:
            run.failpoints.hit("after_poll")
            self._hurry = raw.height * 2 >= wanted
        return raw

    def _fronted(self, raw: pl.DataFrame) -> _Fronted:
        """Takes polled rows through the front steps. They are not polled again: they are tried until they are through."""
        begin = time.perf_counter()
        run = self._run

        def front() -> tuple[pl.DataFrame, pl.DataFrame, OutputBatch]:
            if run.failure is not None:
                raise Abandoned("another part of the run failed; the next start polls again what was in hand")
            outputs: dict[str, pl.DataFrame] = {}
            with run.board.front_lock:
                return *through_front(run.topology, raw, run.telemetry, outputs), outputs

        rows, dead, outputs = run.patience.persist(front, run.stop, self._waits)
        return _Fronted(raw.height, rows, dead, outputs, time.perf_counter() - begin)

    def _from_ahead(self) -> _Fronted | None:
        """Waits for the poll whose front steps run, where there is one; lanes and snapshots of this worker wait with it."""
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            return None
        fronted = ahead.fronted.result()
        self._offsets = dict(ahead.offsets)
        return fronted

    def _taken(self, fronted: _Fronted | None) -> list[LaneBatch]:
        if fronted is None:
            return []
        self._waiting = False
        self._pacing.took(fronted.polled, fronted.seconds)
        return self._intake.admit(fronted.rows, fronted.dead, fronted.outputs)

    def _waits(self, error: RetryableError) -> None:
        if not self._waiting:  # one line an outage, not one a try
            self._waiting = True
            log().warning("source.waiting", problem=str(error))

    def _rest(self, polled: Set[Partition]) -> list[LaneBatch]:
        """Tells the intake which partitions are idle; at the end of a bounded run, those that are done."""
        run, now, offsets = self._run, self._run.clock(), self._offsets
        self._quiet_since.update(dict.fromkeys(polled, now))
        if run.pace.until is None:
            return self._intake.rest({p: offsets[p] for p in self._reader.at_end if self._is_quiet(p, now)})
        done = {p: offset for p, offset in offsets.items() if offset >= run.pace.until.get(p, 0)}
        # All were done at the last look: the marks given now are the last ones, made from the board that closes every window.
        self._finished = run.board.all_idle and len(done) == len(offsets)
        return self._intake.rest(done)

    def _is_quiet(self, partition: Partition, now: float) -> bool:
        """Whether nothing came for long enough, and all that came was taken."""
        return now - self._quiet_since[partition] >= self._run.pace.idle_s and self._offsets[partition] == self._reader.offsets[partition]

    def _gauge(self) -> None:
        now = self._run.clock()
        if now - self._gauges_at < _GAUGES_EVERY_S:
            return
        self._gauges_at = now
        for (topic, partition), records in self._reader.lag().items():
            self._run.telemetry.lag(topic, partition, records)
        wall = time.time()
        for (topic, partition), watermark in self._intake.state.watermarks.items():
            self._run.telemetry.watermark(topic, partition, wall - watermark / 1000)

    def next_awake(self) -> datetime:
        # From the beginning of the poll: Bytewax took its own time before it, and waits for the difference. Counted from now, every batch would be
        # followed by a rest as long as its own work.
        return self._polled_at + timedelta(seconds=0 if self._hurry or self._ahead else max(self._run.pace.linger_s, _REST_S_MIN))

    def snapshot(self) -> str:
        return _guarded(self._run, self._save)

    def _save(self) -> str:
        # Bytewax has committed the epoch before by now: its offsets may be told to the group, and no start begins before them.
        if self._committable:
            self._reader.commit(self._committable)
            self._run.recovery.forget_idle(self._committable)
            for journal in self._run.journals:
                journal.forget(self._committable)
        self._committable = dict(self._offsets)
        state = self._intake.state
        entered = [[topic, lane, count] for (topic, lane), count in sorted(state.entered.items())]
        by_name = (("offsets", self._offsets), ("watermarks", state.watermarks), ("newest", state.newest))
        return json.dumps({name: _rows(of) for name, of in by_name} | {"entered": entered})

    def close(self) -> None:
        self._thread.shutdown()
        self._reader.close()


def _rows(by_partition: Mapping[Partition, int] | Marks) -> list[list[str | int | None]]:
    return [[topic, partition, value] for (topic, partition), value in sorted(by_partition.items())]


def _resumed(resume: str | None, partitions: Sequence[Partition], begin: Mapping[Partition, int]) -> tuple[dict[Partition, int], IntakeState]:
    """Gives offsets and intake state from a snapshot; a partition that the snapshot does not know starts where it began."""
    found: Mapping[str, Sequence[Any]] = json.loads(resume) if resume is not None else {}
    names = ("offsets", "watermarks", "newest", "entered")
    by_name = {name: {(topic, number): value for topic, number, value in found.get(name, ())} for name in names}
    offsets = {partition: by_name["offsets"].get(partition, begin[partition]) for partition in partitions}
    return offsets, IntakeState(by_name["watermarks"], by_name["newest"], by_name["entered"])


class _Source(FixedPartitionedSource[tuple[str, LaneBatch], str]):
    def __init__(self, run: Run) -> None:
        self._run = run

    def list_parts(self) -> list[str]:
        return [str(number) for number in range(self._run.source_lanes)]

    def build_part(self, step_id: str, for_part: str, resume_state: str | None) -> _SourceLane:
        return _guarded(self._run, lambda: _SourceLane(self._run, int(for_part), resume_state))


class _LanePart(StatefulSinkPartition[LaneBatch, str]):
    """One lane with the writers of its sinks."""

    def __init__(self, run: Run, number: int, resume: str | None) -> None:
        self._run = run
        found = json.loads(resume) if resume is not None else None
        steps = {step.name: step for step in run.topology.keyed_steps}
        self._packs = LanePacks(run.recovery.packs_path / str(number), steps, found["state"].encode() if found else None)
        marks = {(topic, partition): mark for topic, partition, mark in found["marks"]} if found else None
        joined = {(topic, partition): mark for topic, partition, mark in found["joined"]} if found else None
        balance = Balance.from_rows(found.get("balance", ())) if found else None
        self._lane = Lane(run.topology, run.partitions, run.telemetry, self._packs.states(), marks, joined, number, balance, run.empty)
        # A sink that was configured after the snapshot has no position in it.
        positions = {**run.begin_sinks, **({name: bytes.fromhex(position) for name, position in found["sinks"].items()} if found else {})}
        self._writers = {sink.name: self._writer(sink, number, positions[sink.name]) for sink in run.sinks}
        run.abandon += [writer.abandon for writer in self._writers.values()]
        if number == 0 and run.topology.policy is not None:
            self._put(policy_in_force(run.topology.name, run.topology.policy, resume, run.recovery.began_at), 0, None)

    def _writer(self, sink: Sink, number: int, position: bytes) -> LaneWriter:
        run = self._run

        def open_lane() -> SinkLane:
            return sink.open_lane(number, run.topology.lanes, position)

        return run.writer(sink.name, open_lane, run.write_deadline_s, run.patience, run.stop, run.telemetry, sink.rows_max)

    def write_batch(self, batches: list[LaneBatch]) -> None:
        _guarded(self._run, lambda: self._fold(batches))

    def _fold(self, batches: list[LaneBatch]) -> None:
        run = self._run
        outputs = self._lane.apply(batches)
        rows = sum(batch.source_rows for batch in batches)
        if rows:
            run.failpoints.hit("after_state_update")
        if not rows and not outputs:
            return
        self._put(outputs, rows, min((batch.oldest_kafka_time for batch in batches if batch.oldest_kafka_time is not None), default=None))

    def _put(self, outputs: OutputBatch, rows: int, oldest: int | None) -> None:
        ticket = Ticket(rows, len(self._writers), oldest, self._run.credits, self._run.telemetry.end_to_end)
        for writer in self._writers.values():
            writer.put(outputs, ticket)

    def snapshot(self) -> str:
        return _guarded(self._run, self._save)

    def _save(self) -> str:
        begin = time.perf_counter()
        positions = {name: writer.flush() for name, writer in self._writers.items()}
        self._run.failpoints.hit("before_snapshot")
        manifest = self._packs.save(self._lane.states)
        self._run.failpoints.hit("after_pack")
        self._run.telemetry.snapshot_taken(time.perf_counter() - begin)
        return json.dumps(
            {
                "state": manifest.decode(),
                "marks": _rows(self._lane.marks),
                "joined": _rows(self._lane.joined),
                "balance": self._lane.balance.to_rows(),
                "sinks": {name: position.hex() for name, position in positions.items()},
            }
        )

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()


class _Lanes(FixedPartitionedSink[LaneBatch, str]):
    def __init__(self, run: Run) -> None:
        self._run = run

    def list_parts(self) -> list[str]:
        return [str(number) for number in range(self._run.topology.lanes)]

    def part_fn(self, item_key: str) -> int:
        return int(item_key)

    def build_part(self, step_id: str, for_part: str, resume_state: str | None) -> _LanePart:
        return _guarded(self._run, lambda: _LanePart(self._run, int(for_part), resume_state))


def _guarded(run: Run, call: Callable[[], T]) -> T:
    """Keeps the first failure of a part for ``run_flow`` to raise."""
    try:
        return call()
    except Exception as error:
        run.failed(error)
        raise
