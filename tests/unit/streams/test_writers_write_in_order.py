"""Lane writers: in order, joined where they wait, again and the same after a failure, and no flush returns before all of it is durable."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import polars as pl
import pytest
import structlog

from schemas.errors import FatalError, RetryableError
from sinks.contract import OutputBatch, Receipt, Refused
from streams import writers
from streams.credits import Credits, Ticket
from streams.log import configure_logging
from streams.patience import Patience
from streams.stop import Stop
from streams.telemetry import Telemetry
from streams.writers import LaneWriter

PATIENCE = Patience(first_s=0.001, longest_s=0.004)
WAIT_S = 20


class MemoryLane:
    """A sink lane in memory that waits at a gate and fails when told to."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.failures: list[Exception] = []
        self.tried: list[OutputBatch] = []
        self.written: list[dict[str, list[int]]] = []
        self.closed = False

    def write(self, batch: OutputBatch, deadline_s: float) -> Receipt:
        self.tried.append(batch)
        self.entered.release()
        assert self.gate.wait(WAIT_S)
        if self.failures:
            raise self.failures.pop(0)
        self.written.append({topic: frame["n"].to_list() for topic, frame in batch.items()})
        return Receipt({topic: frame.height for topic, frame in batch.items()}, dict.fromkeys(batch, 0))

    def position(self) -> bytes:
        return str(len(self.written)).encode()

    def close(self) -> None:
        self.closed = True


class Bench:
    """A writer with its lane and the credits of what it was given."""

    def __init__(
        self, lane: MemoryLane, open_lane: Callable[[], MemoryLane] | None = None, stop: Stop | None = None, rows_max: int | None = None
    ) -> None:
        self.lane = lane
        self.credits = Credits(10**9, lambda _: None)
        self.telemetry = Telemetry()
        self.writer = LaneWriter("memory", open_lane or (lambda: lane), WAIT_S, PATIENCE, stop or Stop(), self.telemetry, rows_max)

    def put(self, **rows: list[int]) -> None:
        batch = {topic: pl.DataFrame({"n": values}, schema={"n": pl.Int64}) for topic, values in rows.items()}
        self.credits.take(1, self.credits.reserve(1))
        self.writer.put(batch, Ticket(1, 1, None, self.credits, lambda _: None))


@contextmanager
def bench(stop: Stop | None = None, open_lane: Callable[[], MemoryLane] | None = None, rows_max: int | None = None) -> Iterator[Bench]:
    made = Bench(MemoryLane(), open_lane, stop, rows_max)
    try:
        yield made
    finally:
        made.lane.gate.set()
        made.writer.close()


def held_at_first_write(made: Bench) -> None:
    """Lets one write enter the sink and stay there, so that what is put next waits."""
    made.lane.gate.clear()
    made.put(alerts=[0])
    assert made.lane.entered.acquire(timeout=WAIT_S)


def test_rows_are_written_in_the_order_of_their_puts() -> None:
    with bench() as made:
        for at in range(200):
            made.put(alerts=[2 * at, 2 * at + 1])
        made.writer.flush()
        assert [n for write in made.lane.written for n in write["alerts"]] == list(range(400))


def test_a_flush_returns_only_when_all_that_was_put_is_durable() -> None:
    with bench() as made:
        held_at_first_write(made)
        made.put(alerts=[1])
        positions: list[bytes] = []
        flusher = threading.Thread(target=lambda: positions.append(made.writer.flush()))
        flusher.start()
        flusher.join(0.05)
        assert positions == []
        assert made.credits.in_flight == 2
        made.lane.gate.set()
        flusher.join(WAIT_S)
        assert positions == [b"2"]
        assert made.credits.in_flight == 0


def test_what_waits_is_joined_into_one_write() -> None:
    with bench() as made:
        held_at_first_write(made)
        made.put(alerts=[1])
        made.put(enriched_events=[2], alerts=[3])
        made.put(alerts=[4])
        made.lane.gate.set()
        made.writer.flush()
        assert made.lane.written == [{"alerts": [0]}, {"alerts": [1, 3, 4], "enriched_events": [2]}]
        assert made.telemetry.snapshot().by("sink_rows_total", sink="memory", result="written") == 5


def test_rows_of_one_write_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "_WRITE_ROWS_MAX", 10)
    with bench() as made:
        held_at_first_write(made)
        for at in range(7):
            made.put(alerts=[at] * 4)
        made.put(alerts=[7] * 25)  # a single batch is never cut
        made.put(alerts=[8])
        made.lane.gate.set()
        made.writer.flush()
        assert [len(write["alerts"]) for write in made.lane.written] == [1, 8, 8, 8, 4, 25, 1]
        assert made.credits.in_flight == 0


def test_a_batch_that_failed_is_tried_again_as_it_was() -> None:
    with bench() as made:
        held_at_first_write(made)
        made.lane.failures = [RetryableError("away", 1), RetryableError("away", 1)]
        made.put(alerts=[1])  # comes while the first write is tried: it must not slip into it
        made.lane.gate.set()
        made.writer.flush()
        assert made.lane.tried[0] is made.lane.tried[1] is made.lane.tried[2]
        assert made.lane.written == [{"alerts": [0]}, {"alerts": [1]}]
        assert made.telemetry.snapshot().by("sink_retries_total", sink="memory") == 2
        assert made.telemetry.sinks_away() == frozenset()


def test_nothing_is_acknowledged_while_the_sink_is_away() -> None:
    stop = Stop(grace_s=0.05)
    with bench(stop) as made:
        made.lane.failures = [RetryableError("away", 1) for _ in range(100_000)]
        made.put(alerts=[1])
        assert made.lane.entered.acquire(timeout=WAIT_S)
        stop.request()
        with pytest.raises(FatalError, match="sink memory: stopped before every sink acknowledged"):
            made.writer.flush()
        assert made.credits.in_flight == 1
        assert made.lane.written == []
        assert made.telemetry.sinks_away() == {"memory"}


def test_a_fatal_failure_shows_at_the_flush_and_at_every_later_put() -> None:
    with bench() as made:
        made.lane.failures = [FatalError("fenced by a successor")]
        made.put(alerts=[1])
        for _ in range(2):
            with pytest.raises(FatalError, match="sink memory: fenced by a successor"):
                made.writer.flush()
        with pytest.raises(FatalError, match="sink memory: fenced by a successor"):
            made.put(alerts=[2])
        assert made.lane.written == []


def test_a_lane_that_is_away_when_opened_is_tried_again_and_its_position_is_waited_for() -> None:
    lane, failures = MemoryLane(), [RetryableError("away", 1), RetryableError("away", 1)]

    def open_lane() -> MemoryLane:
        if failures:
            raise failures.pop()
        return lane

    with bench(open_lane=open_lane) as made:
        assert made.writer.flush() == b"0"
        assert failures == []


def test_a_lane_that_cannot_be_opened_fails_the_flush() -> None:
    def open_lane() -> MemoryLane:
        raise FatalError("retention passed the position")

    with bench(open_lane=open_lane) as made, pytest.raises(FatalError, match="retention passed the position"):
        made.writer.flush()


def test_a_batch_without_rows_is_acknowledged_and_not_written() -> None:
    with bench() as made:
        made.put()
        made.put(alerts=[])
        made.writer.flush()
        assert made.lane.tried == []
        assert made.credits.in_flight == 0


def test_close_ends_the_thread_and_closes_the_lane() -> None:
    with bench() as made:
        made.writer.flush()
    assert made.lane.closed


def test_the_text_of_an_error_that_is_not_ours_is_not_told() -> None:
    with bench() as made:
        made.lane.failures = [ValueError("ada@example.org")]
        made.put(alerts=[1])
        with pytest.raises(FatalError, match="sink memory: ValueError in headrace itself") as told:
            made.writer.flush()
        assert "ada" not in str(told.value)


def test_an_abandoned_writer_ends_after_the_try_that_it_is_at() -> None:
    with bench() as made:
        made.lane.failures = [RetryableError("away", 1) for _ in range(100_000)]
        made.put(alerts=[1])
        assert made.lane.entered.acquire(timeout=WAIT_S)
        made.writer.abandon()
        made.writer._thread.join(WAIT_S)
        assert not made.writer._thread.is_alive()
        assert made.credits.in_flight == 1


def test_a_sink_that_takes_so_many_rows_gets_larger_batches_in_parts_and_acknowledges_them_as_one() -> None:
    with bench(rows_max=2) as made:
        held_at_first_write(made)
        made.put(a=[1, 2, 3, 4, 5], b=[6])
        assert made.credits.in_flight == 2
        made.lane.gate.set()
        made.writer.flush()
        assert made.lane.written == [{"alerts": [0]}, {"a": [1, 2], "b": [6]}, {"a": [3, 4]}, {"a": [5]}]
        assert made.credits.in_flight == 0


def test_a_part_that_fails_is_written_again_and_those_before_it_are_not() -> None:
    with bench(rows_max=2) as made:
        held_at_first_write(made)
        made.put(a=[1, 2, 3])
        write = made.lane.write

        def fail_at_the_third(batch: OutputBatch, deadline_s: float) -> Receipt:
            if len(made.lane.tried) == 2:
                made.lane.failures.append(RetryableError("away", 1))
            return write(batch, deadline_s)

        made.lane.write = fail_at_the_third  # type: ignore[method-assign]
        made.lane.gate.set()
        made.writer.flush()
        assert made.lane.written == [{"alerts": [0]}, {"a": [1, 2]}, {"a": [3]}]
        assert len(made.lane.tried) == 4


def test_a_stop_whose_grace_is_over_ends_between_two_parts() -> None:
    stop = Stop(grace_s=0.0)
    with bench(stop=stop, rows_max=1) as made:
        held_at_first_write(made)
        made.put(a=[1, 2, 3])
        stop.request()
        made.lane.gate.set()
        with pytest.raises(FatalError, match="stopped before every sink acknowledged"):
            made.writer.flush()
        assert made.lane.written == [{"alerts": [0]}, {"a": [1]}]
        assert made.credits.in_flight == 1


def test_rows_that_a_sink_leaves_out_are_counted_by_reason_and_refused_ones_are_told_by_coordinates() -> None:
    lines = io.StringIO()
    configure_logging(lines)
    refused = tuple(Refused("agent_events", 1, offset, "unmasked: EMAIL_ADDRESS") for offset in range(30))
    try:
        with bench() as made:
            made.writer._count(Receipt({"enriched_events": 2}, {"enriched_events": 1}, {"enriched_events": {"short": 4, "unmasked": 30}}, refused))
            rows = made.telemetry.snapshot().each("sink_rows_total", "result")
    finally:
        structlog.reset_defaults()
    assert rows == {"written": 2, "skipped": 1, "short": 4, "unmasked": 30}
    told = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [(line["event"], line["topic"], line["partition"], line["offset"]) for line in told][:1] == [("sink.refused", "agent_events", 1, 0)]
    assert len(told) == 20
