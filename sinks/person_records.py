"""Records of a person in Kafka: counted in every topic, and in compacted ones replaced by tombstones.

Kafka deletes no single record, so in other topics they stay until retention takes them; there the person is a hash that nothing leads back from once
the keys are destroyed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType  # type: ignore[attr-defined]  # as in topic_retention.py

from governance.erasure import Place
from schemas.errors import RetryableError
from sinks.errors import kafka_failure

_BATCH: Final = 4_000
_STALL_S: Final = 30.0
_TIMEOUT_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class TopicRule:
    """How a topic keeps its records.

    Attributes:
        partitions: How many it has.
        is_compacted: Whether the last record of a key wins.
        retention_ms: How long records are kept; None for ever.
    """

    partitions: int
    is_compacted: bool
    retention_ms: int | None

    @property
    def words(self) -> str:
        """How long a record stays."""
        if self.retention_ms is None:
            return "stays for ever: the topic has no retention; set retention.ms or delete the topic"
        return f"stays until retention takes it: at most {self.retention_ms / 3_600_000:.1f} h after it was written, and the segment after it is full"


def topic_rules(client: Mapping[str, Any], names: Sequence[str]) -> dict[str, TopicRule]:
    """Gives how topics keep their records; those that are not there are left out.

    Raises:
        RetryableError: The cluster does not answer.
    """
    admin = AdminClient(dict(client))
    failure = None
    rules = {}
    try:
        there = admin.list_topics(timeout=_TIMEOUT_S).topics
        wanted = [ConfigResource(ResourceType.TOPIC, name) for name in names if name in there]
        for resource, answer in (admin.describe_configs(wanted, request_timeout=_TIMEOUT_S) if wanted else {}).items():
            settings = {name: entry.value for name, entry in answer.result(_TIMEOUT_S).items()}
            compacted = "compact" in str(settings["cleanup.policy"])
            kept_ms = int(str(settings["retention.ms"]))
            ever = kept_ms < 0 or (compacted and "delete" not in str(settings["cleanup.policy"]))
            rules[resource.name] = TopicRule(len(there[resource.name].partitions), compacted, None if ever else kept_ms)
    except KafkaException as error:
        failure = kafka_failure(error, "settings of the topics")
    if failure is not None:
        raise failure
    return rules


def erase_records(client: Mapping[str, Any], topic: str, rule: TopicRule, needles: Sequence[bytes]) -> Place:
    """Counts the records that hold one of the needles and, in a compacted topic, puts a tombstone for each of their keys.

    Args:
        client: librdkafka settings.
        topic: Name on the cluster.
        rule: How it keeps its records.
        needles: What stands for the person in a record.

    Raises:
        RetryableError: The cluster does not answer.
    """
    found = _records_of(client, topic, rule.partitions, needles)
    if not found:
        return Place(f"topic {topic}", 0, 0, "nothing")
    keyed = {(partition, key) for partition, key in found if key is not None}
    if rule.is_compacted and keyed:
        _put_tombstones(client, topic, sorted(keyed))
        return Place(f"topic {topic}", len(found), len(found), "tombstones", "gone once the broker compacts the topic")
    return Place(f"topic {topic}", len(found), len(found), "nothing", rule.words)


def _records_of(client: Mapping[str, Any], topic: str, partitions: int, needles: Sequence[bytes]) -> list[tuple[int, bytes | None]]:
    consumer = Consumer(
        {
            **client,
            "group.id": "headrace-erase",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
        }
    )
    found: list[tuple[int, bytes | None]] = []
    reading = set(range(partitions))
    until = time.monotonic() + _STALL_S
    try:
        consumer.assign([TopicPartition(topic, partition, 0) for partition in sorted(reading)])
        while reading:
            for message in consumer.consume(_BATCH, timeout=0.1):
                until = time.monotonic() + _STALL_S
                error = message.error()
                if error is None:
                    found += [(message.partition() or 0, _bytes(message.key()))] if _holds(message, needles) else []
                elif error.code() == KafkaError._PARTITION_EOF:
                    reading.discard(message.partition() or 0)
                else:
                    raise kafka_failure(error, f"reading {topic}")
            if time.monotonic() > until:
                raise RetryableError(f"{topic}: reading stalled for {_STALL_S:.0f} s; is the broker up?", 1_000)
    finally:
        consumer.close()
    return found


def _holds(message: Message, needles: Sequence[bytes]) -> bool:
    key, value = _bytes(message.key()) or b"", _bytes(message.value()) or b""
    return any(needle in value or needle in key for needle in needles)


def _put_tombstones(client: Mapping[str, Any], topic: str, keys: Sequence[tuple[int, bytes]]) -> None:
    failed: list[KafkaError] = []
    producer = Producer({**client, "acks": "all", "enable.idempotence": True, "delivery.timeout.ms": int(_TIMEOUT_S * 1_000)})
    for partition, key in keys:
        producer.produce(topic, None, key, partition, on_delivery=lambda error, _message: failed.append(error) if error else None)
        producer.poll(0)
    if producer.flush(2 * _TIMEOUT_S) or failed:
        raise kafka_failure(failed[0] if failed else KafkaError(KafkaError._MSG_TIMED_OUT), f"tombstones of {topic}")


def _bytes(content: str | bytes | None) -> bytes | None:
    return content.encode() if isinstance(content, str) else content
