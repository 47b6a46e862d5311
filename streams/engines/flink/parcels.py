"""What crosses Flink's exchanges: frames as Arrow bytes, with what belongs to them."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from streams.batch import LaneBatch
from streams.front_child import packed, unpacked


@dataclass(frozen=True, slots=True)
class FrontParcel:
    """What the front steps made of one batch of records: masked events and what ended.

    Attributes:
        rows: Arrow stream of the last front step's rows.
        dead: Arrow stream of what ended on the way (``schemas.events.DEAD``).
    """

    rows: bytes = field(repr=False)
    dead: bytes = field(repr=False)

    @classmethod
    def of(cls, rows: pl.DataFrame, dead: pl.DataFrame) -> bytes:
        """Gives the bytes of a parcel."""
        return pickle.dumps(cls(packed(rows), packed(dead)), protocol=pickle.HIGHEST_PROTOCOL)

    @staticmethod
    def opened(data: bytes) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Gives rows and dead of a parcel."""
        parcel: FrontParcel = pickle.loads(data)
        return unpacked(parcel.rows), unpacked(parcel.dead)


def lane_parcel(batch: LaneBatch) -> bytes:
    """Gives a lane batch as bytes."""
    parts: Mapping[str, object] = {
        "rows": None if batch.rows is None else packed(batch.rows),
        "marks": dict(batch.marks),
        "dead": packed(batch.dead),
        "source_rows": batch.source_rows,
        "oldest_kafka_time": batch.oldest_kafka_time,
        "shared": None if batch.shared is None else packed(batch.shared),
        "outputs": {topic: packed(frame) for topic, frame in batch.outputs.items()},
        "source": batch.source,
        "entered": dict(batch.entered),
    }
    return pickle.dumps(parts, protocol=pickle.HIGHEST_PROTOCOL)


def lane_batch(data: bytes) -> LaneBatch:
    """Gives the lane batch of a parcel."""
    parts = pickle.loads(data)
    for name in ("rows", "dead", "shared"):
        parts[name] = None if parts[name] is None else unpacked(parts[name])
    parts["outputs"] = {topic: unpacked(frame) for topic, frame in parts["outputs"].items()}
    return LaneBatch(**parts)
