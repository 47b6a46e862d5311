"""The load generator, a process of its own: a frozen corpus to Kafka, as fast as it goes or at a rate.

Prints one line of JSON at the end: records acknowledged and seconds.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from itertools import islice

from confluent_kafka import KafkaError, Message, Producer

from streams.fleet.corpora import CorpusRecord, corpus

#: Records between looks at the clock when a rate is held: at 10,000 a second, a millisecond.
_STRIDE = 10
_FLUSH_S = 60.0


class Acknowledged:
    """Counts records that Kafka has taken; the first failure ends the load."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            raise SystemExit(f"load: a record was not taken: {error.str()}")
        self.count += 1


def paced(records: Iterator[CorpusRecord], rate: float | None, producer: Producer) -> Iterator[CorpusRecord]:
    """Gives records when they are due; serves the producer while it waits."""
    begin = time.monotonic()
    for index, record in enumerate(records):
        if index % _STRIDE == 0:
            producer.poll(0)
            while rate is not None and (ahead_s := begin + index / rate - time.monotonic()) > 0:
                time.sleep(min(ahead_s, 0.05))
                producer.poll(0)
        yield record


def main() -> None:
    """Produces what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--prefix", default="", help="stands before each input topic's name")
    parser.add_argument("--topic", help="one topic for all records, instead of a topic for each kind")
    parser.add_argument("--corpus", required=True, choices=("fleet", "distinct"))
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--first", type=int, default=0, help="index of the first record")
    parser.add_argument("--rate", type=float, help="records a second; absent: as fast as it goes")
    parser.add_argument("--start-ms", type=int, required=True, help="event time of record 0")
    parser.add_argument("--per-second", type=float, required=True, help="records that share a second of event time")
    parser.add_argument("--stamp-event-time", action="store_true", help="the Kafka timestamp is the event time, not now")
    given = parser.parse_args()
    producer = Producer(
        {
            "bootstrap.servers": given.bootstrap,
            "acks": "all",
            "enable.idempotence": True,
            "compression.type": "lz4",
            "linger.ms": 5,
            "partitioner": "murmur2_random",
        }
    )
    acknowledged = Acknowledged()
    records = islice(corpus(given.corpus).records(given.start_ms, given.per_second, given.first), given.count)
    begin = time.monotonic()
    for index, record in enumerate(paced(records, given.rate, producer), start=given.first):
        topic = given.topic or given.prefix + record.topic
        stamp = {"timestamp": given.start_ms + int(index * 1_000 / given.per_second)} if given.stamp_event_time else {}
        while True:
            try:
                producer.produce(topic, record.value, record.key, on_delivery=acknowledged, **stamp)
                break
            except BufferError:
                producer.poll(0.05)
    left = producer.flush(_FLUSH_S)
    if left or acknowledged.count != given.count:
        raise SystemExit(f"load: {given.count} records are required, {acknowledged.count} were taken")
    print(json.dumps({"records": acknowledged.count, "seconds": time.monotonic() - begin}))


if __name__ == "__main__":
    main()
