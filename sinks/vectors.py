"""What a vector store is to the sink: a collection of steps that can be written by id, counted and searched.

Three places keep the same collection (``sinks.vector_client`` for a server and for the client's local mode, ``sinks.vector_edge`` in process); one
conformance suite holds all of them. Every call raises our errors only, see ``sinks.vector_errors``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.errors import FatalError

#: Length of a vector; that of ``models.spec.EMBEDDING_SIZE``, which a sink may not import.
VECTOR_SIZE: Final = 384

#: Payload fields that searches filter by, with the kind of their index.
INDEXES: Final[Mapping[str, str]] = MappingProxyType(
    {"agent_id": "keyword", "session_id": "keyword", "user_id": "keyword", "kind": "keyword", "event_time": "integer"}
)

MIGRATE: Final = "run `headrace migrate`"


class Embed(Protocol):
    """Makes sentence vectors; the shell gives it, for a sink knows no models."""

    def __call__(self, texts: Sequence[str], deadline_s: float, keys: Sequence[str] | None = None) -> NDArray[np.float32]:
        """Gives float32[texts, 384], each row of length 1.

        ``keys`` say whose each text is: while two versions of the model are served, all texts of a key go to one of them.

        Raises:
            RetryableError: The model is away, slow or wrong; nothing is known of any text.
        """
        ...


class WrongShape(FatalError):
    """The collection is missing, or is not what this version writes."""


@dataclass(frozen=True, slots=True)
class StoredStep:
    """One point.

    Attributes:
        id: UUID, as text with dashes.
        vector: 384 numbers.
        payload: What is found with it.
    """

    id: str
    vector: Sequence[float]
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Where:
    """Which steps a search looks at; None leaves it open.

    Attributes:
        agent_id: Of this agent only.
        kind: Of this kind of event only.
        from_ms: Not before this event time.
        to_ms: Before this event time.
        user_id: Of this person only, by the hash that stands for the user id.
    """

    agent_id: str | None = None
    kind: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    user_id: str | None = None

    @property
    def matches(self) -> tuple[tuple[str, str], ...]:
        """Payload fields that must equal a value."""
        return tuple((name, value) for name, value in self._fields if value is not None)

    @property
    def _fields(self) -> tuple[tuple[str, str | None], ...]:
        return (("agent_id", self.agent_id), ("kind", self.kind), ("user_id", self.user_id))

    @property
    def is_open(self) -> bool:
        """Whether it looks at every step."""
        return not self.matches and not self.has_range

    @property
    def has_range(self) -> bool:
        """Whether the event time is bounded."""
        return self.from_ms is not None or self.to_ms is not None


#: Every step.
EVERYWHERE: Final = Where()


@dataclass(frozen=True, slots=True)
class Found:
    """A step that a search found.

    Attributes:
        id: Its UUID.
        score: Cosine similarity, 1 for the same direction.
        payload: What was stored with it.
    """

    id: str
    score: float
    payload: Mapping[str, Any]


class VectorStore(Protocol):
    """An open collection; may be used by several threads."""

    def known(self, ids: Sequence[str], deadline_s: float) -> frozenset[str]:
        """Gives those of the ids that are there.

        Raises:
            RetryableError: The store is away or slow.
            FatalError: It refuses.
        """
        ...

    def put(self, steps: Sequence[StoredStep], deadline_s: float) -> None:
        """Writes steps, over those of the same id; returns when they are applied. Raises as ``known``; some may then be there."""
        ...

    def similar(self, vector: Sequence[float], where: Where, limit: int, deadline_s: float) -> list[Found]:
        """Gives the nearest steps, the nearest first. Raises as ``known``."""
        ...

    def count(self, deadline_s: float, where: Where = EVERYWHERE) -> int:
        """Gives how many steps there are. Raises as ``known``."""
        ...

    def remove(self, where: Where, deadline_s: float) -> None:
        """Takes steps away for good; returns when that is applied. ``where`` must not be open. Raises as ``known``; some may then be gone."""
        ...

    def flush(self) -> None:
        """Returns when all that was put survives a power cut, as far as the store can tell. Raises as ``known``."""
        ...

    def close(self) -> None:
        """Lets go of files and connections; never raises for a store that is away."""
        ...


class VectorBackend(Protocol):
    """Where a collection is; opens it."""

    def prepare(self, deadline_s: float) -> list[str]:
        """Makes the collection and the indexes that are missing; gives what was made, in words.

        Raises:
            WrongShape: It is there with another size or distance.
            RetryableError: The store is away, or another process holds it.
        """
        ...

    def open(self, deadline_s: float) -> VectorStore:
        """Opens the collection.

        Raises:
            WrongShape: It is missing, or not as ``prepare`` makes it.
            RetryableError: The store is away, or another process holds it.
        """
        ...


def shape_problem(collection: str, size: int | None, distance: str, indexes: Mapping[str, str] | None) -> str | None:
    """Gives what is wrong with a collection, None where it is right.

    Args:
        collection: Its name.
        size: Length of its vectors; None where it has several kinds of vectors, or none.
        distance: Its distance, in lower case.
        indexes: Payload field -> kind of index; None where the store has none.
    """
    if (size, distance) != (VECTOR_SIZE, "cosine"):
        return (
            f"collection {collection}: vectors must be {VECTOR_SIZE} long with distance cosine, are {size or 'named'} long with {distance}; "
            "name another qdrant.collection, or delete this one"
        )
    missing = [] if indexes is None else [f"{field} ({kind})" for field, kind in INDEXES.items() if indexes.get(field) != kind]
    return f"collection {collection}: no index of {', '.join(missing)}; {MIGRATE}" if missing else None
