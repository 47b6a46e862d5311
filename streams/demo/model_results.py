"""What the models did in the demo, read back from Kafka and from the vector store, and compared."""

from __future__ import annotations

import io
import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import fastavro
import polars as pl
from confluent_kafka import Consumer, KafkaError, TopicPartition

from schemas import avro
from schemas.errors import FatalError
from schemas.frames import output_schema
from schemas.topics import OUTPUTS
from sinks.errors import kafka_failure
from sinks.step_texts import TextRule, chosen
from sinks.vectors import VectorStore
from streams.demo.results import Check
from streams.telemetry import Totals

TOPIC: Final = "enriched_events"
_READ_DEADLINE_S: Final = 60.0
_STORE_DEADLINE_S: Final = 10.0
#: Bytes before an Avro value in Confluent wire format.
_HEADER_BYTES: Final = 5


@dataclass(frozen=True, slots=True)
class Stored:
    """What the vector store holds beside what it is to hold.

    Attributes:
        points: Points in the collection.
        qualifying: Different events in Kafka that the rule chooses; None where Kafka was not read.
        missing: Of these, those without a point.
    """

    points: int
    qualifying: int | None
    missing: int


def read_events(client: Mapping[str, str], partitions: int) -> pl.DataFrame:
    """Reads the enriched events from the beginning of their topic to the end that it has now, read committed.

    Raises:
        FatalError: The end was not reached in time.
    """
    # Without logical types, for times stay milliseconds in frames.
    parsed = fastavro.parse_schema(json.loads(avro.text(OUTPUTS[TOPIC].schema).replace('"logicalType"', '"was"')))
    settings = {"group.id": "headrace-demo-events", "isolation.level": "read_committed", "enable.partition.eof": True, "enable.auto.commit": False}
    consumer = Consumer({**client, **settings, "auto.offset.reset": "earliest"})
    rows: list[dict[str, Any]] = []
    ended: set[int] = set()
    try:
        consumer.assign([TopicPartition(TOPIC, partition, 0) for partition in range(partitions)])
        until = time.monotonic() + _READ_DEADLINE_S
        while len(ended) < partitions:
            if time.monotonic() > until:
                raise FatalError(f"topic {TOPIC}: its end was not reached within {_READ_DEADLINE_S:.0f} s; check the broker")
            for message in consumer.consume(1_024, timeout=0.5):
                error = message.error()
                if error is not None and error.code() == KafkaError._PARTITION_EOF:
                    ended.add(message.partition() or 0)
                elif error is not None:
                    raise kafka_failure(error, f"reading {TOPIC}")
                else:
                    found = fastavro.schemaless_reader(io.BytesIO(bytes(message.value() or b"")[_HEADER_BYTES:]), parsed, None)
                    assert isinstance(found, dict)
                    rows.append(found)
    finally:
        consumer.close()
    return pl.DataFrame(rows, schema=output_schema(TOPIC))


def stored(store: VectorStore, events: pl.DataFrame | None, rule: TextRule) -> Stored:
    """Compares the vector store with the events in Kafka."""
    points = store.count(_STORE_DEADLINE_S)
    if events is None:
        return Stored(points, None, 0)
    ids = [str(uuid.UUID(hex=uid)) for uid in chosen(events, rule).payloads]
    return Stored(points, len(ids), len(ids) - len(store.known(ids, _STORE_DEADLINE_S)))


def model_checks(totals: Totals, found: Stored) -> Iterator[Check]:
    """Gives the numbers of a demo with models beside what they must be."""
    answered = {model: totals.by("model_texts_total", model=model, answer="ok") for model in ("pii_tagger", "guard", "embedder")}
    for model, texts in answered.items():
        yield Check(f"texts answered by {model}, more than none", True, texts > 0)
    yield Check("names of people were masked", True, totals.each("masked_entities_total", "entity").get("PERSON", 0) > 0)
    hits = totals.each("rule_hits_total", "rule")
    yield Check("attacks that a model flagged, more than none", True, sum(hits.get(f"scores.{label}", 0) for label in ("injection", "jailbreak")) > 0)
    yield Check("events that did without a model", 0, totals.by("degraded_events_total"))
    yield Check("vectors written = points in Qdrant", totals.by("sink_rows_total", sink="qdrant", result="written"), found.points)
    yield Check("events kept out of Qdrant as unmasked", 0, totals.by("sink_rows_total", sink="qdrant", result="unmasked"))
    if found.qualifying is not None:
        yield Check("points in Qdrant = enriched events in Kafka that qualify", found.qualifying, found.points)
        yield Check("qualifying events without a point", 0, found.missing)


def flagged(events: pl.DataFrame, count: int) -> Sequence[Mapping[str, Any]]:
    """Gives the events with the highest score for injection or jailbreak, with what policy made of them."""
    scored = events.filter(pl.col("scored_by").is_not_null())
    highest = pl.max_horizontal("injection_ppm", "jailbreak_ppm").alias("score_ppm")
    return scored.with_columns(highest).sort("score_ppm", descending=True).head(count).to_dicts()
