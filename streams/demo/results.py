"""What came out of the demo, read back from Kafka and PostgreSQL, and compared with what was sent."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import psycopg
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from schemas.errors import FatalError
from schemas.topics import ID_HEADER
from sinks.errors import kafka_failure
from streams.fleet import Book
from streams.fleet.book import RAW_MARK
from streams.telemetry import Totals

_READ_DEADLINE_S: Final = 60.0
_WINDOWS: Final = "select extract(epoch from window_start)::bigint * 1000, sum(events)::bigint from metric_windows group by 1"
_P95: Final = """
    select agent_id, sum(events)::bigint, sum(errors)::bigint, max(latency_p95_us) / 1000
    from metric_windows where window_start > (select max(window_start) from metric_windows) - interval '30 seconds'
    group by 1 order by 4 desc nulls last limit %s
"""


@dataclass(frozen=True, slots=True)
class ReadBack:
    """What a topic holds, read committed.

    Attributes:
        messages: Messages in it.
        ids: Different ids among them.
        raw: Messages that hold an unmasked address of the fleet.
    """

    messages: int
    ids: int
    raw: int


@dataclass(frozen=True, slots=True)
class Check:
    """One number of the summary beside what it must be."""

    claim: str
    expected: object
    found: object

    @property
    def holds(self) -> bool:
        """Whether the two are equal."""
        return self.expected == self.found


@dataclass(frozen=True, slots=True)
class AgentLine:
    """One agent in the last half minute of event time."""

    agent_id: str
    events: int
    errors: int
    p95_ms: float | None


def slowest_agents(connection: psycopg.Connection, count: int) -> list[AgentLine]:
    """Gives the agents with the highest p95 latency, from the metric windows of the last 30 s of event time."""
    return [AgentLine(*row) for row in connection.execute(_P95, (count,)).fetchall()]


def window_counts(connection: psycopg.Connection) -> Counter[int]:
    """Gives the events counted in each window, all agents together, by its start in ms."""
    return Counter(dict(connection.execute(_WINDOWS).fetchall()))


def table_count(connection: psycopg.Connection, where: str) -> int:
    """Gives the rows of dead_letters with a disposition."""
    row = connection.execute("select count(*) from dead_letters where disposition = %s", (where,)).fetchone()
    return int(row[0]) if row is not None else 0


def read_topic(client: Mapping[str, str], topic: str, partitions: int) -> ReadBack:
    """Reads a topic from its beginning to the end that it has now, read committed.

    Raises:
        FatalError: The end was not reached in time.
    """
    settings = {"group.id": "headrace-demo-check", "isolation.level": "read_committed", "enable.partition.eof": True, "enable.auto.commit": False}
    consumer = Consumer({**client, **settings, "auto.offset.reset": "earliest"})
    ids: set[str | bytes | None] = set()
    messages = raw = 0
    ended: set[int] = set()
    try:
        consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
        until = time.monotonic() + _READ_DEADLINE_S
        while len(ended) < partitions:
            if time.monotonic() > until:
                raise FatalError(f"topic {topic}: its end was not reached within {_READ_DEADLINE_S:.0f} s; check the broker")
            for message in consumer.consume(4_096, timeout=0.5):
                error = message.error()
                if error is not None and error.code() == KafkaError._PARTITION_EOF:
                    ended.add(message.partition() or 0)
                elif error is not None:
                    raise kafka_failure(error, f"reading {topic}")
                else:
                    messages += 1
                    ids.add(_header(message, ID_HEADER))
                    raw += RAW_MARK in (message.value() or b"") or RAW_MARK in (message.key() or b"")
    finally:
        consumer.close()
    return ReadBack(messages, len(ids), raw)


def _header(message: Message, name: str) -> str | bytes | None:
    headers = message.headers() or []
    return dict(headers).get(name)


def checks(book: Book, totals: Totals, windows: Mapping[int, int], enriched: ReadBack | None, dead_rows: int) -> Iterator[Check]:
    """Gives every number of the summary beside what was sent.

    Args:
        book: What was sent.
        totals: What the pipeline counted.
        windows: Events by window start, from PostgreSQL.
        enriched: The topic of enriched events as read back; None where the mock cannot hold it.
        dead_rows: Dead letters in PostgreSQL.
    """
    dead = {code: count for code, count in totals.each("dead_letters_total", "code").items() if count}
    passed, left_out = totals.by("events_total", outcome="passed"), totals.by("filtered_total")
    yield Check("records read = records sent", book.total, totals.by("events_total", outcome="polled"))
    yield Check("sent = enriched + dead + duplicates", book.total, passed + sum(dead.values()) + left_out)
    yield Check("enriched events", book.passed.total(), passed)
    yield Check("duplicates left out", book.filtered.total(), left_out)
    yield Check("dead letters by code", dict(sorted(book.dead.items())), dict(sorted(dead.items())))
    yield Check("dead letters in PostgreSQL", book.dead.total(), dead_rows)
    yield Check("decisions", book.passed.total(), totals.by("verdicts_total"))
    yield Check("addresses were masked", book.addresses > 0, totals.each("masked_entities_total", "entity").get("EMAIL_ADDRESS", 0) > 0)
    yield Check("late events", book.late, totals.by("late_events_total"))
    yield Check("windows", len(book.windows), len(windows))
    yield Check("events in windows", book.windows.total(), sum(windows.values()))
    yield Check("windows whose count differs", 0, sum(windows.get(start, 0) != count for start, count in book.windows.items()))
    if enriched is not None:
        yield Check("enriched events in Kafka, read committed", book.passed.total(), enriched.messages)
        yield Check("different ids among them", book.passed.total(), enriched.ids)
        yield Check("enriched events with an unmasked address", 0, enriched.raw)
