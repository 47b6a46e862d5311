"""What a sink is: a place with lanes, each written in order, each write acknowledged.

A sink has a fixed number of lanes, independent of the number of workers. A lane is opened at the position of its last snapshot, written by one
thread, and asked for its position when the engine takes a snapshot. A write that returns is durable. A replay writes the same ids again; a lane
leaves out or overwrites what is already there, so that nothing is twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import polars as pl

#: Records to write, by output topic, in order. Columns are the fields of the topic's schema (``schemas.topics``).
OutputBatch = Mapping[str, pl.DataFrame]


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that a sink will not hold, by its coordinates, never by its values."""

    topic: str
    partition: int
    offset: int
    reason: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a write, by topic; the counts of a topic add up to its rows.

    Attributes:
        written: Rows made durable by this write.
        skipped: Rows left out because their id was there before (a replay).
        left_out: Rows that this sink does not hold, by reason, for a sink that holds only some.
        refused: Those of them that a person must hear of.
    """

    written: Mapping[str, int]
    skipped: Mapping[str, int]
    left_out: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    refused: Sequence[Refused] = ()


class SinkLane(Protocol):
    """One ordered writer of a sink; used by one thread at a time."""

    def write(self, batch: OutputBatch, deadline_s: float) -> Receipt:
        """Makes the whole batch durable, or nothing of it.

        Topics that this sink does not take are ignored.

        Args:
            batch: Records by topic.
            deadline_s: Seconds from now after which the call gives up.

        Raises:
            RetryableError: The sink is away or slow; nothing of the batch counts as written, and the same batch may be written again.
            FatalError: The lane cannot go on (fenced by a successor, wrong schema, not allowed).
        """
        ...

    def position(self) -> bytes:
        """Gives what the next opening of this lane needs to know (opaque; stored in the snapshot). All writes before it are durable."""
        ...

    def close(self) -> None:
        """Frees connections; never raises for a sink that is away."""
        ...


class Sink(Protocol):
    """A place that takes output records."""

    @property
    def name(self) -> str:
        """Short name: the label of its timings and errors."""
        ...

    @property
    def topics(self) -> frozenset[str]:
        """Output topics this sink takes."""
        ...

    @property
    def rows_max(self) -> int | None:
        """Rows that one write may take within its deadline; None where a write of any size is one step. Larger batches are written in parts."""
        ...

    def begin(self) -> bytes:
        """Gives the position before anything was written by this pipeline; recorded durably before the first poll."""
        ...

    def open_lane(self, lane: int, lane_count: int, position: bytes) -> SinkLane:
        """Opens one lane: fences its predecessor and reads back what lies after the position.

        Raises:
            RetryableError: The sink is away; try again.
            FatalError: What lies after the position can no longer be known (retention passed it).
        """
        ...
