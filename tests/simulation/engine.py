"""Drives the real parts of the Bytewax engine through a schedule: it is what Bytewax, the broker, the clock and the crashes are to them.

Real are the source lanes with their intake, the lanes with their keyed steps and packs, the writers (without their thread), the Kafka sink with its
transactions, its read-back and its skip list, and the recovery directory. An epoch is committed as Bytewax does (``tests/integration/bytewax``): all
parts hand in their snapshots, then all of them count at once.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from schemas.events import RAW
from sinks.kafka import KafkaSink
from streams.batch import LaneBatch, Partition
from streams.credits import Credits
from streams.engines.bytewax import Pace, Run, _LanePart, _SourceLane
from streams.failpoints import Failpoints
from streams.patience import Patience
from streams.recovery import RecoveryDirectory
from streams.stop import Stop
from streams.telemetry import Telemetry
from streams.topology import Topology
from streams.writers import LaneWriter
from tests.simulation.broker import Broker, Killed
from tests.simulation.pipeline import TOPICS
from tests.simulation.schedule import PARTITIONS, Schedule

SHARDS = 4
_TELEMETRY = Telemetry()
_STEPS_MAX = 3_000


class SimReader:
    """A reader of the simulated input; polls some of what is there, partitions mixed."""

    def __init__(self, source: Any, offsets: Mapping[Partition, int]) -> None:
        self._source = source
        self._next = dict(offsets)

    @property
    def offsets(self) -> Mapping[Partition, int]:
        return self._next

    @property
    def at_end(self) -> frozenset[Partition]:
        return frozenset(place for place, at in self._next.items() if at >= len(self._source.logs[place]))

    def poll(self, rows_max: int) -> pl.DataFrame:
        rows = []
        draw: random.Random = self._source.draw
        for _ in range(rows_max if self._source.is_calm else min(rows_max, draw.choice((0, 1, 3, 8)))):
            ready = [place for place, at in self._next.items() if at < len(self._source.logs[place])]
            if not ready:
                break
            place = draw.choice(ready)
            rows.append((*place, self._next[place], 1_000, None, self._source.logs[place][self._next[place]], None))
            self._next[place] += 1
        return pl.DataFrame(rows, schema=RAW, orient="row")

    def lag(self) -> dict[Partition, int]:
        return {}

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Advice for lag tools alone."""

    def close(self) -> None:
        """Leaves."""


@dataclass(slots=True)
class SimInput:
    """The input partitions, filled as time goes on."""

    draw: random.Random
    is_calm: bool
    logs: dict[Partition, list[bytes]] = field(default_factory=lambda: {place: [] for place in PARTITIONS})


class SimWriter(LaneWriter):
    """The writer without its thread: it writes when the schedule says, and at a flush."""

    def _begin(self) -> None:
        self._lane = self._patience.persist(self._open_lane, self._stop, self._failed_once)
        self._writing = False

    def step(self) -> None:
        """Writes what waits."""
        if self._queue:
            work = self._next()
            assert work is not None
            self._write(*work)
            self._writing = False

    def flush(self) -> bytes:
        self.step()
        while self._queue:
            self.step()
        return super().flush()


class SimFailpoints(Failpoints):
    """Dies where the schedule says, at any place that a failpoint or a request to the broker names."""

    def __init__(self, draw: random.Random) -> None:
        super().__init__(None)
        self._draw = draw
        self.left: int | None = None

    def hit(self, name: str) -> None:
        self.request(name)

    def request(self, name: str) -> bool:
        """Counts a place; tells whether the answer to this request is to be lost."""
        if self.left is not None:
            self.left -= 1
            if self.left <= 0:
                raise Killed(name)
        return name == "commit_answer" and self._draw.random() < 0.1


@dataclass(slots=True)
class Parts:
    """What can be planted: other classes and functions in the place of the real ones."""

    topology: Topology
    source: type[_SourceLane] = _SourceLane
    lane: type[_LanePart] = _LanePart
    writer: type[LaneWriter] = SimWriter
    resumed: Callable[[Any], Any] = lambda snapshot: snapshot
    patched: Callable[[], AbstractContextManager[None]] = nullcontext


@dataclass(frozen=True, slots=True)
class Result:
    """What is in the output topics at the end.

    Attributes:
        ids: How often each message id came, by topic.
        final: The content that counts of each id: of a window that of the highest revision.
        unaccounted: Records by topic that the balance of some lane misses.
    """

    ids: Mapping[str, Counter[str]]
    final: Mapping[str, Mapping[str, str]]
    unaccounted: Mapping[str, int]

    def problems(self, wanted: Result) -> list[str]:
        """Gives what is wrong, compared with a run that nothing happened to."""
        told = [f"{topic}: {row_id} came {count} times" for topic, ids in self.ids.items() for row_id, count in ids.items() if count > 1]
        for topic in TOPICS:
            ours, theirs = self.final[topic], wanted.final[topic]
            told += [f"{topic}: {row_id} lost" for row_id in theirs.keys() - ours.keys()]
            told += [f"{topic}: {row_id} of nothing" for row_id in ours.keys() - theirs.keys()]
            told += [f"{topic}: {row_id} is another" for row_id in ours.keys() & theirs.keys() if ours[row_id] != theirs[row_id]]
        return told + [f"balance of {topic}: {count}" for topic, count in self.unaccounted.items() if count]


def run(schedule: Schedule, parts: Parts, *, is_calm: bool = False) -> Result:
    """Runs a schedule to its end; calmly with all records there at once and in few epochs."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder, parts.patched():
        return _World(schedule, parts, Path(folder), is_calm).run()


class _World:
    def __init__(self, schedule: Schedule, parts: Parts, folder: Path, is_calm: bool) -> None:
        self._schedule, self._parts, self._folder = schedule, parts, folder
        self._draw = random.Random(schedule.seed)
        self._failpoints = SimFailpoints(self._draw)
        self._broker = Broker(self._failpoints.request)
        self._input = SimInput(self._draw, is_calm)
        self._waiting = list(schedule.records)
        self._until = {place: sum(number == place[1] for number, _ in schedule.records) for place in PARTITIONS}
        self._sink = KafkaSink(
            pipeline="simulated",
            client={},
            partitions=dict.fromkeys(TOPICS, SHARDS),
            encode=lambda _topic, frame: [json.dumps(row, sort_keys=True).encode() for row in frame.iter_rows(named=True)],
            probe=self._failpoints.hit,
            producer=self._broker.producer,  # type: ignore[arg-type]
            consumer=self._broker.consumer,  # type: ignore[arg-type]
        )
        self._begin = self._sink.begin()
        self._committed: dict[tuple[str, int], str] = {}
        self._time = 0.0

    def run(self) -> Result:
        unaccounted: Mapping[str, int] = {}
        for kill in (*self._schedule.kills, None):
            self._failpoints.left = kill
            try:
                unaccounted = self._life()
                break
            except Killed:
                pass  # the next life begins from what was committed
        return self._result(unaccounted)

    def _life(self) -> Mapping[str, int]:
        """Lives until all that was written is through and committed; gives what the balances miss."""
        parts = self._parts
        with RecoveryDirectory(self._folder) as recovery:
            life = self._made(recovery)
            resumed = {at: parts.resumed(json.loads(snapshot)) for at, snapshot in self._committed.items()}
            texts = {at: json.dumps(snapshot) for at, snapshot in resumed.items()}
            sources = [parts.source(life, number, texts.get(("source", number))) for number in range(life.source_lanes)]
            lanes = [parts.lane(life, number, texts.get(("lane", number))) for number in range(parts.topology.lanes)]
            done: set[int] = set()
            for _ in range(_STEPS_MAX):
                self._epoch(sources, lanes, done)
                if len(done) == len(sources):
                    break
            else:
                raise AssertionError("the run does not come to its end")
            missing: Counter[str] = Counter()
            for lane in lanes:
                for topic, count in lane._lane.balance.unaccounted().items():
                    missing[topic] += abs(count)
            return missing

    def _made(self, recovery: RecoveryDirectory) -> Run:
        return Run(
            topology=self._parts.topology,
            source=self._input,  # type: ignore[arg-type]
            sinks=(self._sink,),
            begin_inputs=dict.fromkeys(PARTITIONS, 0),
            begin_sinks={"kafka": self._begin},
            recovery=recovery,
            source_lanes=2,
            workers=1,
            pace=Pace(32, 10.0, 0.0, 1.0, 1.0, self._until),
            credits=Credits(1_000, lambda _rows: None),
            write_deadline_s=1.0,
            patience=Patience(0.0, 0.0),
            stop=_Patient(),
            telemetry=_TELEMETRY,
            failpoints=self._failpoints,
            reader=SimReader,  # type: ignore[arg-type]
            writer=self._parts.writer,
            clock=self._now,
        )

    def _now(self) -> float:
        self._time += 0.01
        return self._time

    def _epoch(self, sources: list[_SourceLane], lanes: list[_LanePart], done: set[int]) -> None:
        """One epoch: polls, folds and writes in some order, then the snapshots, then the commit."""
        draw = self._draw
        crossing: list[list[LaneBatch]] = [[] for _ in lanes]
        if self._input.is_calm:
            self._produce()
            for number in range(len(sources)):
                self._poll(sources, crossing, done, number)
        for _ in range(0 if self._input.is_calm else draw.randint(1, 8)):
            what = draw.randrange(4)
            if what == 0:
                self._produce()
            elif what == 1:
                self._poll(sources, crossing, done, draw.randrange(len(sources)))
            elif what == 2:
                self._fold(lanes, crossing, draw.randrange(len(lanes)))
            else:
                for writer in draw.choice(lanes)._writers.values():
                    writer.step()  # type: ignore[attr-defined]
        snapshots = {("source", number): source.snapshot() for number, source in enumerate(sources)}
        for number, lane in enumerate(lanes):
            self._fold(lanes, crossing, number)
            snapshots["lane", number] = lane.snapshot()
        self._failpoints.request("before_epoch_commit")
        self._committed = snapshots
        self._failpoints.request("after_epoch_commit")

    def _produce(self) -> None:
        for _ in range(len(self._waiting) if self._input.is_calm else min(len(self._waiting), self._draw.choice((1, 2, 6)))):
            number, value = self._waiting.pop(0)
            self._input.logs[PARTITIONS[number]].append(value)

    def _poll(self, sources: list[_SourceLane], crossing: list[list[LaneBatch]], done: set[int], number: int) -> None:
        try:
            for lane, batch in sources[number].next_batch():
                crossing[int(lane)].append(batch)
        except StopIteration:
            done.add(number)

    def _fold(self, lanes: list[_LanePart], crossing: list[list[LaneBatch]], number: int) -> None:
        batches, crossing[number] = crossing[number], []
        if batches:
            lanes[number].write_batch(batches)

    def _result(self, unaccounted: Mapping[str, int]) -> Result:
        ids: dict[str, Counter[str]] = {}
        final: dict[str, dict[str, str]] = {}
        for topic in TOPICS:
            ids[topic], final[topic] = Counter(), {}
            highest: dict[str, int] = {}
            for entry in self._broker.committed(topic):
                row_id = str(dict(entry.headers)["headrace-id"])
                ids[topic][row_id] += 1
                name, _, revision = row_id.partition(":")
                if int(revision or 0) >= highest.get(name, 0):
                    highest[name] = int(revision or 0)
                    final[topic][name] = (entry.value or b"").decode()
        return Result(ids, final, unaccounted)


class _Patient(Stop):
    """Waits for nothing."""

    def wait(self, seconds: float) -> None:
        self.check()
