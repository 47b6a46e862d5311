"""The sink to Qdrant: events as vectors of their masked text, to be found by what they mean.

It takes ``enriched_events``. Which of them, and which of their texts, is a rule (``sinks.step_texts``). A point's id is the event's id as a UUID,
and an event's content is the same in every replay: so a replay finds its points there and neither writes nor embeds them again, a lane needs no
position, and a predecessor that is still alive does no harm and is not fenced.

Before anything is written it is looked at once more (``sinks.leak_check``): an event that seems to hold personal data is not written. The run goes
on: stopping would stop it at the same record for ever, while the other sinks have long taken it. The receipt counts the event and names it by its
coordinates, and an alert tells a person.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from schemas.errors import ConfigError, FatalError, RetryableError
from sinks.contract import OutputBatch, Receipt
from sinks.errors import RECONNECT_MS
from sinks.step_texts import Chosen, TextRule, chosen
from sinks.vectors import VECTOR_SIZE, Embed, StoredStep, VectorBackend, VectorStore, WrongShape

TOPIC: Final = "enriched_events"
#: Texts that are embedded and written at a time: what a model takes in one batch.
PART_TEXTS: Final = 64
#: Rows of one write: a few hundred texts take a CPU some seconds.
ROWS_MAX: Final = 512
OPEN_DEADLINE_S: Final = 10.0


class QdrantSink:
    """Vectors of enriched events, in one collection.

    Args:
        backend: Where the collection is.
        embed: Makes the vectors.
        rule: Which texts.
        open_deadline_s: Seconds that opening may take.

    Example:
        >>> from pathlib import Path
        >>> from sinks.vector_edge import EdgeBackend
        >>> sink = QdrantSink(
        ...     EdgeBackend(Path("/nowhere"), "agent_steps"), lambda texts, deadline_s, keys=None: np.zeros((len(texts), 384), np.float32)
        ... )
        >>> sink.name, sorted(sink.topics)
        ('qdrant', ['enriched_events'])
    """

    name = "qdrant"
    topics = frozenset({TOPIC})
    rows_max = ROWS_MAX

    def __init__(self, backend: VectorBackend, embed: Embed, rule: TextRule | None = None, open_deadline_s: float = OPEN_DEADLINE_S) -> None:
        self._backend = backend
        self._embed = embed
        self._rule = rule or TextRule()
        self._open_deadline_s = open_deadline_s
        # Lanes share one store: a directory is opened once.
        self._lock = threading.Lock()
        self._store: VectorStore | None = None
        self._lanes = 0

    def begin(self) -> bytes:
        """Gives an empty position, when the collection is there as it must be.

        Raises:
            ConfigError: It is missing, or has another shape.
            RetryableError: The store is away, or another process holds it.
        """
        problem: str | None = None
        try:
            self._taken()
            self._given_back()
        except WrongShape as error:
            problem = str(error)
        if problem is not None:
            raise ConfigError(problem)
        return b""

    def open_lane(self, lane: int, lane_count: int, position: bytes) -> QdrantLane:
        """Opens the collection, with the first lane.

        Raises:
            RetryableError: The store is away, or another process holds it.
            FatalError: The collection is missing or has another shape, or the login is refused.
        """
        return QdrantLane(self, self._taken(), self._embed, self._rule, f"qdrant lane {lane}")

    def _taken(self) -> VectorStore:
        with self._lock:
            if self._store is None:
                self._store = self._backend.open(self._open_deadline_s)
            self._lanes += 1
            return self._store

    def _given_back(self) -> None:
        with self._lock:
            self._lanes -= 1
            if self._lanes == 0 and self._store is not None:
                self._store.close()
                self._store = None


class QdrantLane:
    """One writer; lanes share the store."""

    def __init__(self, sink: QdrantSink, store: VectorStore, embed: Embed, rule: TextRule, where: str) -> None:
        self._sink: QdrantSink | None = sink
        self._store = store
        self._embed = embed
        self._rule = rule
        self._where = where
        #: Points that a write which then failed has put: the next try counts them as its own.
        self._landed: set[str] = set()

    def write(self, batch: OutputBatch, deadline_s: float) -> Receipt:
        """Embeds the texts that are new, and writes their points.

        Args:
            batch: Records by topic; all but ``enriched_events`` are ignored.
            deadline_s: Seconds from now after which the call gives up, embedding included.

        Returns:
            ``skipped``: events whose point was there before, or that stand in the batch twice. ``left_out``: by the rule, and by the second look.

        Raises:
            RetryableError: The store or the model is away or slow. Some points may be there: writing the batch again goes on behind them.
            FatalError: The store refuses the points.
        """
        frame = batch.get(TOPIC)
        if frame is None or frame.is_empty():
            return Receipt({}, {})
        until = time.monotonic() + deadline_s
        picked = self._chosen(frame)
        ids = {str(uuid.UUID(hex=uid)): payload for uid, payload in picked.payloads.items()}
        known = self._store.known(list(ids), deadline_s)
        rest = iter([step_id for step_id in ids if step_id not in known])
        while part := list(islice(rest, PART_TEXTS)):
            self._store.put(list(self._embedded(part, ids, until)), self._left(until))
            self._landed.update(part)
        written = len(self._landed.intersection(ids))
        self._landed.clear()
        return Receipt(
            {TOPIC: written},
            {TOPIC: len(ids) - written + picked.repeated},
            {TOPIC: picked.left_out} if picked.left_out else {},
            picked.unmasked,
        )

    def _chosen(self, frame: pl.DataFrame) -> Chosen:
        # Outside of the handler: an error's context travels with it.
        with suppress(msgspec.DecodeError):
            return chosen(frame, self._rule)
        raise FatalError(f"{self._where}: a content column of {TOPIC} must hold JSON text and does not; please report it")

    def _embedded(self, part: Sequence[str], ids: dict[str, dict[str, Any]], until: float) -> Iterator[StoredStep]:
        texts = [ids[step_id]["text"] for step_id in part]
        vectors = self._embed(texts, self._left(until), [ids[step_id]["agent_id"] for step_id in part])
        if not is_answer(vectors, len(texts)):
            raise RetryableError(
                f"{self._where}: the embedder must give float32[{len(texts)}, {VECTOR_SIZE}], finite and not zero, and did not; check the server",
                RECONNECT_MS,
            )
        for step_id, vector in zip(part, vectors.tolist(), strict=True):
            yield StoredStep(step_id, vector, ids[step_id])

    def _left(self, until: float) -> float:
        """Gives the seconds that are left."""
        left_s = until - time.monotonic()
        if left_s <= 0:
            raise RetryableError(f"{self._where}: not done within the deadline; what is written stays, the next try goes on behind it", RECONNECT_MS)
        return left_s

    def position(self) -> bytes:
        """Gives an empty position, when all that was written survives a power cut as far as the store can tell."""
        self._store.flush()
        return b""

    def close(self) -> None:
        """Gives the store back; the last lane closes it."""
        sink, self._sink = self._sink, None
        if sink is not None:
            sink._given_back()


def is_answer(vectors: NDArray[np.float32], count: int) -> bool:
    """Whether an embedder's answer can be one: as many rows as texts, of the right length, all numbers, none zero."""
    return vectors.shape == (count, VECTOR_SIZE) and bool(np.isfinite(vectors).all()) and bool(np.any(vectors, axis=1).all())
