"""Dead letters as they lie in Kafka: what the pipeline wrote about records, and the marks that people put to them."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, cast

import fastavro
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from schemas import avro
from schemas.errors import ConfigError, RetryableError
from schemas.registry import SchemaRegistry
from schemas.topics import CONTROLS, OUTPUTS
from sinks.errors import kafka_failure

LETTERS: Final = OUTPUTS["dead_letters"]
MARKS: Final = CONTROLS["dead_letter_marks"]
REDRIVEN: Final = "redriven"
PURGED: Final = "purged"

_WIRE_BYTES: Final = 5
_BATCH: Final = 4_000
_STALL_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter; see ``dead_letter.avsc``. ``kafka_time`` is in ms."""

    record_uid: str
    topic: str
    partition: int
    offset: int
    kafka_time: int | None
    traceparent: str | None
    kind: str | None
    agent_id: str | None
    event_uid: str | None
    step: str
    code: str
    reason: str
    redriven_from: int | None

    @property
    def place(self) -> str:
        """Where the record lies."""
        return f"{self.topic}[{self.partition}] offset {self.offset}"


@dataclass(frozen=True, slots=True)
class Mark:
    """What was done about a dead letter; see ``dead_letter_mark.avsc``. ``marked_at`` is in ms."""

    record_uid: str
    what: str
    marked_at: int
    marked_by: str
    topic: str
    partition: int
    offset: int
    redriven_to: int | None = None


@dataclass(frozen=True, slots=True)
class DeadLetterLog:
    """The two topics on a cluster.

    Attributes:
        client: librdkafka settings.
        registry: Where the schemas of what was written are.
        prefix: Stands before the names of topics.
        timeout_s: How long one request may take.
    """

    client: Mapping[str, Any]
    registry: SchemaRegistry
    prefix: str = ""
    timeout_s: float = 15.0

    def letters(self) -> Iterator[DeadLetter]:
        """Gives every dead letter that retention has left, each partition in the order of its log.

        Raises:
            ConfigError: The topic is not there.
            RetryableError: The cluster does not answer.
            FatalError: It refuses this client.
        """
        names = tuple(DeadLetter.__dataclass_fields__)
        for found in self._values(LETTERS.name, LETTERS.schema):
            yield DeadLetter(**{name: _plain(found[name]) for name in names})

    def marks(self) -> dict[str, Mark]:
        """Gives the last mark of each dead letter that has one, by its id.

        Raises:
            ConfigError: The topic is not there.
            RetryableError: The cluster does not answer.
            FatalError: It refuses this client.
        """
        return {
            found["record_uid"]: Mark(**{name: _plain(value) for name, value in found.items()}) for found in self._values(MARKS.name, MARKS.schema)
        }

    def _values(self, topic: str, schema: str) -> Iterator[Mapping[str, Any]]:
        name = self.prefix + topic
        consumer = Consumer(
            {
                **self.client,
                "group.id": "headrace-dlq",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
            }
        )
        try:
            reading = self._partitions(consumer, name)
            consumer.assign([TopicPartition(name, partition, 0) for partition in sorted(reading)])
            until = time.monotonic() + _STALL_S
            while reading:
                for message in consumer.consume(_BATCH, timeout=0.1):
                    until = time.monotonic() + _STALL_S
                    problem, value = message.error(), message.value()
                    if problem is None:
                        if isinstance(value, bytes):
                            yield self._decoded(value, schema)
                    elif problem.code() == KafkaError._PARTITION_EOF:
                        reading.discard(message.partition() or 0)
                    else:
                        raise kafka_failure(problem, f"reading {name}")
                if time.monotonic() > until:
                    raise RetryableError(f"{name}: reading stalled for {_STALL_S:.0f} s; is the broker up?", 1_000)
        finally:
            consumer.close()

    def _partitions(self, consumer: Consumer, name: str) -> set[int]:
        failure = None
        try:
            found = consumer.list_topics(name, timeout=self.timeout_s).topics[name]
        except KafkaException as error:
            failure = kafka_failure(error, f"metadata of {name}")
        if failure is not None:
            raise failure
        if found.error is None:
            return set(found.partitions)
        if found.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise ConfigError(f"dlq: topic {name} is not on the cluster; `headrace migrate` makes it")
        raise kafka_failure(found.error, f"metadata of {name}")

    def _decoded(self, value: bytes, schema: str) -> Mapping[str, Any]:
        writer = _parsed(self.registry.schema(int.from_bytes(value[1:_WIRE_BYTES], "big")))
        return cast("Mapping[str, Any]", fastavro.schemaless_reader(io.BytesIO(value[_WIRE_BYTES:]), writer, _parsed(avro.text(schema))))


def encoded(mark: Mark, schema_id: int) -> bytes:
    """Gives a mark as Avro in Confluent wire format."""
    value = io.BytesIO()
    value.write(b"\0" + schema_id.to_bytes(4, "big"))
    fastavro.schemaless_writer(value, _parsed(avro.text(MARKS.schema)), {name: getattr(mark, name) for name in Mark.__dataclass_fields__})
    return value.getvalue()


def _plain(value: Any) -> Any:
    return round(value.timestamp() * 1_000) if hasattr(value, "timestamp") else value


@cache
def _parsed(text: str) -> Any:
    return fastavro.parse_schema(json.loads(text))
