"""The hash chains of a Kafka lane: each message of a chained topic holds the hash of the one before it in its partition.

A lane is the only writer of its partitions, and fences its predecessor, so a chain has one writer. Links of a transaction count once it is committed;
an aborted one leaves the heads where they were. A successor takes the heads from the lane's position and from the messages behind it, which it reads
back anyway, so neither a crash nor a replay forks a chain.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from governance.audit_chain import Link, Stated, follow, genesis
from schemas.errors import RetryableError
from schemas.topics import CHAIN_HEADER
from sinks.errors import kafka_failure
from sinks.kafka_position import KafkaPosition

#: Told of each new head once it is committed: topic without the prefix, partition, link.
OnHead = Callable[[str, int, Link], None]

#: How far before the end the last entry is looked for at first: the last offsets of a partition may be marks of transactions.
_TAIL_RECORDS: Final = 64
_STALL_S: Final = 30.0


def chain_name(topic: str, partition: int) -> str:
    """Gives the name of a partition's chain."""
    return f"{topic}/{partition}"


def header_of(message: Message, name: str) -> bytes | None:
    """Gives a header of a message, the last one of that name."""
    headers = message.headers() or []
    found = None
    for key, value in headers.items() if isinstance(headers, dict) else headers:
        if key == name:
            found = value.encode() if isinstance(value, str) else value
    return found


def stated_of(message: Message) -> Stated | None:
    """Gives what a message says of its place in its chain."""
    header = header_of(message, CHAIN_HEADER)
    return None if header is None else Stated.from_header(header)


class Chains:
    """The heads of a lane's chained partitions: committed in its position, and on the way.

    Args:
        position: Where committed heads are kept.
        on_head: Told of heads once they are committed.
    """

    def __init__(self, position: KafkaPosition, on_head: OnHead) -> None:
        self._position = position
        self._on_head = on_head
        self._pending: dict[tuple[str, int], Link] = {}

    def headers(self, topic: str, partitions: Sequence[int], ids: Sequence[str], keys: Sequence[str], values: Sequence[bytes]) -> list[bytes]:
        """Gives the chain header of each message of the open transaction, in the order in which they are produced."""
        found = []
        for partition, row_id, key, value in zip(partitions, ids, keys, values, strict=True):
            before = (
                self._pending.get((topic, partition)) or self._position.heads.get(topic, {}).get(partition) or genesis(chain_name(topic, partition))
            )
            link = follow(before, (row_id.encode(), key.encode(), value))
            self._pending[topic, partition] = link
            found.append(Stated(link, before.hash).to_header())
        return found

    def committed(self) -> None:
        """Takes the links of the transaction into the position."""
        pending, self._pending = self._pending, {}
        for (topic, partition), link in pending.items():
            self._position.heads.setdefault(topic, {})[partition] = link
            self._on_head(topic, partition, link)

    def aborted(self) -> None:
        """Forgets the links of the transaction."""
        self._pending.clear()


def last_link(consumer: Consumer, place: TopicPartition, low: int, high: int) -> Link | None:
    """Gives the link of the last committed message before an offset that states one; None where there is none.

    Args:
        consumer: Reads committed messages only and tells of the end; its assignment is changed.
        place: Topic as the cluster calls it, and partition.
        low: Offset of the oldest message.
        high: Where the partition ends.

    Raises:
        RetryableError: The cluster does not answer.
    """
    step = _TAIL_RECORDS
    while high > low:
        start = max(low, high - step)
        consumer.assign([TopicPartition(place.topic, place.partition, start)])
        found = _last_in(consumer, f"{place.topic}[{place.partition}]")
        if found is not None or start == low:
            return found
        step *= 16
    return None


def _last_in(consumer: Consumer, where: str) -> Link | None:
    found: Link | None = None
    until = time.monotonic() + _STALL_S
    while time.monotonic() < until:
        for message in consumer.consume(1_000, timeout=0.1):
            error = message.error()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    return found
                raise kafka_failure(error, f"last link of {where}")
            until = time.monotonic() + _STALL_S
            stated = stated_of(message)
            found = stated.link if stated is not None else found
    raise RetryableError(f"{where}: reading its last records stalled for {_STALL_S:.0f} s; is the broker up?", 1_000)
