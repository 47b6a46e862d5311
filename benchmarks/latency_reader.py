"""A consumer of enriched events, a process of its own: how long after its production each event is seen, read committed.

The latency of an event is the time at which this process sees it, less the Kafka timestamp that the load generator gave the input record
(``kafka_time`` in the enriched event); both clocks are this machine's. Prints one line of JSON at the end.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from typing import Any

import fastavro
import numpy as np
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE as _NO_TIME
from confluent_kafka import Consumer, TopicPartition

from benchmarks.stack import PARTITIONS
from schemas import avro

_WIRE_HEADER_BYTES = 5
#: A poll returns with the first record; the rest of what has arrived is then taken without waiting.
_DRAIN_ROWS = 10_000
_QUIET_S = 15.0


def prefix_schema() -> Any:
    """Gives the enriched event's schema up to ``kafka_time``: Avro fields stand in order, so the rest need not be read."""
    schema = json.loads(avro.text("enriched_event"))
    names = [field["name"] for field in schema["fields"]]
    return fastavro.parse_schema({**schema, "fields": schema["fields"][: names.index("kafka_time") + 1]})


def seen_and_sent(consumer: Consumer, count: int) -> tuple[list[float], list[float]]:
    """Reads so many records; gives when each was seen and when it was produced, in ms."""
    schema = prefix_schema()
    seen: list[float] = []
    sent: list[float] = []
    quiet_since = time.monotonic()
    while len(seen) < count and time.monotonic() - quiet_since < _QUIET_S:
        first = consumer.poll(0.5)
        if first is None:
            continue
        messages = [first, *consumer.consume(_DRAIN_ROWS, timeout=0)]
        now_ms = time.time() * 1_000
        quiet_since = time.monotonic()
        for message in messages:
            value = message.value()
            if message.error() is not None or not isinstance(value, bytes) or message.timestamp()[0] == _NO_TIME:
                continue
            found: Any = fastavro.schemaless_reader(io.BytesIO(value[_WIRE_HEADER_BYTES:]), schema, None)
            seen.append(now_ms)
            sent.append(found["kafka_time"].timestamp() * 1_000)
    return seen, sent


def main() -> None:
    """Reads what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--warm-up-s", type=float, required=True, help="records produced in the first seconds do not count")
    given = parser.parse_args()
    consumer = Consumer({"bootstrap.servers": given.bootstrap, "group.id": "latency", "isolation.level": "read_committed"})
    consumer.assign([TopicPartition(given.topic, partition, 0) for partition in range(PARTITIONS)])
    print("reading", flush=True)
    seen, sent = (np.array(times) for times in seen_and_sent(consumer, given.count))
    consumer.close()
    kept = sent >= sent.min() + given.warm_up_s * 1_000
    latency = (seen - sent)[kept]
    second = ((sent[kept] - sent.min()) // 1_000).astype(int)
    worst = [float(np.quantile(latency[second == at], 0.99)) for at in sorted(set(second.tolist()))]
    quantiles = {f"p{permille / 10:g}": float(np.quantile(latency, permille / 1_000)) for permille in (500, 950, 990, 999)}
    print(json.dumps({"records": len(latency), "read": len(seen), **quantiles, "max": float(latency.max()), "p99 by second": worst}))


if __name__ == "__main__":
    main()
