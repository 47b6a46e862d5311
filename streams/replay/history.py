"""History on Kafka: what lies on topics between two times, read without a group, a commit or a write."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

import fastavro
import polars as pl

from schemas import avro
from schemas.events import MASKED_SPAN
from schemas.frames import frame_schema
from schemas.registry import SchemaRegistry
from schemas.topics import OUTPUTS
from streams.batch import Partition
from streams.sources import KafkaInput, KafkaReader
from streams.stop import Stop

_REST_S: Final = 0.02
#: A zero byte and the schema's id in four.
_FRAMING_BYTES: Final = 5
#: Field of enriched events before version 5, in the place of ``masked_spans``.
_SPANS_AS_TEXT: Final = "masked"
_ENDS: Final = {"topic": pl.String, "partition": pl.Int32, "end": pl.Int64}


@dataclass(frozen=True, slots=True)
class History:
    """Records of topics by partition, from an offset up to another.

    Attributes:
        source: Where they lie.
        begin: First offset, by partition.
        end: Offset behind the last, by partition.
    """

    source: KafkaInput
    begin: Mapping[Partition, int]
    end: Mapping[Partition, int]

    @classmethod
    def between(cls, source: KafkaInput, from_ms: int, to_ms: int | None) -> History:
        """Gives what was written at or after one time and before another (None: up to now), by the times of Kafka."""
        partitions = source.partitions()
        end = source.start_offsets(partitions, "latest" if to_ms is None else _time(to_ms))
        return cls(source, source.start_offsets(partitions, _time(from_ms)), end)

    @property
    def records(self) -> int:
        """Offsets in the range: records, and marks of transactions among them."""
        return sum(max(0, self.end[partition] - offset) for partition, offset in self.begin.items())

    def frames(self, rows_max: int) -> Iterator[pl.DataFrame]:
        """Gives the records as RAW frames, each partition's in the order of its log."""
        left = {partition: offset for partition, offset in self.begin.items() if offset < self.end[partition]}
        if not left:
            return
        stop = Stop()
        ends = pl.DataFrame([(topic, partition, self.end[topic, partition]) for topic, partition in left], schema=_ENDS, orient="row")
        with closing(KafkaReader(self.source, left)) as reader:
            while any(reader.offsets[partition] < self.end[partition] for partition in left):
                raw = reader.poll(rows_max)
                if not raw.height:
                    stop.wait(_REST_S)
                    continue
                inside = raw.join(ends, on=["topic", "partition"], how="left", maintain_order="left").filter(pl.col("offset") < pl.col("end"))
                if inside.height:
                    yield inside.drop("end")


def enriched_frames(source: KafkaInput, registry: SchemaRegistry, from_ms: int, columns: Sequence[str], rows_max: int) -> Iterator[pl.DataFrame]:
    """Gives what the run published about events since a time, some columns of it.

    An event is published after it was written, so the range has no other end than now.
    """
    topic = OUTPUTS["enriched_events"]
    schema = {name: frame_schema(topic.schema)[name] for name in columns}
    reader = json.loads(avro.text(topic.schema))
    writers: dict[int, Any] = {}

    def row(value: bytes) -> list[Any]:
        schema_id = int.from_bytes(value[1:_FRAMING_BYTES])
        if schema_id not in writers:
            writers[schema_id] = json.loads(registry.schema(schema_id))
        datum, writer = value[_FRAMING_BYTES:], writers[schema_id]
        read: Any = fastavro.schemaless_reader(io.BytesIO(datum), writer, reader)
        if any(field["name"] == _SPANS_AS_TEXT for field in writer["fields"]):
            told: Any = fastavro.schemaless_reader(io.BytesIO(datum), writer, None)
            read["masked_spans"] = _spans(told[_SPANS_AS_TEXT])
        return [read[name] for name in columns]

    for raw in History.between(replace(source, topics=(topic.name,)), from_ms, None).frames(rows_max):
        yield pl.DataFrame([row(value) for value in raw["value"]], schema=schema, orient="row")


def _spans(text: str | None) -> list[dict[str, Any]] | None:
    """Gives what was masked, of an event that tells it as JSON text ``[[entity, column, path, score, recogniser], ...]``, the last perhaps absent."""
    names = [field.name for field in MASKED_SPAN.fields]
    return None if text is None else [dict(zip(names, [*span, ""], strict=False)) for span in json.loads(text)]


def _time(millis: int) -> datetime:
    return datetime.fromtimestamp(millis / 1000, UTC)
