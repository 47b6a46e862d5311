"""The fleet: many agents at once, with the faults of real producers mixed in."""

from __future__ import annotations

import json
import random
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from streams.fleet.faults import encoded, spoiled
from streams.fleet.people import people
from streams.fleet.record import CONFLICT, DUPLICATE, LATE, PASSED, Fate, FleetRecord
from streams.fleet.session import sessions

_PEOPLE: Final = 400
#: A record is sent again, or contradicted, within so many records of its topic.
_RECENT: Final = 64
#: How far behind its agent a late event is: beyond every window and its lateness by default (70 s), within the memory of ids (600 s).
LATE_BY_MS: Final = 300_000
_DISORDER_MS: Final = 4_000
_CLOSING_MARGIN_MS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Faults:
    """Shares of records with a fault, each from 0 to 1.

    Attributes:
        duplicate: Sent again, the same bytes.
        conflict: Another content under an id that was used before.
        late: An event time five minutes behind.
        malformed: Something no decoder can take.
        disorder: An event time up to four seconds behind: not late, only out of order.
    """

    duplicate: float = 0.012
    conflict: float = 0.002
    late: float = 0.004
    malformed: float = 0.004
    disorder: float = 0.05


NO_FAULTS: Final = Faults(0, 0, 0, 0, 0)


class Fleet:
    """A seeded fleet.

    Args:
        seed: The same seed and arguments give the same records.
        agents: Number of agents.
        rate: Records a second; spaces ``due_ms`` and with it event times.
        base_time_ms: Event time of the first record, ms since 1970.
        faults: Shares of faulty records.
    """

    def __init__(self, seed: int, agents: int = 24, rate: float = 500.0, base_time_ms: int = 0, faults: Faults | None = None) -> None:
        self._rng = random.Random(seed)
        self._rate = rate
        self._base = base_time_ms
        self._faults = Faults() if faults is None else faults
        crowd = people(seed, _PEOPLE)
        names = [f"agent-{number:03d}" for number in range(agents)]
        self._agents = [sessions(name, crowd, random.Random(f"{seed}-{name}")) for name in names]
        self._recent: dict[str, deque[FleetRecord]] = {}
        self._latest: dict[tuple[str, str], int] = {}
        self._made = 0

    def records(self) -> Iterator[FleetRecord]:
        """Gives records in the order to send them, without end."""
        while True:
            due_ms = int(self._made * 1_000 / self._rate)
            self._made += 1
            yield self._again(due_ms) or self._fresh(due_ms)

    def closing(self, partitions: Mapping[str, int], window_ms: int, due_ms: int) -> list[FleetRecord]:
        """Gives one record for every partition, a window after the last, so that every window of the others is complete and emitted.

        Args:
            partitions: Number of partitions by topic.
            window_ms: Length of a window.
            due_ms: When the last of the other records was due.
        """
        at = self.closing_time_ms(window_ms, due_ms)
        return [
            FleetRecord(topic, b"fleet-clock", encoded(_tick(topic, partition, at)), due_ms, at, PASSED, partition)
            for topic, count in partitions.items()
            for partition in range(count)
        ]

    def closing_time_ms(self, window_ms: int, due_ms: int) -> int:
        """Gives the event time of closing records; windows that end by then are complete."""
        return self._base + due_ms + window_ms + _CLOSING_MARGIN_MS

    def _again(self, due_ms: int) -> FleetRecord | None:
        """Gives a duplicate of a recent record or a conflict with one, now and then; None otherwise."""
        draw = self._rng.random()
        if draw >= self._faults.duplicate + self._faults.conflict:
            return None
        topic = self._rng.choice(("agent_events", "tool_executions", "reasoning_traces"))
        if not self._recent.get(topic):
            return None
        old = self._rng.choice(self._recent[topic])
        if draw < self._faults.duplicate:
            return FleetRecord(topic, old.key, old.value, due_ms, old.event_time_ms, DUPLICATE)
        changed = encoded({**json.loads(old.value), "status": "changed", "note": "this id was used before"})
        return FleetRecord(topic, old.key, changed, due_ms, old.event_time_ms, CONFLICT)

    def _fresh(self, due_ms: int) -> FleetRecord:
        """Gives the next event of some agent, maybe spoiled."""
        draft = next(self._rng.choice(self._agents))
        stream = (draft.topic, draft.key)
        event_time, fate = self._time(stream, due_ms)
        body = {"event_id": f"{draft.key}-e{self._made}", "timestamp": event_time, **draft.fields}
        if self._rng.random() < self._faults.malformed:
            value, code = spoiled(body, self._rng)
            return FleetRecord(draft.topic, draft.key.encode(), value, due_ms, None, Fate("dead", code))
        record = FleetRecord(draft.topic, draft.key.encode(), encoded(body), due_ms, event_time, fate)
        if fate == PASSED:
            self._latest[stream] = max(event_time, self._latest.get(stream, event_time))
            self._recent.setdefault(draft.topic, deque(maxlen=_RECENT)).append(record)
        return record

    def _time(self, stream: tuple[str, str], due_ms: int) -> tuple[int, Fate]:
        """Gives an event time; late only where an earlier record of the same partition proves it late."""
        draw = self._rng.random()
        seen = self._latest.get(stream)
        if draw < self._faults.late and seen is not None:
            return seen - LATE_BY_MS, LATE
        if draw < self._faults.late + self._faults.disorder:
            return self._base + due_ms - self._rng.randrange(_DISORDER_MS), PASSED
        return self._base + due_ms, PASSED


def _tick(topic: str, partition: int, at: int) -> dict[str, Any]:
    """Gives the smallest valid event of a topic."""
    body: dict[str, Any] = {"event_id": f"closing-{topic}-{partition}", "timestamp": at, "event_type": "fleet.closing"}
    owner = {"workflow_events": "workflow_id", "system_events": "service"}.get(topic, "agent_id")
    return {**body, owner: "fleet-clock"}
