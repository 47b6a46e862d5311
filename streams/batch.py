"""What crosses the exchange: one source batch's share for one lane."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from operators.contract import NO_DEAD
from sinks.contract import OutputBatch

#: One partition of one input topic.
Partition = tuple[str, int]

#: Watermarks (ms) by partition; None for a partition that has shown no event yet.
Marks = Mapping[Partition, int | None]


@dataclass(frozen=True, slots=True)
class LaneBatch:
    """Rows, dead letters and watermarks for one lane, made from one poll of one source lane.

    Attributes:
        rows: Masked events of this lane, each partition's in log order; None where marks travel alone.
        dead: Records of this poll that ended before the exchange and whose dead letters this lane publishes.
        marks: Watermarks after this poll of the partitions that the source lane reads. They count only after ``rows``.
        source_rows: Source records accounted to this lane: credits given back when its outputs are durable.
        shared: Rows of SHARED whose key this lane owns; None where nothing is counted across agents.
        outputs: Records that were made before the exchange, e.g. audit entries of a policy that takes over; this lane publishes them.
        source: Number of the source lane that made it.
        entered: Records of each topic that the source lane has ever given to this lane, these included.
        oldest_kafka_time: Earliest Kafka timestamp among the rows (ms), for end-to-end latency; None without rows.
    """

    rows: pl.DataFrame | None
    marks: Marks
    dead: pl.DataFrame = field(default_factory=lambda: NO_DEAD)
    source_rows: int = 0
    oldest_kafka_time: int | None = None
    shared: pl.DataFrame | None = None
    outputs: OutputBatch = field(default_factory=dict)
    source: int = 0
    entered: Mapping[str, int] = field(default_factory=dict)
