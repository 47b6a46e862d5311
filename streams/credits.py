"""Credits: the bound on rows between the source and the sinks.

Within an epoch Bytewax does not throttle its sources, so they take a credit for each row that they poll, and get it back when every sink has
acknowledged what was made of it. A source without credits polls nothing: Kafka is the spill.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Credits:
    """A count of rows that may still enter.

    Args:
        rows_max: Rows in flight at most.
        on_change: Told of the rows in flight after each change.
    """

    def __init__(self, rows_max: int, on_change: Callable[[int], None]) -> None:
        self._rows_max = rows_max
        self._in_flight = 0
        self._reserved = 0
        self._on_change = on_change
        self._lock = threading.Lock()

    def reserve(self, wanted: int) -> int:
        """Gives how many of the wanted rows may be polled now, and keeps them from other source lanes until ``take`` is told what was polled."""
        with self._lock:
            granted = min(wanted, self._rows_max - self._in_flight - self._reserved)
            self._reserved += granted
        return granted

    def take(self, rows: int, reserved: int) -> None:
        """Counts rows as in flight, in place of the reservation under which they were polled."""
        assert 0 <= rows <= reserved, f"{rows} rows polled under a reservation of {reserved}"
        with self._lock:
            self._reserved -= reserved
        if rows:
            self._change(rows)

    def give_back(self, rows: int) -> None:
        """Counts rows as done."""
        self._change(-rows)

    @property
    def in_flight(self) -> int:
        """Rows in flight now."""
        with self._lock:
            return self._in_flight

    def _change(self, rows: int) -> None:
        with self._lock:
            self._in_flight += rows
            assert self._in_flight >= 0, "credits given back twice"
            now = self._in_flight
        self._on_change(now)


class Ticket:
    """The rows behind one write, held until every sink has acknowledged it.

    Args:
        rows: Source rows behind the write.
        sinks: How many sinks will acknowledge.
        oldest_kafka_time: Earliest Kafka timestamp among the rows in ms, None without one.
        credits: Where the rows go back to.
        on_done: Told how long after ``oldest_kafka_time`` the last sink acknowledged, in seconds.
    """

    def __init__(self, rows: int, sinks: int, oldest_kafka_time: int | None, credits: Credits, on_done: Callable[[float], None]) -> None:
        self._rows = rows
        self._left = sinks
        self._oldest = oldest_kafka_time
        self._credits = credits
        self._on_done = on_done
        self._lock = threading.Lock()
        if sinks == 0:
            credits.give_back(rows)

    def acknowledge(self) -> None:
        """One sink has made the write durable."""
        with self._lock:
            self._left -= 1
            done = self._left == 0
        if done:
            self._credits.give_back(self._rows)
            if self._oldest is not None:
                self._on_done(time.time() - self._oldest / 1000)
