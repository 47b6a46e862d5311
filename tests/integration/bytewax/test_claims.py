"""What the engine builds on, shown on the installed Bytewax itself: an upgrade that breaks a claim breaks here first."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Any

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import cluster_main

EPOCH = timedelta(milliseconds=50)


@dataclass
class Story:
    """What happened, in order; ``stop_after`` polls each source lane ends, ``on_snapshot`` may raise."""

    stop_after: int
    source_lanes: int = 2
    lanes: int = 2
    on_lane_snapshot: Callable[[str, int], None] = lambda _lane, _total: None
    events: list[tuple[str, str, Any]] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    def tell(self, what: str, who: str, detail: Any) -> None:
        with self.lock:
            self.events.append((what, who, detail))

    def of(self, what: str) -> list[tuple[str, Any]]:
        return [(who, detail) for kind, who, detail in self.events if kind == what]


class Poller(StatefulSourcePartition[tuple[str, tuple[str, int, dict[str, int]]], int]):
    def __init__(self, story: Story, name: str, resume: int | None) -> None:
        self.story, self.name, self.at, self.polls = story, name, resume or 0, 0
        story.tell("source built", name, resume)

    def next_batch(self) -> list[tuple[str, tuple[str, int, dict[str, int]]]]:
        if self.polls == self.story.stop_after:
            raise StopIteration
        self.polls += 1
        self.at += 1
        self.story.tell("polled", self.name, self.at)
        item = {"at": self.at}
        return [(str(lane), (self.name, id(item), item)) for lane in range(self.story.lanes)]

    def next_awake(self) -> datetime:
        return datetime.now(UTC) + timedelta(milliseconds=3)

    def snapshot(self) -> int:
        self.story.tell("source snapshot", self.name, self.at)
        return self.at


class Writer(StatefulSinkPartition[tuple[str, int, dict[str, int]], int]):
    def __init__(self, story: Story, name: str, resume: int | None) -> None:
        self.story, self.name, self.total = story, name, resume or 0
        story.tell("lane built", name, resume)

    def write_batch(self, values: list[tuple[str, int, dict[str, int]]]) -> None:
        for source, identity, item in values:
            self.total += 1
            self.story.tell("written", self.name, (source, item["at"], id(item) == identity))

    def snapshot(self) -> int:
        self.story.on_lane_snapshot(self.name, self.total)
        self.story.tell("lane snapshot", self.name, self.total)
        return self.total


def run(story: Story, recovery: Path, workers: int) -> None:
    class Source(FixedPartitionedSource[Any, int]):
        def list_parts(self) -> list[str]:
            return [f"s{number}" for number in range(story.source_lanes)]

        def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> Poller:
            return Poller(story, for_part, resume_state)

    class Sink(FixedPartitionedSink[Any, int]):
        def list_parts(self) -> list[str]:
            return [str(number) for number in range(story.lanes)]

        def part_fn(self, item_key: str) -> int:
            return int(item_key)

        def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> Writer:
            return Writer(story, for_part, resume_state)

    flow = Dataflow("claims")
    op.output("out", op.input("in", flow, Source()), Sink())
    if not recovery.exists():
        recovery.mkdir()
        init_db_dir(recovery, 1)
    cluster_main(flow, [], 0, epoch_interval=EPOCH, recovery_config=RecoveryConfig(str(recovery)), worker_count_per_proc=workers)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_next_epoch_is_polled_only_after_every_lane_snapshot_of_the_last(tmp_path: Path, workers: int) -> None:
    #   source snapshots: where each source closed its epoch; every lane's snapshot follows before that source polls again
    story = Story(stop_after=60)
    run(story, tmp_path / "rec", workers)
    open_since: dict[str, int] = {}
    checked = 0
    for at, (what, who, _) in enumerate(story.events):
        if what == "source snapshot":
            open_since[who] = at
        elif what == "polled" and who in open_since:
            between = {lane for kind, lane, _ in story.events[open_since.pop(who) : at] if kind == "lane snapshot"}
            assert between == {"0", "1"}
            checked += 1
    assert checked >= 4


@pytest.mark.parametrize("workers", [1, 2])
def test_a_lane_snapshot_holds_exactly_what_was_polled_before_the_source_snapshots(tmp_path: Path, workers: int) -> None:
    story = Story(stop_after=60)
    run(story, tmp_path / "rec", workers)
    offsets: dict[str, int] = defaultdict(int)
    for what, who, detail in story.events:
        if what == "source snapshot":
            offsets[who] = detail
        if what == "lane snapshot":
            assert detail == sum(offsets.values())


def test_workers_of_one_process_share_the_objects_that_cross_the_exchange(tmp_path: Path) -> None:
    story = Story(stop_after=20)
    run(story, tmp_path / "rec", 2)
    assert len(story.of("written")) == 80
    assert all(same for _, (_, _, same) in story.of("written"))


def test_each_source_lane_arrives_in_order_on_every_lane(tmp_path: Path) -> None:
    story = Story(stop_after=40)
    run(story, tmp_path / "rec", 2)
    seen: dict[tuple[str, str], list[int]] = defaultdict(list)
    for lane, (source, at, _) in story.of("written"):
        seen[lane, source].append(at)
    assert len(seen) == 4
    assert all(order == list(range(1, 41)) for order in seen.values())


@pytest.mark.parametrize(("first", "second"), [(1, 2), (2, 1), (2, 3)])
def test_an_orderly_end_is_a_snapshot_that_any_number_of_workers_resumes(tmp_path: Path, first: int, second: int) -> None:
    run(Story(stop_after=10), tmp_path / "rec", first)
    story = Story(stop_after=5)
    run(story, tmp_path / "rec", second)
    assert sorted(story.of("source built")) == [("s0", 10), ("s1", 10)]
    assert sorted(story.of("lane built")) == [("0", 20), ("1", 20)]
    assert sorted(story.of("lane snapshot"))[-1][1] == 30


def test_a_failure_during_a_lane_snapshot_resumes_at_the_epoch_before(tmp_path: Path) -> None:
    committed: list[int] = []

    def fail_at_third(lane: str, total: int) -> None:
        if lane == "0":
            committed.append(total)
            if len(committed) == 3:
                raise RuntimeError("planted")

    with pytest.raises(RuntimeError):
        run(Story(stop_after=100, on_lane_snapshot=fail_at_third), tmp_path / "rec", 1)
    story = Story(stop_after=1)
    run(story, tmp_path / "rec", 1)
    built = dict(story.of("lane built"))
    assert built["0"] == built["1"] == committed[1]
    assert sum(at for _, at in story.of("source built")) == committed[1]


def test_snapshots_are_written_with_full_synchronisation(tmp_path: Path) -> None:
    run(Story(stop_after=5), tmp_path / "rec", 1)
    (database,) = (tmp_path / "rec").glob("*.sqlite3")
    with sqlite3.connect(database) as connection:
        assert connection.execute("pragma journal_mode").fetchone() == ("wal",)
        assert {name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")} >= {"snaps", "commits"}


def test_two_runs_share_a_recovery_directory_if_nobody_stops_them(tmp_path: Path) -> None:
    # Why streams.recovery holds a lease.
    run(Story(stop_after=3), tmp_path / "rec", 1)
    outer = Story(stop_after=30)
    inner = Story(stop_after=3)
    nested = iter([True])

    def start_another(_lane: str, _total: int) -> None:
        if next(nested, False):
            run(inner, tmp_path / "rec", 1)

    outer.on_lane_snapshot = start_another
    run(outer, tmp_path / "rec", 1)
    assert inner.of("source built")[0][1] == outer.of("source built")[0][1] == 3
