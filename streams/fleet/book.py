"""The books of what was sent: what a run's results are checked against."""

from __future__ import annotations

from collections import Counter
from typing import Final

from streams.fleet.record import FleetRecord

#: Every e-mail address of the fleet is in the domain example.com, .org or .net.
RAW_MARK: Final = b"@example."


class Book:
    """Counts records as they are sent.

    Attributes:
        sent: Records by topic.
        dead: Expected dead letters by code.
        filtered: Expected records left out, by reason.
        passed: Expected records that go the whole way, by topic.
        late: Passed records that come too late for their window for certain.
        addresses: Passed records that hold an unmasked e-mail address of the fleet.
        windows: Events expected in each window, by its start in ms since 1970 (all agents together).
    """

    def __init__(self, window_ms: int) -> None:
        self._window_ms = window_ms
        self.sent: Counter[str] = Counter()
        self.dead: Counter[str] = Counter()
        self.filtered: Counter[str] = Counter()
        self.passed: Counter[str] = Counter()
        self.late = 0
        self.addresses = 0
        self.windows: Counter[int] = Counter()

    def add(self, record: FleetRecord) -> None:
        """Enters one record that was sent."""
        fate = record.fate
        self.sent[record.topic] += 1
        if fate.disposition == "dead":
            self.dead[str(fate.code)] += 1
        elif fate.disposition == "filtered":
            self.filtered[str(fate.code)] += 1
        else:
            self.passed[record.topic] += 1
            self.late += fate.late
            self.addresses += RAW_MARK in record.value
            if record.event_time_ms is not None and not fate.late:
                self.windows[record.event_time_ms - record.event_time_ms % self._window_ms] += 1

    @property
    def total(self) -> int:
        """Records sent, over all topics."""
        return self.sent.total()
