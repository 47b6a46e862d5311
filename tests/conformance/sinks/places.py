"""The places that sinks write to, as the conformance suite sees them.

A new sink adds one class and one row of ``PLACES``; what it cannot do is a waiver with its reason. A place is made by its fixture of the
same name in ``conftest.py``.
"""

from __future__ import annotations

import io
import json
import os
import resource
import signal
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

import fastavro
import polars as pl
import psycopg
from confluent_kafka import Consumer, TopicPartition

from schemas import avro
from schemas.codec.avro import encode_avro
from schemas.frames import output_schema
from schemas.topics import OUTPUTS
from sinks.contract import OutputBatch, Sink
from sinks.files import EMBEDDED, FilesSink
from sinks.kafka import KafkaSink
from sinks.migrate import migrate
from sinks.tables import stored_tables
from sinks.timescale import TimescaleSink
from streams.embedded.child import descendants
from streams.embedded.kafka import KafkaBroker
from streams.embedded.postgres import PostgresServer
from streams.patience import Patience
from streams.stop import Stop

#: Fixture names.
PLACES = ("timescale_place", "files_place", "kafka_place", "qdrant_edge_place", "qdrant_local_place", "qdrant_server_place")


class Place(Protocol):
    """One sink with the means to look behind it and to take it away."""

    #: Name of a test of the suite -> why it does not hold here.
    waivers: Mapping[str, str]

    def sink(self) -> Sink:
        """Gives a new sink on the same place, as a restarted process has it."""
        ...

    def read(self, sink: Sink) -> dict[str, pl.DataFrame]:
        """Gives what a reader finds, by topic; the id columns are those of the topic. Lanes are closed before; nothing is written after."""
        ...

    def kept(self, topic: str, frame: pl.DataFrame) -> pl.DataFrame:
        """Gives what a reader is to find of these records, as ``read`` gives it."""
        ...

    def poisoned(self, batch: OutputBatch) -> OutputBatch:
        """Gives the batch with one record that the place refuses, as late in the write as can be."""
        ...

    def away(self) -> AbstractContextManager[None]:
        """Takes the place away, cutting open connections."""
        ...

    def hanging(self) -> AbstractContextManager[None]:
        """Makes the place accept everything and answer nothing."""
        ...


class TimescalePlace:
    """A database of a server that belongs to the suite, with plain tables."""

    waivers: Mapping[str, str] = {}

    def __init__(self, server: PostgresServer, dsn: str) -> None:
        self.server = server
        self.dsn = dsn
        migrate(dsn)

    def sink(self) -> TimescaleSink:
        return TimescaleSink(self.dsn, connect_deadline_s=5.0)

    def read(self, sink: Sink) -> dict[str, pl.DataFrame]:
        return {topic: read_table(self.dsn, topic) for topic in sink.topics}

    def kept(self, topic: str, frame: pl.DataFrame) -> pl.DataFrame:
        return frame

    def poisoned(self, batch: OutputBatch) -> OutputBatch:
        last = list(stored_tables())[-1]
        return {**batch, last: batch[last].with_columns(pl.lit(None, dtype=pl.String).alias("policy_id"))}

    @contextmanager
    def away(self) -> Iterator[None]:
        self.server.kill()
        try:
            yield
        finally:
            self.server.start()

    @contextmanager
    def hanging(self) -> Iterator[None]:
        with stopped(self.server):
            yield


class FilesPlace:
    """A directory."""

    waivers: Mapping[str, str] = {
        "test_a_hanging_sink_raises_by_the_deadline": "a write to a local disk cannot be given up; the sink is for debugging and golden tests",
    }

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def sink(self) -> FilesSink:
        return FilesSink(self.directory)

    def read(self, sink: Sink) -> dict[str, pl.DataFrame]:
        assert isinstance(sink, FilesSink)
        return {path.stem: read_jsonl(path) for path in sink.publish()}

    def kept(self, topic: str, frame: pl.DataFrame) -> pl.DataFrame:
        return frame

    def poisoned(self, batch: OutputBatch) -> OutputBatch:
        broken = pl.lit('{"not": json').alias("attributes")
        return {**batch, "enriched_events": batch["enriched_events"].with_columns(broken)}

    @contextmanager
    def away(self) -> Iterator[None]:
        """A disk without room: files of this process may not grow past what the parts have now."""
        room = max(part.stat().st_size for part in self.directory.glob(".*.part"))
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    def hanging(self) -> AbstractContextManager[None]:
        raise NotImplementedError(self.waivers["test_a_hanging_sink_raises_by_the_deadline"])


class KafkaPlace:
    """Topics of a broker that belongs to the suite."""

    waivers: Mapping[str, str] = {}
    partitions = 4

    def __init__(self, broker: KafkaBroker, prefix: str) -> None:
        self.broker = broker
        self.prefix = prefix
        broker.create_topics({prefix + topic: self.partitions for topic in OUTPUTS})

    def sink(self) -> KafkaSink:
        client = {"bootstrap.servers": self.broker.bootstrap, "log_level": 0}
        made = KafkaSink(self.prefix, client, dict.fromkeys(OUTPUTS, self.partitions), self.encode, self.prefix)
        Patience().persist(made.begin, Stop(), lambda _: None)  # a new topic's leader is known a moment later
        return made

    @staticmethod
    def encode(topic: str, frame: pl.DataFrame) -> list[bytes]:
        return encode_avro(frame, OUTPUTS[topic].schema, 1)

    def read(self, sink: Sink) -> dict[str, pl.DataFrame]:
        # What a lane left undecided or open is ended by its successor; a reader of committed records waits for that.
        Patience().persist(lambda: sink.open_lane(0, 1, sink.begin()), Stop(), lambda _: None).close()
        return {topic: read_topic(self.broker.bootstrap, self.prefix, topic, self.partitions) for topic in sink.topics}

    def kept(self, topic: str, frame: pl.DataFrame) -> pl.DataFrame:
        return frame

    def poisoned(self, batch: OutputBatch) -> OutputBatch:
        last = list(batch)[-1]
        column = OUTPUTS[last].id_columns[0]
        return {**batch, last: batch[last].with_columns(pl.when(pl.int_range(pl.len()) < pl.len() - 1).then(pl.col(column)).alias(column))}

    @contextmanager
    def away(self) -> Iterator[None]:
        self.broker.kill()
        try:
            yield
        finally:
            self.broker.restart()

    @contextmanager
    def hanging(self) -> Iterator[None]:
        with stopped(self.broker):
            yield


def read_topic(bootstrap: str, prefix: str, topic: str, partitions: int) -> pl.DataFrame:
    """Gives a topic's committed records as its output frame."""
    settings = {"bootstrap.servers": bootstrap, "group.id": "reader", "isolation.level": "read_committed"}
    consumer = Consumer({**settings, "enable.partition.eof": True, "auto.offset.reset": "earliest"})
    consumer.assign([TopicPartition(prefix + topic, partition, 0) for partition in range(partitions)])
    # Without logical types, for times stay milliseconds in frames.
    text = avro.text(OUTPUTS[topic].schema).replace('"logicalType"', '"was"')
    parsed = fastavro.parse_schema(json.loads(text))
    rows: list[list[object]] = []
    ended: set[int | None] = set()
    while len(ended) < partitions:
        for message in consumer.consume(500, timeout=0.2):
            if message.error():
                ended.add(message.partition())
                continue
            found = fastavro.schemaless_reader(io.BytesIO(bytes(message.value() or b"")[5:]), parsed, None)
            assert isinstance(found, dict)
            rows.append(list(found.values()))
    consumer.close()
    return pl.DataFrame(rows, schema=output_schema(topic), orient="row")


@contextmanager
def stopped(server: PostgresServer | KafkaBroker) -> Iterator[None]:
    """Stops all processes of the server (SIGSTOP), so that the kernel accepts connections and nobody answers."""
    assert server.pid is not None
    family = [server.pid, *descendants(server.pid)]
    for pid in family:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in family:
            os.kill(pid, signal.SIGCONT)


def read_table(dsn: str, topic: str) -> pl.DataFrame:
    """Gives a topic's table as its output frame."""
    schema = output_schema(topic)
    names = ", ".join(f'"{name}"' for name in schema)
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(f"SELECT {names} FROM {stored_tables()[topic].name}".encode()).fetchall()
    plain = [[int(value.timestamp() * 1000) if hasattr(value, "timestamp") else value for value in row] for row in rows]
    return pl.DataFrame(plain, schema=schema, orient="row")


def read_jsonl(path: Path) -> pl.DataFrame:
    """Gives a topic's file as its output frame."""
    schema = output_schema(path.stem)
    rows = [json.loads(line) for line in path.read_text("utf-8").split("\n")[:-1]]
    assert all(list(row) == schema.names() for row in rows)
    for row in rows:
        for name in set(EMBEDDED) & set(row):
            row[name] = None if row[name] is None else json.dumps(row[name], separators=(",", ":"), ensure_ascii=False)
    return pl.DataFrame(rows, schema=schema)
