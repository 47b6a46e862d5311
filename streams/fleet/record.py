"""One record of the simulated fleet, and what must become of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Fate:
    """What the pipeline must make of a record.

    Attributes:
        disposition: passed, filtered or dead.
        code: Code of the dead letter or reason for filtering; None for a record that passes.
        late: The record passes, and comes too late for its window for certain.
    """

    disposition: str
    code: str | None = None
    late: bool = False


PASSED: Final = Fate("passed")
LATE: Final = Fate("passed", late=True)
DUPLICATE: Final = Fate("filtered", "duplicate")
CONFLICT: Final = Fate("dead", "id_conflict")


@dataclass(frozen=True, slots=True)
class FleetRecord:
    """A record to produce.

    Attributes:
        topic: Input topic.
        key: Message key; decides the partition as in Kafka's default partitioner.
        value: JSON bytes.
        due_ms: When to send it, in ms after the fleet began.
        event_time_ms: Its event time in ms since 1970; None where the value holds none that can be read.
        fate: What must become of it.
        partition: Set only on closing records, which go to every partition; None otherwise.
    """

    topic: str
    key: bytes
    value: bytes
    due_ms: int
    event_time_ms: int | None
    fate: Fate
    partition: int | None = None
