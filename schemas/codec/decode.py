"""Raw records to events: the format is told per record by its first byte, and what cannot be read becomes a dead letter by its coordinates."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final, Protocol

import numpy as np
import polars as pl

from schemas.codec.avro import HEADER_BYTES, WriterSchema, read_avro, writer_schema
from schemas.codec.columns import to_events
from schemas.codec.json import read_json
from schemas.codec.rejects import ROW, Rejects, dead_frame, redriven_from, safe_traceparent
from schemas.codec.shapes import Shape, shape_of
from schemas.errors import BytesInvalid, ConfigError, FatalError, FieldMissing, RecordOversized, SchemaUnknown
from schemas.events import DEAD
from schemas.limits import Limits
from schemas.topics import INPUTS

_DIGEST_BYTES: Final = 8
_DIGEST_KEY_BYTES_MIN: Final = 16
#: Keeps these digests apart from whatever else the same key is used for.
_DIGEST_PURPOSE: Final = b"headrace.content"


class SchemaSource(Protocol):
    """What the decoder needs of a registry."""

    def schema(self, schema_id: int) -> str:
        """Gives the text of a schema; raises SchemaUnknown, or RetryableError while the registry is away."""
        ...


@dataclass(frozen=True, slots=True)
class Decoded:
    """What became of a raw batch: every record is in exactly one of the two, in the order of the batch.

    Attributes:
        events: Schema EVENT. Raw: nothing is masked yet.
        dead: Schema DEAD.
    """

    events: pl.DataFrame
    dead: pl.DataFrame


@dataclass(frozen=True, slots=True)
class DecodeSettings:
    """What the decoder is built from.

    Attributes:
        limits: Limits on one record.
        digest_key: Key of ``content_digest``, 16 bytes or more, the same for every run over the same log.
        registry: Where writers' schemas come from; None where only JSON is taken.
        topics: Input topics whose records it will see.
    """

    limits: Limits
    digest_key: bytes = field(repr=False)
    registry: SchemaSource | None = None
    topics: tuple[str, ...] = tuple(INPUTS)


class RecordDecoder:
    """Decodes raw batches of several topics and both formats.

    A record whose first byte is 0 is Avro in Confluent wire format where there is a registry; anything else is JSON. Equal input gives equal output;
    what it remembers between batches is only which schema ids were found readable.
    """

    def __init__(self, settings: DecodeSettings) -> None:
        unknown = sorted(set(settings.topics) - set(INPUTS))
        problems = [f"topic {name}: no input schema; want some of {', '.join(INPUTS)}" for name in unknown]
        if len(settings.digest_key) < _DIGEST_KEY_BYTES_MIN:
            problems.append(f"digest key: want {_DIGEST_KEY_BYTES_MIN} bytes or more, got {len(settings.digest_key)}")
        if problems:
            raise ConfigError(*problems)
        self._settings = settings
        self._shapes = {name: shape_of(name) for name in settings.topics}
        key = blake2b(settings.digest_key, digest_size=32, person=_DIGEST_PURPOSE).digest()
        self._hash = blake2b(digest_size=_DIGEST_BYTES, key=key)
        self._writers: dict[tuple[str, int], WriterSchema] = {}

    def __call__(self, raw: pl.DataFrame) -> Decoded:
        """Decodes one batch of schema RAW.

        Raises:
            RetryableError: The registry is away and a schema id is new: nothing was decoded, the same batch can come again.
            FatalError: A record of a topic that the decoder was not built for: a fault of the shell.
        """
        raw = raw.with_row_index(ROW)
        rejects, sized = self._size_up(raw)
        by_topic = {topic: rows for (topic,), rows in sized.partition_by("topic", maintain_order=True, as_dict=True).items()}
        strangers = by_topic.keys() - self._shapes.keys()
        if strangers:
            raise FatalError(f"records of {len(strangers)} topics that this decoder was not built for; built for {', '.join(self._shapes)}")
        parts: dict[Shape, list[pl.DataFrame]] = {}
        for topic, rows in by_topic.items():
            shape = self._shapes[topic]
            for wide, unread in self._read(rows, shape):
                if unread.rows:
                    rejects.append(unread.frame())
                parts.setdefault(shape, []).append(wide)
        events, bad = to_events(parts, self._with_digest(sized), self._settings.limits)
        if not bad.is_empty():
            rejects.append(bad)
        return Decoded(events, dead_frame(raw, pl.concat(rejects)) if rejects else DEAD.to_frame())

    def _size_up(self, raw: pl.DataFrame) -> tuple[list[pl.DataFrame], pl.DataFrame]:
        """Gives the rejects and the rest after looking at sizes alone."""
        bytes_max = self._settings.limits.record_bytes_max
        sized = raw.with_columns(value_bytes=pl.col("value").bin.size().cast(pl.Int64))
        beyond = sized.filter(pl.col("value_bytes").is_null() | (pl.col("value_bytes") > bytes_max))
        if beyond.is_empty():
            return [], sized
        rejects = Rejects()
        for row, size in beyond.select(ROW, "value_bytes").iter_rows():
            if size is None:
                rejects.add(row, FieldMissing("record: want a value, got none (a tombstone); send the event"))
            else:
                rejects.add(row, RecordOversized(f"record: want at most {bytes_max} bytes, got {size}; send less content or raise the limit"))
        return [rejects.frame()], sized.filter(pl.col("value_bytes") <= bytes_max)

    def _read(self, rows: pl.DataFrame, shape: Shape) -> list[tuple[pl.DataFrame, Rejects]]:
        """Gives a wide frame and the rejects for every group of records that are read alike."""
        is_avro = rows["value"].bin.starts_with(b"\x00")
        text = rows.filter(~is_avro) if is_avro.any() else rows
        read: list[tuple[pl.DataFrame, Rejects]] = []
        if not text.is_empty():
            read.append(read_json(text["value"], text[ROW].to_list(), shape, self._settings.limits))
        if text.height < rows.height:
            read += self._read_avro(rows.filter(is_avro), shape)
        return read

    def _read_avro(self, rows: pl.DataFrame, shape: Shape) -> list[tuple[pl.DataFrame, Rejects]]:
        read: list[tuple[pl.DataFrame, Rejects]] = []
        header = pl.col("value").bin
        identified = rows.with_columns(
            schema_id=pl.when(pl.col("value_bytes") >= HEADER_BYTES).then(header.slice(1, 4).bin.reinterpret(dtype=pl.UInt32, endianness="big")),
            datum=header.slice(HEADER_BYTES),
        )
        for (schema_id,), group in identified.group_by("schema_id", maintain_order=True):
            numbers: list[int] = group[ROW].to_list()
            try:
                writer = self._writer(schema_id, shape)
            except (BytesInvalid, SchemaUnknown) as error:
                rejects = Rejects()
                for row in numbers:
                    rejects.add(row, error)
                read.append((pl.DataFrame(), rejects))
            else:
                read.append(read_avro(group["datum"].to_list(), numbers, writer, shape, self._settings.limits.nesting_depth_max))
        return read

    def _writer(self, schema_id: int | None, shape: Shape) -> WriterSchema:
        registry = self._settings.registry
        if registry is None:
            raise BytesInvalid("record: want JSON, got Avro wire format and no schema registry is configured; configure one")
        if schema_id is None:
            raise BytesInvalid(f"record: want {HEADER_BYTES} bytes of Avro wire format or more, got fewer; check what the producer writes")
        known = self._writers.get((shape.schema, schema_id))
        if known is None:
            known = writer_schema(registry.schema(schema_id), shape, schema_id)
            self._writers[shape.schema, schema_id] = known
        return known

    def _with_digest(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Adds ``content_digest`` and drops what events must not carry (the value, the key, a header that is no trace context)."""
        digests = b"".join(self._digest(value) for value in rows["value"])
        return rows.select(
            ROW, "topic", "partition", "offset", "kafka_time", safe_traceparent(), "value_bytes",
            pl.Series("content_digest", np.frombuffer(digests, dtype="<i8")), redriven_from(rows),
        )  # fmt: skip

    def _digest(self, value: bytes) -> bytes:
        digest = self._hash.copy()
        digest.update(value)
        return digest.digest()
