"""Idle marks cost little for ever: one a window while a partition stays idle, none kept that no start can need."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from operators.contract import Outcome
from schemas.errors import ConfigError, FatalError, RetryableError
from schemas.events import EVENT, RAW
from streams import recovery
from streams.batch import Partition
from streams.intake import Board, Intake
from streams.recovery import IdleMark, RecoveryDirectory, make_durable_directory, write_durably
from streams.telemetry import Telemetry
from streams.topology import Topology

WINDOW = 60
A, B = ("agent_events", 0), ("agent_events", 1)


class Read:
    """Reads the value as the event time; fails as often as it is told to."""

    name = "read"

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures

    def __call__(self, batch: pl.DataFrame) -> Outcome:
        if self.failures:
            self.failures -= 1
            raise RetryableError("registry: no answer", 1)
        known = {"agent_id": pl.lit("a"), "event_time": pl.col("value").cast(pl.String).cast(pl.Int64)}
        columns = [known.get(name, pl.col(name) if name in RAW else pl.lit(None, dtype)).alias(name) for name, dtype in EVENT.items()]
        return Outcome(batch.select(columns))


def intake(recorded: list[IdleMark], floors: dict[Partition, list[tuple[int, int]]] | None = None, read: Read | None = None) -> Intake:
    topology = Topology("test", ("agent_events",), (read or Read(),), "agent_id", 1, 1, WINDOW, (), ())
    return Intake(topology, (A, B), Board((A, B)), floors or {}, recorded.extend, Telemetry())


def raw(partition: Partition, times: Sequence[int], first: int = 0) -> pl.DataFrame:
    rows = [(*partition, first + at, 1, None, str(time).encode(), None) for at, time in enumerate(times)]
    return pl.DataFrame(rows, schema=RAW, orient="row")


def test_a_partition_that_stays_idle_is_marked_once_a_window() -> None:
    recorded: list[IdleMark] = []
    unit = intake(recorded)
    for time in range(10 * WINDOW):
        unit.take(raw(A, [time], first=time))
        unit.rest({B: 0})
    assert [mark.watermark for mark in recorded] == [WINDOW * number for number in range(10)]
    assert {(mark.topic, mark.partition, mark.offset) for mark in recorded} == {(*B, 0)}


def test_floors_that_the_watermark_holds_are_forgotten() -> None:
    unit = intake([], {A: [(at, 10 * at) for at in range(100)]})
    unit.take(raw(A, [1] * 50))
    assert unit.state.watermarks[A] == 500
    assert min(at for at, _ in unit._floors[A]) == 51
    unit.rest({A: 80})
    assert unit.state.watermarks[A] == 800
    assert min(at for at, _ in unit._floors[A]) == 81


def test_rows_whose_schema_registry_is_away_are_taken_whole_later() -> None:
    unit = intake([], read=Read(failures=2))
    rows = raw(A, [7, 8])
    for _ in range(2):
        with pytest.raises(RetryableError):
            unit.take(rows)
        assert unit.state.watermarks == {}
    (batch,) = unit.take(rows)
    assert batch.rows is not None
    assert batch.rows["row_watermark"].to_list() == [None, 7]
    assert unit._telemetry.snapshot().by("events_total", outcome="polled") == 2


def test_the_file_is_cleared_of_marks_that_no_start_can_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "_FACTS_GROWTH_BYTES", 1_000)
    facts = tmp_path / "facts.jsonl"
    with RecoveryDirectory(tmp_path) as directory:
        largest = 0
        for number in range(500):
            directory.record_idle([IdleMark(*A, number, number), IdleMark(*B, 3, number)])
            directory.forget_idle({A: number - 2})
            largest = max(largest, facts.stat().st_size)
        assert largest < 2_500
        assert directory.idle_marks()[A][-3:] == [(497, 497), (498, 498), (499, 499)]
        assert directory.idle_marks()[B] == [(3, 499)]
    with RecoveryDirectory(tmp_path) as again:
        assert again.idle_marks()[A][-1] == (499, 499)
        again.record_idle([IdleMark(*A, 500, 500)])
        assert again.idle_marks()[A][-1] == (500, 500)


def test_nothing_is_dropped_before_the_file_has_grown(tmp_path: Path) -> None:
    with RecoveryDirectory(tmp_path) as directory:
        directory.record_idle([IdleMark(*A, 1, 10), IdleMark(*A, 2, 20)])
        directory.forget_idle({A: 100})
        assert directory.idle_marks() == {A: [(1, 10), (2, 20)]}


def test_a_file_that_cannot_be_written_stops_the_run_and_says_where(tmp_path: Path) -> None:
    with pytest.raises(FatalError, match=r"absent/x: not written \(ENOENT\)"):
        write_durably(tmp_path / "absent" / "x", b"")


def test_a_directory_that_cannot_be_made_is_a_matter_of_configuration(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"file/x: cannot be made a directory \(ENOTDIR\)"):
        make_durable_directory(tmp_path / "file" / "x")
    make_durable_directory(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()
