"""The list of erased persons: topic ``erasures``, compacted, keyed by the person's hash, read whole at every start before the first record."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Final

import fastavro
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from schemas import avro
from schemas.errors import RetryableError
from schemas.topics import CONTROLS
from sinks.errors import kafka_failure

TOPIC: Final = CONTROLS["erasures"]
_WIRE_BYTES: Final = 5
_STALL_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Erasure:
    """One erased person; see ``erasure.avsc``."""

    person: str
    erased_at: int
    asked_by: str


@dataclass(frozen=True, slots=True)
class ErasureLog:
    """The topic on a cluster.

    Attributes:
        client: librdkafka settings.
        prefix: Stands before the topic's name.
        timeout_s: How long one request may take.
    """

    client: Mapping[str, Any]
    prefix: str = ""
    timeout_s: float = 15.0

    @property
    def name(self) -> str:
        """Name of the topic on the cluster."""
        return self.prefix + TOPIC.name

    def read(self) -> dict[str, Erasure]:
        """Gives every erased person; none where the topic is not there.

        Raises:
            RetryableError: The cluster does not answer: nothing may be processed meanwhile.
            FatalError: It refuses this client.
        """
        said: list[KafkaError] = []
        consumer = Consumer(
            {
                **self.client,
                "error_cb": said.append,
                "group.id": "headrace-erasures",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
            }
        )
        try:
            return self._read(consumer, said)
        finally:
            consumer.close()

    def _read(self, consumer: Consumer, said: list[KafkaError]) -> dict[str, Erasure]:
        failure = None
        try:
            found = consumer.list_topics(self.name, timeout=self.timeout_s).topics[self.name]
        except KafkaException as error:
            consumer.poll(0)  # hands over what the client knows better than "timed out"
            refused = [known for known in said if known.code() in (KafkaError._AUTHENTICATION, KafkaError._SSL)]
            failure = kafka_failure(refused[0] if refused else error, f"metadata of {self.name}")
        if failure is not None:
            raise failure
        if found.error is not None:
            if found.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                return {}
            raise kafka_failure(found.error, f"metadata of {self.name}")
        reading = set(found.partitions)
        consumer.assign([TopicPartition(self.name, partition, 0) for partition in sorted(reading)])
        erased: dict[str, Erasure] = {}
        until = time.monotonic() + _STALL_S
        while reading:
            for message in consumer.consume(1_000, timeout=0.1):
                until = time.monotonic() + _STALL_S
                problem = message.error()
                if problem is not None:
                    if problem.code() != KafkaError._PARTITION_EOF:
                        raise kafka_failure(problem, f"reading {self.name}")
                    reading.discard(message.partition() or 0)
                elif (value := message.value()) is not None:
                    one = _decoded(value if isinstance(value, bytes) else value.encode())
                    erased[one.person] = one
            if time.monotonic() > until:
                raise RetryableError(f"{self.name}: reading stalled for {_STALL_S:.0f} s; is the broker up?", 1_000)
        return erased

    def append(self, erasure: Erasure, schema_id: int) -> None:
        """Writes one person down; returns when the cluster holds it.

        Raises:
            RetryableError: The cluster did not take it in time.
        """
        failed: list[KafkaError] = []
        producer = Producer({**self.client, "acks": "all", "enable.idempotence": True, "delivery.timeout.ms": int(self.timeout_s * 1_000)})
        value = io.BytesIO()
        value.write(b"\0" + schema_id.to_bytes(4, "big"))
        fastavro.schemaless_writer(value, _schema(), asdict(erasure))
        producer.produce(
            self.name, value.getvalue(), erasure.person.encode(), on_delivery=lambda error, _message: failed.append(error) if error else None
        )
        left = producer.flush(2 * self.timeout_s)
        if failed or left:
            raise kafka_failure(failed[0] if failed else KafkaError(KafkaError._MSG_TIMED_OUT), f"writing to {self.name}")


@cache
def _schema() -> Any:
    return fastavro.parse_schema(json.loads(avro.text(TOPIC.schema)))


def _decoded(value: bytes) -> Erasure:
    found: Any = fastavro.schemaless_reader(io.BytesIO(value[_WIRE_BYTES:]), _schema(), None)
    return Erasure(found["person"], round(found["erased_at"].timestamp() * 1_000), found["asked_by"])
