"""A broker in memory: partitions with transactions, readers that read committed, and a place to die at before and after each request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition

Place = tuple[str, int]
Headers = list[tuple[str, str | bytes | None]]


class Killed(BaseException):
    """The process died here."""


@dataclass(slots=True)
class Entry:
    """One offset of a partition; a marker of a transaction holds nothing."""

    key: bytes | None = None
    value: bytes | None = None
    headers: Headers = field(default_factory=list)
    state: str = "open"  # open, committed, aborted, marker


@dataclass(frozen=True, slots=True)
class Told:
    """What a consumer or a delivery report hands over."""

    place: Place
    at: int
    entry: Entry | None = None

    def topic(self) -> str:
        return self.place[0]

    def partition(self) -> int:
        return self.place[1]

    def offset(self) -> int:
        return self.at

    def error(self) -> KafkaError | None:
        return KafkaError(KafkaError._PARTITION_EOF) if self.entry is None else None

    def headers(self) -> Headers:
        return [] if self.entry is None else [(name, value.encode() if isinstance(value, str) else value) for name, value in self.entry.headers]

    def key(self) -> bytes | None:
        return None if self.entry is None else self.entry.key

    def value(self) -> bytes | None:
        return None if self.entry is None else self.entry.value


class Broker:
    """All partitions, and who has which transaction open.

    Args:
        faults: Told of each request by name; raises Killed where the process is to die, gives True where the answer is to be lost.
    """

    def __init__(self, faults: Callable[[str], bool]) -> None:
        self.faults = faults
        self.logs: dict[Place, list[Entry]] = {}
        self.open: dict[str, list[tuple[Place, Entry]]] = {}

    def log(self, place: Place) -> list[Entry]:
        return self.logs.setdefault(place, [])

    def end(self, name: str, state: str) -> None:
        """Ends the open transaction of a transactional id."""
        written = self.open.pop(name, [])
        for _, entry in written:
            entry.state = state
        for place in dict.fromkeys(place for place, _ in written):
            self.log(place).append(Entry(state="marker"))

    def committed(self, topic: str) -> list[Entry]:
        return [entry for (name, _), log in sorted(self.logs.items()) if name == topic for entry in log if entry.state == "committed"]

    def producer(self, settings: Mapping[str, Any]) -> SimProducer:
        return SimProducer(self, settings["transactional.id"])

    def consumer(self, settings: Mapping[str, Any]) -> SimConsumer:
        return SimConsumer(self, settings["isolation.level"] == "read_committed")


class SimProducer:
    """The part of a transactional producer that the sink uses."""

    def __init__(self, broker: Broker, name: str) -> None:
        self._broker, self._name = broker, name
        self._reports: list[tuple[Callable[[Any, Any], None], Told]] = []
        self._written: list[tuple[Place, Entry]] = []
        self._is_answered = True

    def init_transactions(self, _timeout_s: float) -> None:
        self._broker.end(self._name, "aborted")

    def begin_transaction(self) -> None:
        assert self._name not in self._broker.open
        self._broker.open[self._name] = self._written = []

    def produce(
        self,
        topic: str,
        value: bytes,
        key: Any,
        partition: int,
        *,
        on_delivery: Callable[[Any, Any], None] | None = None,
        headers: Headers | None = None,
    ) -> None:
        log = self._broker.log((topic, partition))
        log.append(Entry(key, value, list(headers or [])))
        self._written.append(((topic, partition), log[-1]))
        if on_delivery is not None:
            self._reports.append((on_delivery, Told((topic, partition), len(log) - 1, log[-1])))

    def poll(self, _timeout_s: float) -> None:
        reports, self._reports = self._reports, []
        for report, told in reports:
            report(None, told)

    def commit_transaction(self, _timeout_s: float) -> None:
        if not self._is_answered:  # the commit was done, only its answer was lost
            self._is_answered = True
            return
        self._broker.faults("before_commit")
        self._broker.end(self._name, "committed")
        if self._broker.faults("commit_answer"):
            self._is_answered = False
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "lost", False, True, False))

    def abort_transaction(self, _timeout_s: float) -> None:
        self._broker.end(self._name, "aborted")

    def purge(self) -> None:
        """Forgets what was not sent."""


class SimConsumer:
    """The part of a consumer that the sink uses to read back."""

    def __init__(self, broker: Broker, is_committed_only: bool) -> None:
        self._broker, self._is_committed_only = broker, is_committed_only
        self._next: dict[Place, int] = {}
        self._ended: set[Place] = set()

    def assign(self, places: Sequence[TopicPartition]) -> None:
        self._next = {(place.topic, place.partition): place.offset for place in places}

    def consume(self, count: int, timeout: float) -> list[Told]:
        found: list[Told] = []
        for place, at in list(self._next.items()):
            log = self._broker.log(place)
            for offset in range(at, min(len(log), at + count)):
                if log[offset].state == "committed" or (not self._is_committed_only and log[offset].state != "marker"):
                    found.append(Told(place, offset, log[offset]))
            self._next[place] = min(len(log), at + count)
            if self._next[place] == len(log) and place not in self._ended:
                self._ended.add(place)
                found.append(Told(place, len(log)))
        return found

    def get_watermark_offsets(self, place: TopicPartition, timeout: float, cached: bool) -> tuple[int, int]:
        return 0, len(self._broker.log((place.topic, place.partition)))

    def close(self) -> None:
        """Leaves."""
