"""The Kafka source: polls the partitions of one source lane in batches, from offsets that the engine's snapshot owns.

Partitions are assigned by headrace, not by a consumer group: the group id serves only to commit offsets, after a snapshot, as advice for lag tools.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, TypeVar

import polars as pl
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.errors import ConfigError, FatalError, RetryableError
from schemas.events import RAW, REDRIVEN
from schemas.topics import REDRIVEN_HEADER, TRACE_HEADER
from sinks.errors import kafka_failure
from streams.batch import Partition

_REQUEST_TIMEOUT_S: Final = 10.0
#: librdkafka fetches ahead in the background: at most this much for a source lane, or a backlog would fill the memory.
_FETCHED_KBYTES_MAX: Final = 32 * 1024

#: Version, trace id, parent id, flags. Source: W3C Trace Context, section 3.2.
_TRACEPARENT: Final = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}").fullmatch

_OFFSET: Final = re.compile(rb"[0-9]{1,19}").fullmatch

Headers = dict[str, str | bytes | None] | list[tuple[str, str | bytes | None]]
Start = Literal["earliest", "latest"] | datetime
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class KafkaInput:
    """How to reach the input topics.

    Attributes:
        client: librdkafka settings for every client (``bootstrap.servers``, security).
        group: Consumer group under which offsets are committed as advice.
        topics: Input topics; each must exist.
        prefix: Stands before each topic's name on the cluster; frames and coordinates hold the name without it.
    """

    client: Mapping[str, Any]
    group: str
    topics: tuple[str, ...]
    prefix: str = ""

    def partitions(self) -> list[Partition]:
        """Gives every partition of the input topics, sorted.

        Raises:
            ConfigError: A topic does not exist.
            RetryableError: The cluster does not answer.
        """
        said: list[KafkaError] = []
        # While it waits for metadata librdkafka tries 20 times a second, and would write a line each time: the error raised here says it once.
        consumer = self.consumer({"log_level": 2, "error_cb": said.append})
        failure = None
        try:
            found = consumer.list_topics(timeout=_REQUEST_TIMEOUT_S).topics
        except KafkaException as error:
            consumer.poll(0)  # hands over what the client knows better than "timed out"
            refused = [known for known in said if known.code() in (KafkaError._AUTHENTICATION, KafkaError._SSL)]
            failure = kafka_failure(refused[0] if refused else error, "metadata of the input topics")
        finally:
            consumer.close()
        if failure is not None:
            raise failure
        missing = [topic for topic in map(self.physical, self.topics) if topic not in found or found[topic].error is not None]
        if missing:
            raise ConfigError(f"kafka.inputs: topic {', '.join(missing)} is not on the cluster; create it, or leave it out of kafka.inputs")
        return sorted((topic, partition) for topic in self.topics for partition in found[self.physical(topic)].partitions)

    def start_offsets(self, partitions: Sequence[Partition], start: Start) -> dict[Partition, int]:
        """Gives the offset to start each partition from: its oldest, its end, or the first record at or after a time."""
        consumer = self.consumer()
        try:
            if isinstance(start, datetime):
                millis = int(start.timestamp() * 1000)
                asked = [TopicPartition(self.physical(topic), partition, millis) for topic, partition in partitions]
                answers = _asked(lambda: consumer.offsets_for_times(asked, timeout=_REQUEST_TIMEOUT_S), "start offsets")
                ends = {place: self.bounds(consumer, *place)[1] for place in partitions}
                times = {(self.logical(answer.topic), answer.partition): answer.offset for answer in answers}
                return {place: times[place] if times[place] >= 0 else ends[place] for place in ends}
            which = 1 if start == "latest" else 0
            return {(topic, partition): self.bounds(consumer, topic, partition)[which] for topic, partition in partitions}
        finally:
            consumer.close()

    def bounds(self, consumer: Consumer, topic: str, partition: int) -> tuple[int, int]:
        """Gives the oldest offset and the end of a partition."""
        place = TopicPartition(self.physical(topic), partition)
        where = f"offsets of {topic}[{partition}]"
        low, high = _asked(lambda: consumer.get_watermark_offsets(place, timeout=_REQUEST_TIMEOUT_S, cached=False), where)
        return low, high

    def physical(self, topic: str) -> str:
        """Gives the topic's name on the cluster."""
        return self.prefix + topic

    def logical(self, name: str) -> str:
        """Gives the topic of a name on the cluster."""
        return name.removeprefix(self.prefix)

    def consumer(self, settings: Mapping[str, Any] | None = None) -> Consumer:
        """Opens a consumer that stores and resets no offsets by itself; further settings come before the client's own."""
        return Consumer(
            {
                "fetch.wait.max.ms": 20,
                "queued.max.messages.kbytes": _FETCHED_KBYTES_MAX,
                "fetch.message.max.bytes": 4 * 1024 * 1024,
                **(settings or {}),
                **self.client,
                "group.id": self.group,
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "error",
            }
        )


class KafkaReader:
    """Reads some partitions in batches, each partition in log order.

    Args:
        source: Where to read.
        offsets: Next offset of each partition to read.

    Raises:
        FatalError: A partition no longer has the record to go on with (retention passed it): records would be lost in silence.
    """

    def __init__(self, source: KafkaInput, offsets: Mapping[Partition, int]) -> None:
        self._source = source
        self._next = dict(offsets)
        self._at_end: set[Partition] = set()
        self._closed = False
        self._consumer = source.consumer()
        try:
            for (topic, partition), offset in self._next.items():
                low, high = source.bounds(self._consumer, topic, partition)
                if not low <= offset <= high:
                    raise FatalError(_lost(topic, partition, offset, low, high))
            _asked(lambda: self._consumer.assign(self._places(self._next)), "assigning the input partitions")
        except BaseException:
            self._consumer.close()
            raise

    @property
    def offsets(self) -> Mapping[Partition, int]:
        """Next offset of each partition, after the last poll."""
        return self._next

    @property
    def at_end(self) -> frozenset[Partition]:
        """Partitions of which everything that is there was polled: what the client has fetched meanwhile and not handed over counts as there."""
        return frozenset(partition for partition in self._at_end if self._high(partition) <= self._next[partition])

    def poll(self, rows_max: int) -> pl.DataFrame:
        """Gives what has arrived, at most ``rows_max`` rows of ``schemas.events.RAW``; empty when nothing has. Does not wait.

        Raises:
            RetryableError: Nothing was polled; poll again. A cluster that is away raises nothing: librdkafka reconnects by itself.
            FatalError: The offset to read is gone.
        """
        taken: list[Message] = []
        ends: dict[Partition, int] = {}
        for message in _asked(lambda: self._consumer.consume(rows_max, timeout=0), "polling the input topics"):
            error = message.error()
            if error is None:
                taken.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                ends[self._partition(message)] = message.offset() or 0
            elif error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
                partition = self._partition(message)
                raise FatalError(_lost(*partition, self._next[partition], *self._fetched_bounds(partition)))
            elif not error.retriable():
                failure = kafka_failure(error, "polling the input topics")
                if not isinstance(failure, RetryableError):
                    raise failure
        frame = raw_frame(taken, len(self._source.prefix))
        for topic, partition, last in frame.group_by("topic", "partition").agg(pl.col("offset").max()).iter_rows():
            self._next[topic, partition] = last + 1
            self._at_end.discard((topic, partition))
        self._note_ends(ends)
        return frame

    def _note_ends(self, ends: Mapping[Partition, int]) -> None:
        """Notices partitions read to their end, told by the client, or known because nothing lies beyond the last record.

        Between the last record and the end there may be offsets without records: markers of transactions, aborted records, compacted ones.
        """
        for place, end in ends.items():
            if end >= self._next[place]:
                self._next[place] = end
                self._at_end.add(place)
        self._at_end.update(place for place in self._next.keys() - self._at_end if 0 <= self._high(place) <= self._next[place])

    def _high(self, place: Partition) -> int:
        """Gives the end of a partition as the last fetch told it; negative before the first."""
        return self._fetched_bounds(place)[1]

    def _fetched_bounds(self, place: Partition) -> tuple[int, int]:
        topic, partition = place
        low, high = self._consumer.get_watermark_offsets(TopicPartition(self._source.physical(topic), partition), cached=True)
        return low, high

    def lag(self) -> dict[Partition, int]:
        """Gives the records not yet polled, by partition, as far as the last fetch told."""
        return {place: max(0, self._high(place) - offset) for place, offset in self._next.items()}

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Tells the group how far the snapshots have come, for lag tools only; a failure is of no consequence to delivery."""
        with suppress(KafkaException):
            self._consumer.commit(offsets=self._places(offsets), asynchronous=True)

    def _places(self, offsets: Mapping[Partition, int]) -> list[TopicPartition]:
        return [TopicPartition(self._source.physical(topic), partition, offset) for (topic, partition), offset in sorted(offsets.items())]

    def _partition(self, message: Message) -> Partition:
        topic, partition = message.topic(), message.partition()
        assert topic is not None
        assert partition is not None
        return self._source.logical(topic), partition

    def close(self) -> None:
        """Leaves the cluster; may be called twice."""
        if not self._closed:
            self._closed = True
            self._consumer.close()


def raw_frame(messages: Sequence[Message], prefix_length: int) -> pl.DataFrame:
    """Gives messages as a RAW frame, in the order they came; topics lose the first ``prefix_length`` characters.

    A column ``redriven_from`` stands beside it where one of them was redriven.
    """
    rows = [
        (m.topic(), m.partition(), m.offset(), time if kind else None, m.key(), m.value(), _trace(m.headers()))
        for m in messages
        for kind, time in (m.timestamp(),)
    ]
    if not rows:
        return RAW.to_frame()
    frame = pl.DataFrame(dict(zip(RAW, zip(*rows, strict=True), strict=True)), schema=RAW)
    if prefix_length:
        frame = frame.with_columns(pl.col("topic").str.slice(prefix_length))
    redriven = [redriven_from(m) for m in messages]
    return (
        frame if all(offset is None for offset in redriven) else frame.with_columns(pl.Series("redriven_from", redriven, REDRIVEN["redriven_from"]))
    )


def redriven_from(message: Message) -> int | None:
    """Gives the offset of the original of a redriven record; None for every other record, and where the header is no offset before the record's own.

    A header is text of the producer. An offset of the same partition is all that may stand in it, so nothing else gets through.
    """
    headers = message.headers()
    if not headers:
        return None
    for name, value in headers.items() if isinstance(headers, dict) else headers:
        if name == REDRIVEN_HEADER and isinstance(value, bytes) and _OFFSET(value) and int(value) < (message.offset() or 0):
            return int(value)
    return None


def _trace(headers: Headers | None) -> str | None:
    """Gives the W3C trace context of a record; None where there is none, or something else stands in its place (it might be personal)."""
    pairs = headers.items() if isinstance(headers, dict) else headers or ()
    for name, value in pairs:
        if name == TRACE_HEADER and (trace := trace_of(value)) is not None:
            return trace
    return None


def trace_of(value: object) -> str | None:
    """Gives the W3C trace context that a header's value is; None where it is something else (it might be personal)."""
    return value.decode("ascii") if isinstance(value, bytes) and _TRACEPARENT(value) else None


def _lost(topic: str, partition: int, offset: int, low: int, high: int) -> str:
    return (
        f"{topic}[{partition}]: must go on at offset {offset}, but the topic holds {low} to {high} only: retention or a deleted topic took "
        "records that were not processed. Nothing was skipped. Restore the topic, or start under a new pipeline name with source.start set"
    )


def _asked(call: Callable[[], T], where: str) -> T:
    """Gives the call's result; turns librdkafka's errors into ours, outside of the handler, so that the foreign error does not travel along."""
    try:
        return call()
    except KafkaException as error:
        failure = kafka_failure(error, where)
    raise failure
