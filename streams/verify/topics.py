"""Topics, read for verification: committed records between two offsets, without a group, a commit or a write."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.errors import ConfigError, RetryableError
from schemas.topics import ID_HEADER, TRACE_HEADER
from sinks.errors import kafka_failure
from streams.verify.plain.event import Partition, Record

_REQUEST_TIMEOUT_S: Final = 15.0
_STALL_S: Final = 30.0
_BATCH: Final = 2_000
_TRACE: Final = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}").fullmatch


@dataclass(frozen=True, slots=True)
class Stored:
    """A message of an output topic: its record, and the id in its header."""

    record: Record
    id: str | None
    key: bytes | None


@dataclass(frozen=True, slots=True)
class OpenTransaction:
    """A transaction that holds readers up.

    Attributes:
        offset: Its first record.
        until: End of what lies behind it.
        age_ms: How old its first record is; None where that record cannot be read.
    """

    offset: int
    until: int
    age_ms: int | None


class Topics:
    """The topics of a cluster.

    Args:
        client: librdkafka settings for every client.
        prefix: Stands before each topic's name on the cluster; places hold the name without it.
        group: Consumer group whose committed offsets say how far the pipeline has come.
    """

    def __init__(self, client: Mapping[str, Any], prefix: str, group: str) -> None:
        self._client = client
        self._prefix = prefix
        self._group = group

    def partitions(self, topics: Sequence[str]) -> list[Partition]:
        """Gives every partition of some topics.

        Raises:
            ConfigError: A topic does not exist.
        """
        with self._consumer("read_committed") as consumer, _ours("metadata"):
            found = consumer.list_topics(timeout=_REQUEST_TIMEOUT_S).topics
        missing = [topic for topic in topics if self._prefix + topic not in found]
        if missing:
            raise ConfigError(f"verify: topic {', '.join(missing)} is not on the cluster; run `headrace migrate`, or leave it out of kafka.inputs")
        return sorted((topic, partition) for topic in topics for partition in found[self._prefix + topic].partitions)

    def committed(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Gives the offsets that the pipeline committed behind its snapshots; a partition without one is absent."""
        with self._consumer("read_committed") as consumer, _ours("committed offsets"):
            asked = [TopicPartition(self._prefix + topic, partition) for topic, partition in partitions]
            found = consumer.committed(asked, timeout=_REQUEST_TIMEOUT_S)
        return {(one.topic.removeprefix(self._prefix), one.partition): one.offset for one in found if one.offset >= 0}

    def bounds(self, partitions: Sequence[Partition]) -> dict[Partition, tuple[int, int]]:
        """Gives the oldest offset and the end of what is committed, by partition."""
        return self._bounds(partitions, "read_committed")

    def at(self, partitions: Sequence[Partition], time_ms: int) -> dict[Partition, int]:
        """Gives the first offset at or after a time, or the end."""
        ends = self.bounds(partitions)
        with self._consumer("read_committed") as consumer, _ours("offsets of a time"):
            asked = [TopicPartition(self._prefix + topic, partition, max(0, time_ms)) for topic, partition in partitions]
            found = consumer.offsets_for_times(asked, timeout=_REQUEST_TIMEOUT_S)
        offsets = {(one.topic.removeprefix(self._prefix), one.partition): one.offset for one in found}
        return {place: offsets[place] if offsets[place] >= 0 else ends[place][1] for place in partitions}

    def open_transactions(self, partitions: Sequence[Partition], now_ms: int) -> dict[Partition, OpenTransaction]:
        """Gives the transactions at which committed readers stop."""
        committed, all_ends = self._bounds(partitions, "read_committed"), self._bounds(partitions, "read_uncommitted")
        stopped = {place: end for place, (_, end) in committed.items() if end < all_ends[place][1]}
        found = {}
        for place, end in stopped.items():
            first = next(self._messages({place: end}, {place: end + 1}, "read_uncommitted"), None)
            kind, time_ms = (0, 0) if first is None else first.timestamp()
            found[place] = OpenTransaction(end, all_ends[place][1], now_ms - time_ms if kind else None)
        return found

    def records(self, begin: Mapping[Partition, int], end: Mapping[Partition, int]) -> Iterator[Stored]:
        """Gives committed records, each partition's in the order of its log; partitions interleave."""
        for message in self._messages(begin, end, "read_committed"):
            topic, partition, offset = message.topic(), message.partition(), message.offset()
            assert topic is not None
            assert partition is not None
            assert offset is not None
            kind, time_ms = message.timestamp()
            headers = _headers(message)
            trace, own = headers.get(TRACE_HEADER), headers.get(ID_HEADER)
            told = trace.decode("ascii") if trace is not None and _TRACE(trace) else None
            value, key = message.value(), message.key()
            record = Record((topic.removeprefix(self._prefix), partition, offset), time_ms if kind else None, _bytes(value), told)
            yield Stored(record, None if own is None else own.decode("ascii", "replace"), _bytes(key))

    def _messages(self, begin: Mapping[Partition, int], end: Mapping[Partition, int], isolation: str) -> Iterator[Message]:
        reading = {place for place, offset in begin.items() if offset < end[place]}
        if not reading:
            return
        with self._consumer(isolation) as consumer:
            consumer.assign([TopicPartition(self._prefix + topic, partition, begin[topic, partition]) for topic, partition in sorted(reading)])
            stalled_at = time.monotonic() + _STALL_S
            while reading:
                with _ours("reading"):
                    messages = consumer.consume(_BATCH, timeout=0.2)
                if messages:
                    stalled_at = time.monotonic() + _STALL_S
                elif time.monotonic() > stalled_at:
                    raise RetryableError(f"verify: {len(reading)} partitions gave nothing for {_STALL_S:.0f} s; are the brokers up?", 1_000)
                for message in messages:
                    place = ((message.topic() or "").removeprefix(self._prefix), message.partition() or 0)
                    error = message.error()
                    if error is not None:
                        if error.code() != KafkaError._PARTITION_EOF:
                            raise kafka_failure(error, f"verify, {place[0]}[{place[1]}]")
                        reading.discard(place)
                        continue
                    offset = message.offset() or 0
                    if offset < end[place]:
                        yield message
                    if offset >= end[place] - 1:
                        reading.discard(place)

    def _bounds(self, partitions: Sequence[Partition], isolation: str) -> dict[Partition, tuple[int, int]]:
        with self._consumer(isolation) as consumer, _ours("offsets"):
            return {
                (topic, partition): consumer.get_watermark_offsets(
                    TopicPartition(self._prefix + topic, partition), timeout=_REQUEST_TIMEOUT_S, cached=False
                )
                for topic, partition in partitions
            }

    @contextmanager
    def _consumer(self, isolation: str) -> Iterator[Consumer]:
        settings = {
            **self._client,
            "group.id": self._group,
            "isolation.level": isolation,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
        }
        with closing(Consumer(settings)) as consumer:
            yield consumer


def _headers(message: Message) -> dict[str, bytes]:
    found = message.headers() or []
    pairs = found.items() if isinstance(found, dict) else found
    return {name: value for name, value in pairs if isinstance(value, bytes)}


def _bytes(value: Any) -> bytes | None:
    return value if isinstance(value, bytes) else None


@contextmanager
def _ours(what: str) -> Iterator[None]:
    failure = None
    try:
        yield
    except KafkaException as error:
        failure = kafka_failure(error, f"verify, {what}")
    if failure is not None:
        raise failure
