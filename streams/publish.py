"""Producing to the input topics: what ``headrace produce``, ``import --kafka`` and the demo write with.

Idempotent, acks=all, lz4, and Kafka's own default partitioner (murmur2), so that a key lands where a Java producer would put it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Final, Protocol, TypeVar

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from schemas.errors import FatalError
from schemas.topics import TRACE_HEADER
from sinks.errors import kafka_failure

_SETTINGS: Final[Mapping[str, str | int | bool]] = {
    "acks": "all",
    "enable.idempotence": True,
    "compression.type": "lz4",
    "linger.ms": 5,
    "partitioner": "murmur2_random",
    "message.max.bytes": 4_194_304,
    "log_level": 3,  # errors only: what librdkafka retries by itself is no news
}
_ADMIN_DEADLINE_S: Final = 15.0
_SERVE_EVERY: Final = 256


class Sendable(Protocol):
    """What can be produced."""

    @property
    def topic(self) -> str:
        """Input topic."""

    @property
    def key(self) -> bytes:
        """Message key."""

    @property
    def value(self) -> bytes:
        """JSON, or Avro in wire format."""


class Due(Sendable, Protocol):
    """What is to be produced at a time."""

    @property
    def due_ms(self) -> int:
        """Milliseconds after the beginning."""


DueT = TypeVar("DueT", bound=Due)


class Publisher:
    """A producer that knows what was acknowledged.

    Args:
        client: librdkafka settings (``bootstrap.servers``, security).
        prefix: Stands before each topic's name on the cluster.
        deadline_s: How long one record may wait for room or for its acknowledgement.
    """

    def __init__(self, client: Mapping[str, str], prefix: str = "", deadline_s: float = 30.0) -> None:
        self._deadline_s = deadline_s
        self._prefix = prefix
        self._producer = Producer({**client, **_SETTINGS, "delivery.timeout.ms": int(deadline_s * 1_000)})
        self._failed: KafkaError | None = None
        self._sent = 0
        self.acknowledged = 0

    def send(self, record: Sendable, partition: int | None = None) -> None:
        """Hands one record to the producer, with a trace context derived from its place in the stream.

        Args:
            record: What to produce.
            partition: Where to put it; None leaves it to the key.

        Raises:
            RetryableError: The cluster is away: an earlier record was not acknowledged in time, or there is no room.
            FatalError: The cluster refuses to take records.
        """
        self._check()
        topic = self._prefix + record.topic
        headers: list[tuple[str, str | bytes | None]] = [(TRACE_HEADER, traceparent(record.key, self._sent))]
        until = time.monotonic() + self._deadline_s
        while True:
            try:
                if partition is None:
                    self._producer.produce(topic, record.value, record.key, on_delivery=self._delivered, headers=headers)
                else:
                    self._producer.produce(topic, record.value, record.key, partition, on_delivery=self._delivered, headers=headers)
                break
            except BufferError:
                if time.monotonic() > until:
                    raise kafka_failure(KafkaError(KafkaError._QUEUE_FULL), f"producing to {topic}") from None
                self._producer.poll(0.05)
                self._check()
        self._sent += 1
        if self._sent % _SERVE_EVERY == 0:
            self._producer.poll(0)

    def serve(self) -> None:
        """Takes in acknowledgements; for a sender that waits between records."""
        self._producer.poll(0)

    def flush(self) -> int:
        """Waits until every record is acknowledged and gives their number.

        Raises:
            RetryableError: The cluster did not acknowledge all in time.
            FatalError: The cluster refused some.
        """
        self._producer.flush(self._deadline_s)
        self._check()
        if self.acknowledged != self._sent:
            raise kafka_failure(KafkaError(KafkaError._MSG_TIMED_OUT), f"flushing {self._sent - self.acknowledged} of {self._sent} records")
        return self.acknowledged

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is None:
            self.acknowledged += 1
        elif self._failed is None:
            self._failed = error

    def _check(self) -> None:
        if self._failed is not None:
            raise kafka_failure(self._failed, "producing")


def traceparent(key: bytes, index: int) -> bytes:
    """Gives a W3C trace context for the index-th record: the same for the same stream. Source: W3C Trace Context, section 3.2."""
    digest = blake2b(key + index.to_bytes(8, "big"), digest_size=24).hexdigest()
    return f"00-{digest[:32]}-{digest[32:]}-01".encode()


def paced(records: Iterable[DueT], stop: Callable[[], bool], wait: Callable[[float], object]) -> Iterator[DueT]:
    """Gives records when they are due, until there are no more or it is told to stop.

    Args:
        records: In order of ``due_ms``.
        stop: Asked before each record.
        wait: Waits so many seconds, or less when told to stop.
    """
    begin = time.monotonic()
    for record in records:
        ahead_s = record.due_ms / 1_000 - (time.monotonic() - begin)
        while ahead_s > 0 and not stop():
            wait(ahead_s)
            ahead_s = record.due_ms / 1_000 - (time.monotonic() - begin)
        if stop():
            return
        yield record


def ensure_topics(client: Mapping[str, str], topics: Mapping[str, int], settings: Mapping[str, str] | None = None) -> list[str]:
    """Creates the topics that are not there and gives their names; one that is there stays as it is.

    Args:
        client: librdkafka settings.
        topics: Name to number of partitions.
        settings: Topic settings for those that are created.

    Raises:
        RetryableError: The cluster does not answer.
        FatalError: The cluster refuses.
    """
    admin = AdminClient(dict(client))
    try:
        there = admin.list_topics(timeout=_ADMIN_DEADLINE_S).topics
    except KafkaException as error:
        raise kafka_failure(error, "metadata of the topics") from None
    wanted = [NewTopic(name, count, -1, config=dict(settings or {})) for name, count in topics.items() if name not in there]
    created = []
    for name, answer in (admin.create_topics(wanted, operation_timeout=_ADMIN_DEADLINE_S) if wanted else {}).items():
        try:
            answer.result(_ADMIN_DEADLINE_S)
            created.append(name)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another process was faster
                raise kafka_failure(error, f"creating topic {name}") from None
        except TimeoutError:
            raise FatalError(f"topic {name}: not created within {_ADMIN_DEADLINE_S:.0f} s; check the cluster's controller") from None
    return created
