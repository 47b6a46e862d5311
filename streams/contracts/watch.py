"""Follows topics and cuts them into windows by Kafka timestamp, at its own pace: a consumer group of its own, committed after results are out.

A window is checked when every partition of its topic has gone past its end, is at its end and silent, or the window has as many rows as one may have.
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


@dataclass(slots=True)
class _Topic:
    """Windows of one topic that are still open."""

    partitions: frozenset[int]
    windows: dict[int, Window] = field(default_factory=dict)
    newest_ms: dict[int, int] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)


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
            yield from self._closed(until_end)
            if until_end and all(topic.ended >= topic.partitions for topic in self._topics.values()):
                for topic in self._topics.values():
                    yield from (topic.windows.pop(start) for start in sorted(topic.windows))
                return

    def done(self, window: Window) -> None:
        """Commits what was read, up to the oldest record of a window that is still open."""
        topic = self._topics[window.topic]
        first = {
            place.partition: min(
                (other.offset for held in topic.windows.values() for other in held.places if other.partition == place.partition), default=None
            )
            for place in window.places
        }
        places = [
            TopicPartition(self._prefix + window.topic, partition, self._next[window.topic, partition] if held is None else held)
            for partition, held in first.items()
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
        window = topic.windows.setdefault(start, Window(about, start, start + self._window_ms))
        window.rows.append(row_of(about, message.value(), self._registry))
        window.places.append(Coordinates(partition, offset))
        topic.newest_ms[partition] = max(at_ms, topic.newest_ms.get(partition, 0))
        self._next[about, partition] = offset + 1
        if len(window.rows) >= self._rows_max:
            yield topic.windows.pop(start)

    def _closed(self, until_end: bool) -> Iterator[Window]:
        now_ms = int(time.time() * 1000)
        for topic in self._topics.values():
            for start in sorted(topic.windows):
                end = start + self._window_ms
                is_past = all(topic.newest_ms.get(partition, 0) >= end for partition in topic.partitions)
                is_silent = not until_end and topic.ended >= topic.partitions and now_ms >= end + self._window_ms
                if is_past or is_silent:
                    yield topic.windows.pop(start)
