"""Reads a chained topic from its beginning to its end, for who checks the chain."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from governance.audit_chain import Entry
from schemas.errors import RetryableError
from schemas.topics import ID_HEADER
from sinks.errors import kafka_failure
from sinks.kafka_chain import header_of, stated_of

_BATCH: Final = 2_000
_STALL_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class ChainedTopic:
    """A chained topic on a cluster.

    Attributes:
        client: librdkafka settings (``bootstrap.servers``, security).
        name: Name on the cluster.
        timeout_s: How long metadata may take.
    """

    client: Mapping[str, Any]
    name: str
    timeout_s: float = 10.0

    def partitions(self) -> list[int]:
        """Gives the partitions of the topic; none where it is not there.

        Raises:
            RetryableError: The cluster does not answer.
        """
        with self._consumer() as consumer:
            failure = None
            try:
                found = consumer.list_topics(self.name, timeout=self.timeout_s).topics[self.name]
            except KafkaException as error:
                failure = kafka_failure(error, f"metadata of {self.name}")
            if failure is not None:
                raise failure
            return sorted(found.partitions) if found.error is None else []

    def entries(self, partition: int) -> Iterator[Entry]:
        """Gives every committed entry of a partition, in the order of the log.

        Raises:
            RetryableError: The cluster stopped answering.
        """
        until = time.monotonic() + _STALL_S
        with self._consumer() as consumer:
            consumer.assign([TopicPartition(self.name, partition, 0)])
            while time.monotonic() < until:
                for message in consumer.consume(_BATCH, timeout=0.1):
                    until = time.monotonic() + _STALL_S
                    error = message.error()
                    if error is None:
                        yield self._entry(message)
                    elif error.code() == KafkaError._PARTITION_EOF:
                        return
                    else:
                        raise kafka_failure(error, f"reading {self.name}[{partition}]")
        raise RetryableError(f"{self.name}[{partition}]: reading stalled for {_STALL_S:.0f} s; is the broker up?", 1_000)

    def _entry(self, message: Message) -> Entry:
        place = f"{self.name}[{message.partition()}] offset {message.offset()}"
        key, value = message.key(), message.value()
        return Entry(place, stated_of(message), (header_of(message, ID_HEADER), _bytes(key), _bytes(value)))

    @contextmanager
    def _consumer(self) -> Iterator[Consumer]:
        consumer = Consumer(
            {
                **self.client,
                "group.id": "headrace-audit",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
            }
        )
        try:
            yield consumer
        finally:
            consumer.close()


def _bytes(content: str | bytes | None) -> bytes | None:
    return content.encode() if isinstance(content, str) else content
