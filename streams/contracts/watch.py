"""Follows topics and cuts them into windows by Kafka timestamp, at its own pace: a consumer group of its own, committed after results are out.

A window is checked when every partition of its topic has gone past its end, or has been read to its own and is silent for as long as a window, or the
window has as many rows as one may have. Partitions that have run ahead of a slower one rest while open windows hold many rows, so memory is bounded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.errors import ConfigError
from schemas.registry import SchemaRegistry
from sinks.errors import kafka_failure
from streams.config import KafkaConfig
from streams.contracts.window import Coordinates, Window, row_of

_POLL_S: Final = 0.2
_BATCH: Final = 1_000
_METADATA_S: Final = 10.0
#: Open windows of a topic hold about so many times the rows of the largest window; then whoever is ahead waits for the slowest.
_HELD_WINDOWS: Final = 4
#: Starts of windows that are remembered as cut.
_CUT_MAX: Final = 1_000


@dataclass(slots=True)
class _Topic:
    """Windows of one topic that are still open."""

    partitions: frozenset[int]
    windows: dict[int, Window] = field(default_factory=dict)
    newest_ms: dict[int, int] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)
    resting: set[int] = field(default_factory=set)
    cut: set[int] = field(default_factory=set)

    @property
    def held(self) -> int:
        """Rows of open windows."""
        return sum(len(window.rows) for window in self.windows.values())

    def first(self, partition: int) -> int | None:
        """Gives the first offset of a partition that an open window holds."""
        firsts = (window.first[partition] for window in self.windows.values() if partition in window.first)
        return min(firsts, default=None)


class Watch:
    """Windows of topics.

    Args:
        kafka: The cluster.
        group: Consumer group; another one begins anew.
        topics: Which, without prefix.
        registry: Where schemas of Avro records are.
        window_ms: Length of a window.
        rows_max: Rows of one window at most; more begin another one for the same time.
    """

    def __init__(self, kafka: KafkaConfig, group: str, topics: Sequence[str], registry: SchemaRegistry, window_ms: int, rows_max: int) -> None:
        self._prefix, self._registry, self._window_ms, self._rows_max = kafka.topic_prefix, registry, window_ms, rows_max
        self._consumer = Consumer(
            {
                **kafka.client_settings(),
                "group.id": group,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "log_level": 3,
            }
        )
        self._next: dict[tuple[str, int], int] = {}
        try:
            self._topics = {topic: _Topic(self._partitions(topic)) for topic in topics}
        except KafkaException as error:
            raise kafka_failure(error, "contracts: topics") from None

    def begin(self) -> None:
        """Goes to where the group was.

        Raises:
            RetryableError: The group's coordinator is away or not yet there.
            FatalError: This client may not.
        """
        places = [TopicPartition(self._prefix + topic, number) for topic, found in self._topics.items() for number in found.partitions]
        failure: Exception | None = None
        try:
            self._consumer.assign(self._consumer.committed(places, timeout=_METADATA_S))
            return
        except KafkaException as error:
            failure = kafka_failure(error, "contracts: group offsets")
        raise failure

    def _partitions(self, topic: str) -> frozenset[int]:
        name = self._prefix + topic
        found = self._consumer.list_topics(name, timeout=_METADATA_S).topics[name]
        if found.error is not None or not found.partitions:
            raise ConfigError(f"contracts: topic {name} is not there; run headrace migrate, or leave it out with --topic")
        return frozenset(found.partitions)

    def windows(self, until_end: bool, stopped: Callable[[], bool]) -> Iterator[Window]:
        """Gives windows as they close; with ``until_end`` stops at what the topics hold now. The caller calls ``done`` after each."""
        while not stopped():
            for message in self._consumer.consume(_BATCH, timeout=_POLL_S):
                yield from self._took(message)
            yield from self._closed()
            self._rest()
            if until_end and all(topic.ended >= topic.partitions for topic in self._topics.values()):
                for topic in self._topics.values():
                    yield from (topic.windows.pop(start) for start in sorted(topic.windows))
                return

    def done(self, window: Window) -> None:
        """Commits what was read, up to the oldest record of a window that is still open."""
        topic = self._topics[window.topic]
        firsts = {partition: topic.first(partition) for partition in window.first}
        places = [
            TopicPartition(self._prefix + window.topic, partition, self._next[window.topic, partition] if held is None else held)
            for partition, held in firsts.items()
        ]
        self._consumer.commit(offsets=places, asynchronous=False)

    def close(self) -> None:
        """Leaves the cluster."""
        self._consumer.close()

    def _took(self, message: Message) -> Iterator[Window]:
        name, partition, offset, error = message.topic(), message.partition(), message.offset(), message.error()
        assert name is not None
        assert partition is not None
        topic = self._topics[name.removeprefix(self._prefix)]
        if error is not None:
            if error.code() != KafkaError._PARTITION_EOF:
                raise kafka_failure(error, f"contracts: {name}[{partition}]")
            topic.ended.add(partition)
            return
        assert offset is not None
        topic.ended.discard(partition)
        _, at_ms = message.timestamp()
        start = at_ms - at_ms % self._window_ms
        about = name.removeprefix(self._prefix)
        window = topic.windows.setdefault(start, Window(about, start, start + self._window_ms, is_cut=start in topic.cut))
        window.rows.append(row_of(about, message.value(), self._registry))
        window.places.append(Coordinates(partition, offset))
        window.first[partition] = min(offset, window.first.get(partition, offset))
        topic.newest_ms[partition] = max(at_ms, topic.newest_ms.get(partition, 0))
        self._next[about, partition] = offset + 1
        if len(window.rows) >= self._rows_max:
            window.is_cut = True
            topic.cut = {start, *sorted(topic.cut)[-_CUT_MAX:]}
            yield topic.windows.pop(start)

    def _rest(self) -> None:
        """Lets partitions that are ahead wait while open windows hold many rows, and go on when the slowest has caught up or is at its end."""
        for name, topic in self._topics.items():
            reading = topic.partitions - topic.ended - topic.resting
            if topic.resting and (not reading or topic.held < _HELD_WINDOWS * self._rows_max // 2):
                self._consumer.resume([TopicPartition(self._prefix + name, partition) for partition in topic.resting])
                topic.resting.clear()
            elif len(reading) > 1 and topic.held >= _HELD_WINDOWS * self._rows_max:
                slowest = min(topic.newest_ms.get(partition, 0) for partition in reading)
                ahead = {partition for partition in reading if topic.newest_ms.get(partition, 0) >= slowest + self._window_ms}
                if ahead:
                    self._consumer.pause([TopicPartition(self._prefix + name, partition) for partition in ahead])
                    topic.resting |= ahead

    def _closed(self) -> Iterator[Window]:
        now_ms = int(time.time() * 1000)
        for topic in self._topics.values():
            for start in sorted(topic.windows):
                end = start + self._window_ms
                # A partition without records, or one that is read to its end, holds no window open for ever.
                silent = topic.ended if now_ms >= end + self._window_ms else set()
                if all(partition in silent or topic.newest_ms.get(partition, 0) >= end for partition in topic.partitions):
                    yield topic.windows.pop(start)
