"""A collection through qdrant-client: on a server, or in a directory of this machine (the client's local mode).

Server: over gRPC where a port is named, over HTTP otherwise. A connection is made by the first call and made anew after any failure, so that a
server that comes back is found at once. Deadlines count for each call; over HTTP they are rounded up to whole seconds.

Local mode keeps the points in SQLite, one transaction a point, and all of them in memory: for small collections. One process holds the directory.
"""

from __future__ import annotations

import math
import ssl
import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from qdrant_client import QdrantClient, grpc, models
from qdrant_client.conversions.conversion import RestToGrpc

from schemas.errors import ConfigError, RetryableError
from sinks.errors import RECONNECT_MS, SinkError
from sinks.vector_errors import client_failure
from sinks.vectors import EVERYWHERE, INDEXES, MIGRATE, VECTOR_SIZE, Found, StoredStep, Where, WrongShape, shape_problem

T = TypeVar("T")

_INDEX_TYPES: Final = {"keyword": models.PayloadSchemaType.KEYWORD, "integer": models.PayloadSchemaType.INTEGER}
#: Each store has its own connections: gRPC would let a new one wait for the growing pauses of the old ones.
_GRPC_OPTIONS: Final[dict[str, Any]] = {"grpc.use_local_subchannel_pool": 1}


@dataclass(frozen=True, slots=True)
class ServerBackend:
    """A collection of a Qdrant server.

    Attributes:
        url: ``http://host:6333`` or ``https://...``.
        grpc_port: Port for gRPC on the same host; None speaks HTTP only.
        api_key: What the server asks for; kept, never shown.
        collection: Its name.
        root_certificate: PEM file of the authority that the server's certificate is checked against; None: those that everybody trusts.
    """

    url: str
    grpc_port: int | None
    api_key: str | None
    collection: str
    root_certificate: Path | None = None

    @property
    def has_indexes(self) -> bool:
        """A server keeps indexes of the payload."""
        return True

    @property
    def where(self) -> str:
        """Begins the messages about it."""
        return f"qdrant {self.url}"

    def connect(self, deadline_s: float) -> QdrantClient:
        """Gives a client; it connects with the first call."""
        root = self._root()
        verifying: dict[str, Any] = {} if root is None else {"verify": ssl.create_default_context(cadata=root.decode("ascii"))}
        with warnings.catch_warnings():
            # A key over plain HTTP is what a server on this host, or behind a proxy with TLS, wants; docs/sinks.md says when not.
            warnings.filterwarnings("ignore", "Api key is used with an insecure connection")
            return QdrantClient(
                url=self.url,
                grpc_port=self.grpc_port or 6334,
                prefer_grpc=self.grpc_port is not None,
                grpc_options=_GRPC_OPTIONS | ({} if root is None else {"root_certificates": root}),
                api_key=self.api_key,
                timeout=max(1, math.ceil(deadline_s)),
                check_compatibility=False,  # it would ask in a thread of its own and warn on stderr
                **verifying,
            )

    def _root(self) -> bytes | None:
        if self.root_certificate is None:
            return None
        try:
            pem = self.root_certificate.read_bytes()
            ssl.create_default_context(cadata=pem.decode("ascii"))
        except (OSError, ValueError) as error:
            problem = f"{self.root_certificate}: no file of certificates in PEM ({type(error).__name__}); check qdrant.root_certificate"
        else:
            return pem
        raise ConfigError(problem)

    def prepare(self, deadline_s: float) -> list[str]:
        """As ``VectorBackend.prepare`` says."""
        return _prepared(ClientStore(self), self.collection, deadline_s)

    def open(self, deadline_s: float) -> ClientStore:
        """As ``VectorBackend.open`` says."""
        return _opened(ClientStore(self), deadline_s)


@dataclass(frozen=True, slots=True)
class LocalBackend:
    """A collection in a directory, by the client's local mode.

    Attributes:
        path: The directory; made when absent.
        collection: Its name.
    """

    path: Path
    collection: str

    @property
    def has_indexes(self) -> bool:
        """Local mode filters by looking at every point."""
        return False

    @property
    def where(self) -> str:
        """Begins the messages about it."""
        return f"qdrant {self.path}"

    def connect(self, deadline_s: float) -> QdrantClient:
        """Loads all points from the directory."""
        return QdrantClient(path=str(self.path), force_disable_check_same_thread=True)

    def prepare(self, deadline_s: float) -> list[str]:
        """As ``VectorBackend.prepare`` says."""
        return _prepared(ClientStore(self), self.collection, deadline_s)

    def open(self, deadline_s: float) -> ClientStore:
        """As ``VectorBackend.open`` says."""
        return _opened(ClientStore(self), deadline_s)


class ClientStore:
    """A collection behind a QdrantClient; see the module."""

    def __init__(self, backend: ServerBackend | LocalBackend) -> None:
        self._backend = backend
        self._name = backend.collection
        self._client: QdrantClient | None = None
        # SQLite and the points in memory are one thing to several threads; a server needs no turn-taking, and its calls are short.
        self._turn = threading.Lock()

    def known(self, ids: Sequence[str], deadline_s: float) -> frozenset[str]:
        """Gives those of the ids that are there."""
        if not ids:
            return frozenset()
        found = self._called(
            lambda client: client.retrieve(self._name, list(ids), with_payload=False, with_vectors=False, timeout=_whole(deadline_s)), deadline_s
        )
        return frozenset(str(record.id) for record in found)

    def put(self, steps: Sequence[StoredStep], deadline_s: float) -> None:
        """Writes steps by id; returns when they are applied."""
        points = [models.PointStruct(id=step.id, vector=list(step.vector), payload=dict(step.payload)) for step in steps]
        if isinstance(self._backend, ServerBackend) and self._backend.grpc_port is not None:
            # Not by the client's own upsert: that waits as long as the client was told when it was made.
            packed = [RestToGrpc.convert_point_struct(point) for point in points]
            request = grpc.UpsertPoints(collection_name=self._name, wait=True, points=packed, timeout=_whole(deadline_s))
            self._called(lambda client: client.grpc_points.Upsert(request, timeout=deadline_s), deadline_s)
        else:
            self._called(lambda client: client.upsert(self._name, points, wait=True), deadline_s)

    def similar(self, vector: Sequence[float], where: Where, limit: int, deadline_s: float) -> list[Found]:
        """Gives the nearest steps."""
        answer = self._called(
            lambda client: client.query_points(self._name, query=list(vector), query_filter=_filter(where), limit=limit, timeout=_whole(deadline_s)),
            deadline_s,
        )
        return [Found(str(point.id), point.score, point.payload or {}) for point in answer.points]

    def count(self, deadline_s: float, where: Where = EVERYWHERE) -> int:
        """Gives how many steps there are."""
        wanted = _filter(where)
        answer = self._called(lambda client: client.count(self._name, count_filter=wanted, exact=True, timeout=_whole(deadline_s)), deadline_s)
        return int(answer.count)

    def remove(self, where: Where, deadline_s: float) -> None:
        """Takes steps away; returns when that is applied."""
        wanted = _filter(where)
        assert wanted is not None, "a collection is emptied by whoever owns it, not by a filter that holds nothing back"
        self._called(lambda client: client.delete(self._name, models.FilterSelector(filter=wanted), wait=True), deadline_s)

    def flush(self) -> None:
        """Does nothing: what was put is in the server's log, or committed in SQLite."""

    def close(self) -> None:
        """Drops the client."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def problem(self, deadline_s: float) -> str | None:
        """Gives what is wrong with the collection, an empty text where it is missing, None where it is right."""
        if not self._called(lambda client: client.collection_exists(self._name), deadline_s):
            return ""
        info = self._called(lambda client: client.get_collection(self._name), deadline_s)
        vectors = info.config.params.vectors
        size, distance = (vectors.size, vectors.distance.value.lower()) if isinstance(vectors, models.VectorParams) else (None, "named vectors")
        indexes = {field: found.data_type.value for field, found in info.payload_schema.items()} if self._backend.has_indexes else None
        return shape_problem(self._name, size, distance, indexes)

    def create(self, deadline_s: float) -> list[str]:
        """Makes the collection where it is missing, and the indexes; gives what was made."""
        made = []
        if self.problem(deadline_s) == "":
            params = models.VectorParams(size=VECTOR_SIZE, distance=models.Distance.COSINE)
            self._called(lambda client: client.create_collection(self._name, vectors_config=params), deadline_s)
            made.append(f"collection {self._name}")
        if not self._backend.has_indexes:
            return made
        there = self._called(lambda client: client.get_collection(self._name), deadline_s).payload_schema
        for field, kind in INDEXES.items():
            if field not in there:
                self._called(partial(_index, collection=self._name, field=field, kind=kind), deadline_s)
                made.append(f"index of {field} in collection {self._name}")
        return made

    def _called(self, call: Callable[[QdrantClient], T], deadline_s: float) -> T:
        """Gives what a call gives; after a failure the next one connects anew."""
        failure: SinkError | None = None
        if not self._turn.acquire(timeout=max(0.0, deadline_s)):
            raise RetryableError(f"{self._backend.where}: no turn within the deadline; another lane is at it", RECONNECT_MS)
        try:
            if self._client is None:
                self._client = self._backend.connect(deadline_s)
            return call(self._client)
        except ConfigError:
            raise
        except Exception as error:  # noqa: BLE001 - local mode raises what Python's own functions raise; the table names what it knows
            failure = client_failure(error, self._backend.where)
        finally:
            if failure is not None and isinstance(self._backend, ServerBackend):
                self.close()
            self._turn.release()
        raise failure


def _index(client: QdrantClient, collection: str, field: str, kind: str) -> None:
    client.create_payload_index(collection, field, field_schema=_INDEX_TYPES[kind], wait=True)


def _whole(deadline_s: float) -> int:
    """Gives the seconds that the client counts in."""
    return max(1, math.ceil(deadline_s))


def _prepared(store: ClientStore, collection: str, deadline_s: float) -> list[str]:
    try:
        made = store.create(deadline_s)
        problem = store.problem(deadline_s)
    finally:
        store.close()
    if problem is not None:
        raise WrongShape(problem)
    return made


def _opened(store: ClientStore, deadline_s: float) -> ClientStore:
    problem: str | None = None
    try:
        problem = store.problem(deadline_s)
    except BaseException:
        store.close()
        raise
    if problem is None:
        return store
    store.close()
    raise WrongShape(problem or f"collection {store._name} is missing; {MIGRATE}")


def _filter(where: Where) -> models.Filter | None:
    must: list[Any] = [models.FieldCondition(key=field, match=models.MatchValue(value=value)) for field, value in where.matches]
    if where.has_range:
        must.append(models.FieldCondition(key="event_time", range=models.Range(gte=where.from_ms, lt=where.to_ms)))
    return models.Filter(must=must) if must else None
