"""Persons in the audit log: an HMAC under the person's own key stands for each, put there before anything is written.

The audit log is never changed, so it must not hold what an erasure would have to remove. With the person's key destroyed the HMAC can be tied to
nobody, and the hash chain still holds. Where there are no such keys the log names no person.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

import polars as pl

from operators.audit import TOPIC
from sinks.contract import OutputBatch, Receipt, Sink, SinkLane
from sinks.person_keys import mark_of


class PersonKeys(Protocol):
    """Keys of persons, one each, that can be destroyed."""

    def keys_of(self, persons: Collection[str]) -> Mapping[str, bytes]:
        """Gives the key of each person (by masked id), made where there was none; one whose key was destroyed is left out.

        Raises:
            RetryableError: The store of keys is away.
        """
        ...


class SealedSink:
    """A sink that is given audit entries with HMACs in the place of persons.

    Args:
        sink: What writes.
        keys: The keys of persons; None names no person.
    """

    def __init__(self, sink: Sink, keys: PersonKeys | None) -> None:
        self._sink = sink
        self._keys = keys
        self.name = sink.name
        self.topics = sink.topics
        self.rows_max = sink.rows_max

    def begin(self) -> bytes:
        """Gives what the sink gives."""
        return self._sink.begin()

    def open_lane(self, lane: int, lane_count: int, position: bytes) -> SinkLane:
        """Opens a lane of the sink."""
        return _SealedLane(self._sink.open_lane(lane, lane_count, position), self._keys)


class _SealedLane:
    def __init__(self, lane: SinkLane, keys: PersonKeys | None) -> None:
        self._lane = lane
        self._keys = keys

    def write(self, batch: OutputBatch, deadline_s: float) -> Receipt:
        return self._lane.write(sealed(batch, self._keys), deadline_s)

    def position(self) -> bytes:
        return self._lane.position()

    def close(self) -> None:
        self._lane.close()


def seal(sink: Sink, keys: PersonKeys | None) -> Sink:
    """Gives the sink with its audit entries sealed; a sink that takes none as it is."""
    return SealedSink(sink, keys) if TOPIC in sink.topics else sink


def sealed(batch: OutputBatch, keys: PersonKeys | None) -> OutputBatch:
    """Gives the batch with an HMAC for each person that its audit entries name."""
    entries = batch.get(TOPIC)
    if entries is None or entries["person"].null_count() == entries.height:
        return batch
    persons = entries["person"].drop_nulls().unique().to_list()
    by_person = {} if keys is None else {person: mark_of(person, key) for person, key in keys.keys_of(persons).items()}
    return {**batch, TOPIC: entries.with_columns(pl.col("person").replace_strict(by_person, default=None, return_dtype=pl.String))}
