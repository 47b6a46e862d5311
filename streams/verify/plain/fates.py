"""What must become of each record: its partition's log, one record after the other, with the facts that the run wrote down.

Facts are adopted, never judged: watermarks that an idle mark raised, records that a model's absence or a masker's failure ended, persons who were
erased. Everything else follows from the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from streams.verify.plain.event import Event, Partition, Place, Reading

#: Dead letters that only the run can know of. Before the watermark: the record is as if it had not been there.
FRONT_CODES: Final = frozenset({"masking_failed", "model_unavailable"})
#: Behind the windows: the record was counted.
BACK_CODES: Final = frozenset({"output_oversized"})
CONFLICT: Final = "id_conflict"


class Fate(StrEnum):
    """Where a record ends."""

    PASSED = "passed"
    DEAD = "dead"
    DUPLICATE = "duplicate"
    ERASED = "erased"


@dataclass(slots=True)
class Judged:
    """One record and what must become of it.

    Attributes:
        fates: Every fate that is right; several where the log leaves it open.
        codes: Codes of a dead letter that are right.
        watermark: Of the partition before the record; None before the first event.
        late: Whether its window was closed to it.
        counted: Whether a window counts it.
    """

    place: Place
    fates: frozenset[Fate]
    codes: frozenset[str]
    event: Event | None = None
    watermark: int | None = None
    late: bool = False
    counted: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What the run wrote down.

    Attributes:
        floors: Idle marks by partition: from an offset on, at least this watermark.
        published: Watermark of each event that is on the output topic, by place.
        dead: Code of each dead letter, by place.
        is_erased: Tells whether a raw user id is of an erased person.
    """

    floors: Mapping[Partition, Sequence[tuple[int, int]]] = field(default_factory=dict)
    published: Mapping[Place, int | None] = field(default_factory=dict)
    dead: Mapping[Place, str] = field(default_factory=dict)
    is_erased: Callable[[str], bool] = lambda _user: False


@dataclass(frozen=True, slots=True)
class Times:
    """Of the configuration, in ms."""

    window: int
    lateness: int
    ttl: int


@dataclass(slots=True)
class _First:
    """The record that repetitions of an event are held against."""

    seen: int
    digest: bytes
    partition: Partition


class Walk:
    """Walks partitions one after the other.

    Attributes:
        marks: Watermark of each partition after its last record here.
        raised: Records whose published watermark is above what log and idle marks give: a mark that is not kept any more. It is adopted.
    """

    def __init__(self, times: Times, facts: Facts) -> None:
        self._times = times
        self._facts = facts
        self._firsts: dict[tuple[str, str, str], _First] = {}
        self.marks: dict[Partition, int] = {}
        self.raised = 0

    def partition(self, name: Partition, readings: Iterable[tuple[Place, Reading]]) -> list[Judged]:
        """Gives every record of one partition, in the order of its log."""
        floors = sorted(self._facts.floors.get(name, ()))
        mark = self.marks.get(name)
        judged = []
        for place, reading in readings:
            while floors and floors[0][0] <= place[2]:
                mark = _highest(mark, floors.pop(0)[1])
            one, moves = self._record(name, place, reading, mark)
            if one.event is not None and moves:
                mark = _highest(one.watermark, one.event.time_ms)
            judged.append(one)
        if mark is not None:
            self.marks[name] = mark
        return judged

    def _record(self, partition: Partition, place: Place, reading: Reading, mark: int | None) -> tuple[Judged, bool]:
        """Gives a record's fate, and whether its time moves the partition's watermark."""
        event, said = reading.event, self._facts.dead.get(place)
        if event is None or said in reading.codes:
            return Judged(place, frozenset({Fate.DEAD}), reading.codes), False
        if said in FRONT_CODES:
            return Judged(place, frozenset({Fate.DEAD}), frozenset({said}), event), False
        user = event.names.get("user_id")
        if place not in self._facts.published and user is not None and self._facts.is_erased(user):
            return Judged(place, frozenset({Fate.ERASED}), frozenset(), event), False
        if place in self._facts.published:
            found = self._facts.published[place]
            if found is not None and (mark is None or found > mark):
                self.raised += 1
                mark = found
        return self._repeated(partition, place, event, mark, said), True

    def _repeated(self, partition: Partition, place: Place, event: Event, mark: int | None, said: str | None) -> Judged:
        key = (event.kind, event.names.get("agent_id") or "", event.names.get("event_id") or "")
        first = self._firsts.get(key)
        at = event.time_ms if mark is None else mark
        if first is not None and at - first.seen < self._times.ttl:
            again = Judged(place, frozenset({Fate.DUPLICATE}), frozenset(), event, mark)
            if first.digest != event.digest:
                again = Judged(place, frozenset({Fate.DEAD}), frozenset({CONFLICT}), event, mark)
            if first.partition == partition:
                return again
            # Which of two partitions came first is not in the log: either is right, and the other one then is the repetition.
            if place not in self._facts.published:
                return again
        self._firsts[key] = _First(_highest(mark, event.time_ms), event.digest, partition)
        start = event.time_ms // self._times.window * self._times.window
        late = mark is not None and start + self._times.window + self._times.lateness <= mark
        if said in BACK_CODES:
            return Judged(place, frozenset({Fate.DEAD}), frozenset({said}), event, mark, late, counted=not late)
        return Judged(place, frozenset({Fate.PASSED}), frozenset(), event, mark, late, counted=not late)


def _highest(mark: int | None, time_ms: int) -> int:
    return time_ms if mark is None else max(mark, time_ms)
