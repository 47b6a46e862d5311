"""A collection in this process: Qdrant's own engine as a library (qdrant-edge-py), in a directory.

A write is in the engine's log when it returns and survives the death of the process; a power cut it survives after ``flush``, which a lane calls
before each snapshot. One process holds the directory; a file beside it says which. Calls end when they end: a local disk cannot be given up.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import qdrant_edge as edge

from schemas.errors import FatalError, RetryableError
from sinks.errors import RECONNECT_MS, SinkError, file_failure
from sinks.vector_errors import engine_failure
from sinks.vectors import EVERYWHERE, INDEXES, MIGRATE, VECTOR_SIZE, Found, StoredStep, Where, WrongShape, shape_problem

T = TypeVar("T")

_INDEX_TYPES: Final = {"keyword": edge.PayloadSchemaType.Keyword, "integer": edge.PayloadSchemaType.Integer}
_CONFIG_FILE: Final = "edge_config.json"


@dataclass(frozen=True, slots=True)
class EdgeBackend:
    """A collection in a directory, by the engine in process.

    Attributes:
        path: Directory of collections; made when absent.
        collection: Its name, and that of its folder.
    """

    path: Path
    collection: str

    @property
    def folder(self) -> Path:
        """Where the engine keeps the collection."""
        return self.path / self.collection

    @property
    def where(self) -> str:
        """Begins the messages about it."""
        return f"qdrant {self.folder}"

    def prepare(self, deadline_s: float) -> list[str]:
        """As ``VectorBackend.prepare`` says."""
        made = []
        lease = _leased(self)
        try:
            if not (self.folder / _CONFIG_FILE).exists():
                config = edge.EdgeConfig(vectors=edge.EdgeVectorParams(size=VECTOR_SIZE, distance=edge.Distance.Cosine))
                _asked(self.where, lambda: edge.EdgeShard.create(str(self.folder), config)).close()
                made.append(f"collection {self.collection}")
            shard = _asked(self.where, lambda: edge.EdgeShard.load(str(self.folder)))
            try:
                there = _asked(self.where, shard.info).payload_schema
                for field, kind in INDEXES.items():
                    if field not in there:
                        _asked(self.where, partial(shard.update, _index(field, kind)))
                        made.append(f"index of {field} in collection {self.collection}")
                _asked(self.where, shard.flush)
                problem = _problem(self, shard)
            finally:
                shard.close()
        finally:
            os.close(lease)
        if problem is not None:
            raise WrongShape(problem)
        return made

    def open(self, deadline_s: float) -> EdgeStore:
        """As ``VectorBackend.open`` says."""
        if not (self.folder / _CONFIG_FILE).exists():
            raise WrongShape(f"{self.where}: the collection is missing; {MIGRATE}")
        lease = _leased(self)
        try:
            store = EdgeStore(self, lease)
        except BaseException:
            os.close(lease)
            raise
        try:
            problem = _problem(self, store.shard)
        except BaseException:
            store.close()
            raise
        if problem is None:
            return store
        store.close()
        raise WrongShape(problem)


class EdgeStore:
    """An open collection. After a failure (a full disk) the engine repeats it to every later call, so the collection is loaded anew.

    Args:
        backend: Where it is.
        lease: Descriptor that holds the directory; closed with the store.
    """

    def __init__(self, backend: EdgeBackend, lease: int) -> None:
        self._backend = backend
        self._turn = threading.Lock()
        self._failed = False
        self.shard = self._load()
        self._lease: int | None = lease

    def known(self, ids: Sequence[str], deadline_s: float) -> frozenset[str]:
        """Gives those of the ids that are there."""
        wanted: list[Any] = [uuid.UUID(step_id) for step_id in ids]
        found = self._asked(lambda shard: shard.retrieve(wanted, with_payload=False, with_vector=False))
        return frozenset(str(record.id) for record in found)

    def put(self, steps: Sequence[StoredStep], deadline_s: float) -> None:
        """Writes steps by id; returns when they are in the log and applied."""
        points = [edge.Point(uuid.UUID(step.id), list(step.vector), dict(step.payload)) for step in steps]
        self._asked(lambda shard: shard.update(edge.UpdateOperation.upsert_points(points)))

    def similar(self, vector: Sequence[float], where: Where, limit: int, deadline_s: float) -> list[Found]:
        """Gives the nearest steps."""
        request = edge.QueryRequest(limit=limit, query=edge.Query.Nearest(list(vector)), with_payload=True, filter=_filter(where))
        return [Found(str(point.id), point.score, point.payload or {}) for point in self._asked(lambda shard: shard.query(request))]

    def count(self, deadline_s: float, where: Where = EVERYWHERE) -> int:
        """Gives how many steps there are."""
        return self._asked(lambda shard: shard.count(edge.CountRequest(exact=True, filter=_filter(where))))

    def remove(self, where: Where, deadline_s: float) -> None:
        """Takes steps away; returns when that is in the log and applied."""
        wanted = _filter(where)
        assert wanted is not None, "a collection is emptied by whoever owns it, not by a filter that holds nothing back"
        self._asked(lambda shard: shard.update(edge.UpdateOperation.delete_points_by_filter(wanted)))

    def flush(self) -> None:
        """Writes to the disk what the operating system holds."""
        self._asked(lambda shard: shard.flush())

    def close(self) -> None:
        """Closes the files and lets the directory go."""
        lease, self._lease = self._lease, None
        if lease is not None:
            self.shard.close()
            os.close(lease)

    def _asked(self, call: Callable[[edge.EdgeShard], T]) -> T:
        with self._turn:
            if self._failed:
                self.shard.close()
                self.shard = self._load()
            self._failed = True
            answer = _asked(self._backend.where, lambda: call(self.shard))
            self._failed = False
            return answer

    def _load(self) -> edge.EdgeShard:
        return _asked(self._backend.where, lambda: edge.EdgeShard.load(str(self._backend.folder)))


def _filter(where: Where) -> edge.Filter | None:
    must: list[Any] = [edge.FieldCondition(key=field, match=edge.MatchValue(value)) for field, value in where.matches]
    if where.has_range:
        must.append(edge.FieldCondition(key="event_time", range=edge.RangeFloat(gte=where.from_ms, lt=where.to_ms)))
    return edge.Filter(must=must) if must else None


def _index(field: str, kind: str) -> edge.UpdateOperation:
    return edge.UpdateOperation.create_field_index(field, _INDEX_TYPES[kind])


def _problem(backend: EdgeBackend, shard: edge.EdgeShard) -> str | None:
    """Gives what is wrong with the collection, None where it is right."""
    there = _asked(backend.where, shard.info).payload_schema
    indexes = {field: str(found.data_type).rpartition(".")[2].lower() for field, found in there.items()}
    # The engine does not tell the shape of its vectors; its file does.
    failure: SinkError
    try:
        params = json.loads((backend.folder / _CONFIG_FILE).read_bytes()).get("vectors", {}).get("", {})
        return shape_problem(backend.collection, params.get("size"), str(params.get("distance", "named vectors")).lower(), indexes)
    except OSError as error:
        failure = file_failure(error, backend.where)
    except (ValueError, AttributeError):
        failure = FatalError(f"{backend.folder / _CONFIG_FILE}: is not what the engine writes; restore it, or remove the folder and replay")
    raise failure


def _leased(backend: EdgeBackend) -> int:
    """Takes the directory for this process; gives the descriptor that holds it."""
    failure: SinkError | None = None
    lease = -1
    try:
        backend.path.mkdir(parents=True, exist_ok=True)
        lease = os.open(backend.path / f"{backend.collection}.lease", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lease, 0)
        os.pwrite(lease, f"{os.getpid()}\n".encode(), 0)
        return lease
    except BlockingIOError:
        holder = os.read(lease, 32).decode("ascii", "replace").strip()
        failure = RetryableError(
            f"{backend.where}: held by process {holder or 'unknown'}; one process at a time opens it: stop that one (a running pipeline holds its "
            "collection until it ends), or use a server, which many may ask",
            RECONNECT_MS,
        )
    except OSError as error:
        failure = file_failure(error, backend.where)
    if lease >= 0:
        os.close(lease)
    raise failure


def _asked(where: str, call: Callable[[], T]) -> T:
    failure: SinkError
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - the engine raises nothing narrower
        failure = engine_failure(error, where)
    raise failure
