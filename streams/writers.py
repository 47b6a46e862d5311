"""Lane writers: one thread for each sink lane, so that a write never holds up the steps, and a slow sink batches up by itself.

Writes queue up; whatever waits is written as one batch. ``flush`` returns when all of it is durable: the snapshot calls it first, so
that no source offset is committed before its sinks acknowledged. A sink that is away is tried again for ever; meanwhile the credits run out
and the source rests.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

import polars as pl

from schemas.errors import FatalError, HeadraceError, RetryableError
from sinks.contract import OutputBatch, Receipt, SinkLane
from streams.credits import Ticket
from streams.log import log
from streams.patience import Patience
from streams.stop import Abandoned, Stop
from streams.telemetry import Telemetry

#: Rows in one write at most, unless a single batch has more: bounds a transaction and the staging table.
_WRITE_ROWS_MAX = 20_000
#: Refused rows of one write that the log names; all are counted.
_REFUSED_TOLD_MAX: Final = 20


class LaneWriter:
    """Writes batches to one sink lane, in order, from a thread of its own.

    Args:
        sink: Name of the sink.
        open_lane: Opens the sink lane; may read back what an earlier life wrote.
        deadline_s: Seconds one write may take before it is tried again.
        patience: How to wait between tries.
        stop: Ends the waiting.
        telemetry: Counts.
        rows_max: Rows of a topic in one write; None for no bound. Larger batches are written in parts, each within the deadline.
    """

    def __init__(
        self,
        sink: str,
        open_lane: Callable[[], SinkLane],
        deadline_s: float,
        patience: Patience,
        stop: Stop,
        telemetry: Telemetry,
        rows_max: int | None = None,
    ) -> None:
        self._sink = sink
        self._rows_max = rows_max
        self._open_lane = open_lane
        self._deadline_s = deadline_s
        self._patience = patience
        self._stop = stop
        self._telemetry = telemetry
        self._queue: deque[tuple[OutputBatch, Ticket]] = deque()
        self._changed = threading.Condition()
        self._writing = True  # until the lane is open
        self._closing = False
        self._failure: BaseException | None = None
        self._lane: SinkLane | None = None
        self._away_since: float | None = None
        self._thread = threading.Thread(target=self._run, name=f"writer-{sink}", daemon=True)
        self._begin()

    def _begin(self) -> None:
        """Lets the thread run: what simulations do in its place is theirs."""
        self._thread.start()

    def put(self, batch: OutputBatch, ticket: Ticket) -> None:
        """Queues a batch; its ticket is acknowledged when it is durable.

        Raises:
            FatalError: The writer has failed.
        """
        with self._changed:
            self._raise_failure()
            self._queue.append((batch, ticket))
            self._changed.notify_all()

    def flush(self) -> bytes:
        """Waits until everything that was put is durable; gives the sink lane's position.

        Raises:
            FatalError: The writer has failed, or the run is to stop and the sink did not answer within the grace.
        """
        with self._changed:
            while self._failure is None and (self._queue or self._writing):
                self._changed.wait(0.5)
            self._raise_failure()
            assert self._lane is not None
            return self._lane.position()

    def abandon(self) -> None:
        """Tells the thread to end after the try that it is at, without waiting for it: the run has failed elsewhere."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def close(self) -> None:
        """Ends the thread and closes the lane. What was not flushed is not written; a replay writes it."""
        self.abandon()
        if self._thread.ident is not None:
            self._thread.join(self._deadline_s)
        if self._lane is not None and not self._thread.is_alive():
            self._lane.close()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            # The text of an error that is not ours may quote a value.
            what = str(self._failure) if isinstance(self._failure, HeadraceError) else f"{type(self._failure).__name__} in headrace itself"
            raise FatalError(f"sink {self._sink}: {what}") from self._failure

    def _run(self) -> None:
        try:
            self._lane = self._patience.persist(self._open_lane, self._stop, self._failed_once)
            self._answered()
            while (work := self._next()) is not None:
                self._write(*work)
        except BaseException as error:  # noqa: BLE001 - handed to the lane's thread, which raises it
            with self._changed:
                self._failure = error
                self._changed.notify_all()

    def _next(self) -> tuple[OutputBatch, list[Ticket]] | None:
        """Gives all that waits as one batch, None when the writer is closing."""
        with self._changed:
            self._writing = False
            self._changed.notify_all()
            while not self._queue and not self._closing:
                self._changed.wait()
            if self._closing:
                return None
            self._writing = True
            batches: list[OutputBatch] = []
            tickets: list[Ticket] = []
            rows = 0
            while self._queue and (not batches or rows + _height(self._queue[0][0]) <= _WRITE_ROWS_MAX):
                batch, ticket = self._queue.popleft()
                batches.append(batch)
                tickets.append(ticket)
                rows += _height(batch)
        return _joined(batches), tickets

    def _write(self, batch: OutputBatch, tickets: list[Ticket]) -> None:
        for number, part in enumerate(_parts(batch, self._rows_max)):
            if number:  # a sink that takes a batch in parts may take long over it
                self._stop.check()
                if self._closing:
                    raise Abandoned(f"closed with part {number} of a batch written")
            self._write_part(part)
        for ticket in tickets:
            ticket.acknowledge()

    def _write_part(self, batch: OutputBatch) -> None:
        assert self._lane is not None
        lane, begin = self._lane, time.perf_counter()
        receipt = self._patience.persist(lambda: lane.write(batch, self._deadline_s), self._stop, self._failed_once)
        self._answered()
        self._telemetry.sink_acknowledged(self._sink, time.perf_counter() - begin)
        self._count(receipt)

    def _count(self, receipt: Receipt) -> None:
        for topic in receipt.written:
            self._telemetry.sink_written(self._sink, topic, receipt.written[topic], receipt.skipped[topic])
        for topic, reasons in receipt.left_out.items():
            for reason, rows in reasons.items():
                self._telemetry.sink_left_out(self._sink, topic, reason, rows)
        for row in receipt.refused[:_REFUSED_TOLD_MAX]:
            log().error("sink.refused", sink=self._sink, topic=row.topic, partition=row.partition, offset=row.offset, reason=row.reason)

    def _failed_once(self, error: RetryableError) -> None:
        if self._closing:
            raise Abandoned(f"closed before the sink acknowledged: {error}")
        self._telemetry.sink_retried(self._sink)
        if self._away_since is None:  # one line an outage, not one a try
            self._away_since = time.monotonic()
            log().warning("sink.away", sink=self._sink, problem=str(error))

    def _answered(self) -> None:
        if self._away_since is not None:
            log().info("sink.back", sink=self._sink, seconds=round(time.monotonic() - self._away_since, 1))
            self._away_since = None


def _parts(batch: OutputBatch, rows_max: int | None) -> Iterator[OutputBatch]:
    """Gives a batch in parts of at most so many rows a topic; an empty one has none."""
    longest = max((frame.height for frame in batch.values()), default=0)
    for at in range(0, longest, rows_max or longest or 1):
        yield batch if rows_max is None or longest <= rows_max else {t: f.slice(at, rows_max) for t, f in batch.items() if f.height > at}


def _height(batch: OutputBatch) -> int:
    return sum(frame.height for frame in batch.values())


def _joined(batches: list[OutputBatch]) -> OutputBatch:
    if len(batches) == 1:
        return batches[0]
    topics = dict.fromkeys(topic for batch in batches for topic in batch)
    return {topic: pl.concat([batch[topic] for batch in batches if topic in batch]) for topic in topics}
