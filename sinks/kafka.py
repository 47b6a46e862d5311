"""The Kafka sink: transactional lanes whose replay writes no id twice.

A lane owns one transactional id (``pipeline/lane``) and the output partitions ``p`` with ``p % lanes == lane``. Opening it

1. fences the predecessor and ends its open transaction (``init_transactions``),
2. checks that no partition has lost records after the position (low watermark), which would be fatal and never silent,
3. reads its partitions (read committed) from the position to the end and takes the ids found there into the position.

A write is one transaction. Rows whose id was found are skipped: they are what the predecessor wrote after its last snapshot. Source: KIP-98, KIP-447.
Messages of a chained topic carry their place in the hash chain of their partition (``sinks/kafka_chain.py``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import polars as pl
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from governance.audit_chain import Link
from operators.shards import shard_of
from schemas.errors import FatalError, RetryableError
from schemas.limits import OUTPUT_BYTES_MAX
from schemas.topics import CHAIN_HEADER, ID_HEADER, OUTPUTS, TRACE_HEADER, OutputTopic
from sinks.contract import OutputBatch, Receipt
from sinks.errors import kafka_failure
from sinks.kafka_chain import Chains, OnHead, header_of, last_link, stated_of
from sinks.kafka_position import KafkaPosition, message_ids

#: Turns an output frame into message values, in row order (Avro in Confluent wire format, or JSON).
Encoder = Callable[[str, pl.DataFrame], list[bytes]]
#: Called at named points so that tests can kill the process there.
Probe = Callable[[str], None]
Delivered = Callable[[KafkaError | None, Message], None]
Headers = list[tuple[str, str | bytes | None]]
T = TypeVar("T")

_READ_BACK_BATCH: Final = 4096
_READ_BACK_STALL_S: Final = 30.0


def output_partitions(keys: pl.Series, partitions: int, lane: int, lane_count: int) -> list[int]:
    """Gives the output partition of each key, always one that the lane owns.

    A row reaches the lane of its own key, so this is Kafka's default partition of the key. A row that reached the lane by another key (a dead
    letter) gets one of the lane's own partitions, chosen by its key.
    """
    owned = (partitions - lane + lane_count - 1) // lane_count
    shards = shard_of(keys, partitions)
    ours = pl.select(
        pl.when(shards % lane_count == lane).then(shards).otherwise(lane + lane_count * ((shards // lane_count) % owned)).alias("partition")
    )
    return ours["partition"].to_list()


@dataclass(frozen=True, slots=True)
class KafkaSink:
    """Writes output topics to Kafka, exactly once in effect.

    Attributes:
        pipeline: Prefix of the transactional ids.
        client: librdkafka settings for every client (``bootstrap.servers``, security).
        partitions: Partition count by output topic; fixed for the life of the pipeline's state.
        encode: Makes message values.
        prefix: Stands before each topic's name on the cluster.
        request_timeout_s: How long metadata and offset requests may take.
        probe: Called at ``inside_transaction``, ``after_commit`` and ``during_recovery``.
        on_head: Told of each new head of a chained partition once it is committed; called in the threads of the lanes.
        producer: Makes a client that writes; a simulation makes its own.
        consumer: Makes a client that reads, likewise.
    """

    pipeline: str
    client: Mapping[str, Any]
    partitions: Mapping[str, int]
    encode: Encoder
    prefix: str = ""
    request_timeout_s: float = 10.0
    probe: Probe = field(default=lambda _point: None)
    on_head: OnHead = field(default=lambda _topic, _partition, _link: None)
    producer: Callable[[dict[str, Any]], Producer] = Producer
    consumer: Callable[[dict[str, Any]], Consumer] = Consumer

    @property
    def name(self) -> str:
        """Label of this sink."""
        return "kafka"

    @property
    def topics(self) -> frozenset[str]:
        """Output topics that are written."""
        return frozenset(self.partitions)

    @property
    def rows_max(self) -> None:
        """One transaction takes a batch of any size."""

    def begin(self) -> bytes:
        """Gives the end offset of every output partition, and the head of every chain that an earlier pipeline left there."""
        consumer = self._consumer("read_uncommitted")
        try:
            position = KafkaPosition()
            for topic, count in self.partitions.items():
                for partition in range(count):
                    low, high = self._watermarks(consumer, topic, partition)
                    position.advance(topic, partition, high)
                    if OUTPUTS[topic].chained and high > low and (head := self._last_link(topic, partition, low, high)) is not None:
                        position.heads.setdefault(topic, {})[partition] = head
            return position.to_bytes()
        finally:
            consumer.close()

    def _last_link(self, topic: str, partition: int, low: int, high: int) -> Link | None:
        consumer = self._consumer("read_committed")
        try:
            return last_link(consumer, TopicPartition(self.prefix + topic, partition), low, high)
        finally:
            consumer.close()

    def open_lane(self, lane: int, lane_count: int, position: bytes) -> KafkaLane:
        """Opens a lane as the module's steps 1 to 3 say."""
        producer = self.producer(
            {
                "compression.type": "lz4",
                "linger.ms": 1,
                "retry.backoff.ms": 5,
                "message.max.bytes": OUTPUT_BYTES_MAX,
                "queue.buffering.max.messages": 200_000,
                "transaction.timeout.ms": 60_000,
                **self.client,
                "acks": "all",
                "enable.idempotence": True,
                "transactional.id": f"{self.pipeline}/{lane}",
            }
        )
        _attempt(lambda: producer.init_transactions(self.request_timeout_s), f"kafka lane {lane}, init_transactions")
        found = KafkaPosition.from_bytes(position).of_lane(lane, lane_count)
        self._read_back(found)
        return KafkaLane(self, producer, lane, lane_count, found)

    def _read_back(self, position: KafkaPosition) -> None:
        """Moves the position to the end of the log and takes in the ids between."""
        consumer = self._consumer("read_committed")
        try:
            reading: set[tuple[str, int]] = set()
            for topic, parts in position.offsets.items():
                for partition, offset in parts.items():
                    low, high = self._watermarks(consumer, topic, partition)
                    if offset < low:
                        raise FatalError(
                            f"{topic}[{partition}]: the snapshot ends at offset {offset}, the oldest record left is {low}: retention passed what "
                            "this lane wrote, so it cannot know which ids are there; raise the topic's retention and start under a new pipeline name "
                            "with a backfill"
                        )
                    if offset < high:
                        reading.add((topic, partition))
            consumer.assign([TopicPartition(self.prefix + t, partition, position.offsets[t][partition]) for t, partition in sorted(reading)])
            stalled_at = time.monotonic() + _READ_BACK_STALL_S
            while reading:
                messages = consumer.consume(_READ_BACK_BATCH, timeout=0.1)
                if messages:
                    stalled_at = time.monotonic() + _READ_BACK_STALL_S
                elif time.monotonic() > stalled_at:
                    raise RetryableError(
                        f"read-back of {len(reading)} output partitions stalled for {_READ_BACK_STALL_S:.0f} s; is the broker up?", 1_000
                    )
                for message in messages:
                    self._take_back(message, position, reading)
        finally:
            consumer.close()

    def _take_back(self, message: Message, position: KafkaPosition, reading: set[tuple[str, int]]) -> None:
        topic, partition, offset = self.place(message)
        error = message.error()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                reading.discard((topic, partition))
                position.advance(topic, partition, offset)
                return
            raise kafka_failure(error, f"read-back of {topic}[{partition}]")
        self.probe("during_recovery")
        row_id = header_of(message, ID_HEADER)
        if row_id is not None:
            position.wrote(topic, [row_id.decode("ascii")])
        if OUTPUTS[topic].chained and (stated := stated_of(message)) is not None:
            position.heads.setdefault(topic, {})[partition] = stated.link

    def place(self, message: Message) -> tuple[str, int, int]:
        """Gives topic (without the prefix), partition and offset of a message."""
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        assert topic is not None
        assert partition is not None
        assert offset is not None
        return topic.removeprefix(self.prefix), partition, offset

    def _consumer(self, isolation: str) -> Consumer:
        return self.consumer(
            {
                **self.client,
                "group.id": f"{self.pipeline}/read-back",
                "isolation.level": isolation,
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "error",
            }
        )

    def _watermarks(self, consumer: Consumer, topic: str, partition: int) -> tuple[int, int]:
        place = TopicPartition(self.prefix + topic, partition)
        low, high = _attempt(
            lambda: consumer.get_watermark_offsets(place, timeout=self.request_timeout_s, cached=False), f"kafka, offsets of {topic}[{partition}]"
        )
        return low, high


class KafkaLane:
    """One transactional writer; see KafkaSink."""

    def __init__(self, sink: KafkaSink, producer: Producer, lane: int, lane_count: int, position: KafkaPosition) -> None:
        self._sink = sink
        self._producer = producer
        self._lane = lane
        self._lane_count = lane_count
        self._position = position
        self._chains = Chains(position, sink.on_head)
        #: Ids of a transaction whose commit was asked for and not yet answered.
        self._undecided: dict[str, list[str]] | None = None
        #: Whether a transaction must be aborted before the next one begins.
        self._aborting = False

    def write(self, batch: OutputBatch, deadline_s: float) -> Receipt:
        """Writes the rows whose ids are new, in one transaction."""
        until = time.monotonic() + deadline_s
        if self._aborting:
            _attempt(self._abort_now, f"kafka lane {self._lane}, abort")
        settled = self._settle(until) if self._undecided is not None else {}
        ids: dict[str, list[str]] = {}
        frames: dict[str, pl.DataFrame] = {}
        written: dict[str, int] = {}
        skipped: dict[str, int] = {}
        for name, frame in batch.items():
            if name not in self._sink.partitions or frame.is_empty():
                continue
            ids[name], frames[name] = self._unseen(OUTPUTS[name], frame)
            again = sum(row_id in settled.get(name, ()) for row_id in message_ids(OUTPUTS[name], frame)) if settled else 0
            written[name] = len(ids[name]) + again
            skipped[name] = frame.height - written[name]
        if any(ids.values()):
            # Encoded first: a frame that does not fit its schema leaves no open transaction.
            values = {name: self._sink.encode(name, frame) for name, frame in frames.items() if ids[name]}
            _attempt(self._producer.begin_transaction, f"kafka lane {self._lane}, begin", self._abort)
            for name in values:
                self._produce(OUTPUTS[name], frames[name], values[name], ids[name], until)
            self._sink.probe("inside_transaction")
            self._undecided = ids
            self._commit(until)
            self._sink.probe("after_commit")
        for name in skipped:
            self._position.met(name, message_ids(OUTPUTS[name], batch[name]))
        return Receipt(written, skipped)

    def _unseen(self, topic: OutputTopic, frame: pl.DataFrame) -> tuple[list[str], pl.DataFrame]:
        ids = message_ids(topic, frame)
        unmet = self._position.unmet.get(topic.name)
        if not unmet:
            return ids, frame
        new = [i for i, row_id in enumerate(ids) if row_id not in unmet]
        return [ids[i] for i in new], frame[new]

    def _produce(self, topic: OutputTopic, frame: pl.DataFrame, values: list[bytes], ids: list[str], until: float) -> None:
        name, keys = topic.name, frame[topic.key_column]
        partitions = output_partitions(keys, self._sink.partitions[name], self._lane, self._lane_count)
        chain = self._chains.headers(name, partitions, ids, keys.to_list(), values) if topic.chained else [None] * len(ids)
        traces = frame[TRACE_HEADER].to_list() if TRACE_HEADER in frame.columns else [None] * len(ids)
        # A partition keeps the order, so the report of its last record tells the offset after all of them.
        last = dict(zip(partitions, ids, strict=True))
        rows = zip(values, keys.to_list(), partitions, ids, traces, chain, strict=True)
        for value, key, partition, row_id, trace, link in rows:
            delivered = self._delivered if last[partition] == row_id else None
            headers: Headers = [(ID_HEADER, row_id)]
            if trace is not None:
                headers.append((TRACE_HEADER, trace))
            if link is not None:
                headers.append((CHAIN_HEADER, link))
            while not self._queued(self._sink.prefix + name, value, key, partition, delivered, headers):
                if time.monotonic() > until:
                    self._abort()
                    raise RetryableError(f"kafka lane {self._lane}: {name} takes no more records; is the broker up?", 500)
                self._producer.poll(0.05)
        self._producer.poll(0)

    def _queued(self, topic: str, value: bytes, key: str, partition: int, delivered: Delivered | None, headers: Headers) -> bool:
        """Hands one record to the client; False where its queue is full."""
        try:
            self._producer.produce(topic, value, key, partition, on_delivery=delivered, headers=headers)
        except BufferError:
            return False
        except KafkaException as error:
            failure = kafka_failure(error, f"kafka lane {self._lane}, produce")
        else:
            return True
        self._abort()
        raise failure

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            topic, partition, offset = self._sink.place(message)
            self._position.advance(topic, partition, offset + 1)

    def _commit(self, until: float) -> None:
        """Commits the open transaction; its ids stay undecided when no answer comes in time."""
        timeout_s = max(0.1, until - time.monotonic())
        _attempt(lambda: self._producer.commit_transaction(timeout_s), f"kafka lane {self._lane}, commit", self._abort)
        self._producer.poll(0)  # delivery reports, or the position would lag behind the log
        self._chains.committed()
        self._undecided = None

    def _settle(self, until: float) -> dict[str, set[str]]:
        """Learns what became of a commit whose answer was lost; the retry of its batch then skips what was committed. Gives the ids."""
        undecided = self._undecided
        assert undecided is not None
        self._commit(until)
        for topic, ids in undecided.items():
            self._position.wrote(topic, ids)
        return {topic: set(ids) for topic, ids in undecided.items()}

    def _abort(self) -> None:
        """Aborts the transaction now if the broker answers, else before the next one."""
        self._undecided = None
        self._chains.aborted()
        self._aborting = True
        with suppress(KafkaException):
            self._abort_now()

    def _abort_now(self) -> None:
        self._producer.abort_transaction(self._sink.request_timeout_s)
        self._aborting = False

    def position(self) -> bytes:
        """Gives the offsets after the last record of this lane and the ids that the replay has not met."""
        return self._position.to_bytes()

    def close(self) -> None:
        """Leaves an open transaction to the successor, who ends it by fencing."""
        self._producer.purge()


def _attempt(call: Callable[[], T], where: str, abort: Callable[[], None] | None = None) -> T:
    """Gives the call's result; turns librdkafka's errors into ours, and aborts the transaction where librdkafka says that it must be aborted."""
    failure = None
    try:
        return call()
    except KafkaException as error:
        kafka_error: KafkaError = error.args[0]
        if abort is not None and kafka_error.txn_requires_abort() and not kafka_error.fatal():
            abort()
        failure = kafka_failure(error, where)
    raise failure  # outside of the handler, so that the foreign error does not travel along
