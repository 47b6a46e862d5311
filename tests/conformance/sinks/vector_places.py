"""The places that keep vectors: Qdrant's engine in process, the client's local mode, and a server behind a relay that can be cut."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import qdrant_edge as edge
from numpy.typing import NDArray
from qdrant_client import QdrantClient

from schemas.errors import RetryableError
from schemas.frames import output_schema
from sinks.contract import OutputBatch, Sink
from sinks.qdrant import TOPIC, QdrantSink
from sinks.step_texts import TextRule
from sinks.vector_client import LocalBackend, ServerBackend
from sinks.vector_edge import EdgeBackend
from sinks.vectors import VectorBackend
from tests.fixtures.embedder import embed
from tests.fixtures.outputs import _TEXTS
from tests.fixtures.relay import Relay

COLLECTION = "agent_steps"
CONTENT = ("input", "output", "error")
#: The kinds that made records have.
RULE = TextRule(columns=dict.fromkeys(_TEXTS, CONTENT), chars_min=1)
COLUMNS = ("event_uid", "agent_id", "session_id", "kind", "event_time", "verdict", "topic", "partition", "offset")
SCHEMA = pl.Schema({**{name: output_schema(TOPIC)[name] for name in COLUMNS}, "text": pl.String()})

_NO_REVISIONS = "it takes events, of which one id has one content; there is nothing to choose between"
_NOT_GIVEN_UP = "a call into the engine of this process cannot be given up; what can hang, the embedder, is given the deadline"


class _Vectors:
    """What the three have in common."""

    collection = COLLECTION

    def __init__(self, backend: VectorBackend) -> None:
        self.backend = backend
        self._model_away = False
        backend.prepare(10.0)

    def embed(self, texts: Sequence[str], deadline_s: float, keys: Sequence[str] | None = None) -> NDArray[np.float32]:
        if self._model_away:
            raise RetryableError("the embedder is away", 1)
        return embed(texts, deadline_s, keys)

    def sink(self) -> QdrantSink:
        return QdrantSink(self.backend, self.embed, RULE, open_deadline_s=2.0)

    def points(self) -> dict[str, dict[str, Any]]:
        """Gives the payload of every point by its id."""
        raise NotImplementedError

    def read(self, sink: Sink) -> dict[str, pl.DataFrame]:
        rows = [{**{name: payload.get(name) for name in SCHEMA}, "event_uid": uuid.UUID(point).hex} for point, payload in self.points().items()]
        return {TOPIC: pl.DataFrame(rows, schema=SCHEMA)}

    def kept(self, topic: str, frame: pl.DataFrame) -> pl.DataFrame:
        """Only records with a string somewhere in what is embedded; the strings of the made records are one a column."""
        texts = ["\n".join(text for column in CONTENT if (text := _string_in(row[column])) is not None) for row in frame.iter_rows(named=True)]
        rows = frame.select(COLUMNS).with_columns(pl.Series("text", texts, dtype=pl.String))
        return rows.filter(pl.col("text") != "")

    def poisoned(self, batch: OutputBatch) -> OutputBatch:
        frame = batch[TOPIC]
        broken = pl.when(pl.int_range(pl.len()) < pl.len() - 1).then(pl.col("output")).otherwise(pl.lit('{"not": json')).alias("output")
        return {**batch, TOPIC: frame.with_columns(broken)}

    @contextmanager
    def away(self) -> Iterator[None]:
        self._model_away = True
        try:
            yield
        finally:
            self._model_away = False

    def hanging(self) -> AbstractContextManager[None]:
        raise NotImplementedError(_NOT_GIVEN_UP)


def _string_in(content: str | None) -> str | None:
    """Gives the one string in a made record's content, as the sink is to write it."""
    value = None if content is None else json.loads(content)
    if isinstance(value, dict) and "a" in value:
        return f"a: {value['a'][2]}"
    return value if isinstance(value, str) else None


class EdgePlace(_Vectors):
    """A directory of the engine in process."""

    waivers: Mapping[str, str] = {
        "test_a_hanging_sink_raises_by_the_deadline": _NOT_GIVEN_UP,
        "test_the_highest_generation_then_revision_wins_in_any_order": _NO_REVISIONS,
    }

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        super().__init__(EdgeBackend(directory, COLLECTION))

    def points(self) -> dict[str, dict[str, Any]]:
        shard = edge.EdgeShard.load(str(self.directory / COLLECTION))
        found, _ = shard.scroll(edge.ScrollRequest(limit=100_000, with_payload=True))
        shard.close()
        return {str(record.id): dict(record.payload or {}) for record in found}


class LocalPlace(_Vectors):
    """A directory of the client's local mode."""

    waivers: Mapping[str, str] = EdgePlace.waivers

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        super().__init__(LocalBackend(directory, COLLECTION))

    def points(self) -> dict[str, dict[str, Any]]:
        client = QdrantClient(path=str(self.directory))
        found, _ = client.scroll(COLLECTION, limit=100_000, with_payload=True)
        client.close()
        return {str(record.id): dict(record.payload or {}) for record in found}


@dataclass(frozen=True, slots=True)
class Target:
    """Where a server speaks gRPC."""

    host: str
    port: int
    api_key: str | None

    def client(self) -> QdrantClient:
        """Gives a client that does not go through a relay."""
        headers = {} if self.api_key is None else {"api-key": self.api_key}
        return QdrantClient(url=f"http://{self.host}", grpc_port=self.port, prefer_grpc=True, check_compatibility=False, headers=headers)


class ServerPlace(_Vectors):
    """A collection of a server, reached through a relay."""

    waivers: Mapping[str, str] = {"test_the_highest_generation_then_revision_wins_in_any_order": _NO_REVISIONS}

    def __init__(self, target: Target, relay: Relay, collection: str) -> None:
        self.target = target
        self.relay = relay
        self.collection = collection
        super().__init__(ServerBackend(f"http://127.0.0.1:{relay.port}", relay.port, target.api_key, collection))

    def points(self) -> dict[str, dict[str, Any]]:
        client = self.target.client()
        found, _ = client.scroll(self.collection, limit=100_000, with_payload=True)
        client.close()
        return {str(record.id): dict(record.payload or {}) for record in found}

    def drop(self) -> None:
        """Deletes the collection."""
        client = self.target.client()
        client.delete_collection(self.collection)
        client.close()

    def away(self) -> AbstractContextManager[None]:
        return self.relay.away()

    def hanging(self) -> AbstractContextManager[None]:
        return self.relay.hanging()
