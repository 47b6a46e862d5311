"""The intake on Flink: one key that sees every partition, gives each row its partition's watermark, tells idle partitions, and splits by lane.

It handles masked frames only, a few milliseconds each, so that one key is no narrow place. What it knows lies in Flink's state: a failure takes back
an idle mark together with every output that followed from it, so none is written down elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from schemas.errors import ConfigError, RetryableError
from streams.batch import LaneBatch, Partition
from streams.cluster import kafka_input
from streams.engines.flink.parcels import FrontParcel
from streams.engines.flink.recipe import Recipe, Worker
from streams.intake import Board, Intake, IntakeState
from streams.sources import KafkaReader
from streams.telemetry import Telemetry

#: How long a look at the ends of quiet partitions may take: it holds up the batches behind it.
_LOOK_S: Final = 1.0


@dataclass(slots=True)
class IntakeKept:
    """What the intake keeps in Flink's state.

    Attributes:
        shape: What the state depends on; a job of another shape must not go on with it.
        watermarks: Watermark by partition.
        newest: Largest event time by partition.
        offsets: Next offset by partition.
    """

    shape: str
    watermarks: dict[Partition, int] = field(default_factory=dict)
    newest: dict[Partition, int] = field(default_factory=dict)
    offsets: dict[Partition, int] = field(default_factory=dict)


def shape_of(worker: Worker) -> str:
    """Gives what all state of a job depends on, as one line."""
    topology = worker.topology
    steps = " ".join(f"{step.name}={step.state_spec.version}" for step in topology.keyed_steps)
    return f"pipeline {topology.name}, lanes {topology.lanes}, output partitions {topology.shards}, steps {steps}"


def check_shape(kept: str, worker: Worker) -> None:
    """Refuses state of another shape.

    Raises:
        ConfigError: With both shapes.
    """
    if kept != shape_of(worker):
        raise ConfigError(
            f"Flink state: it was made by {kept}; this job is {shape_of(worker)}. Submit the job as it was, "
            "or start without the state under a new pipeline name"
        )


class IntakeStage:
    """The intake of a job.

    Args:
        recipe: What the job is told.
        worker: What the stages of this process share.
        telemetry: Counts.
        kept: As of the checkpoint; None on a first start.
    """

    def __init__(self, recipe: Recipe, worker: Worker, telemetry: Telemetry, kept: IntakeKept | None) -> None:
        self._worker = worker
        if kept is not None:
            check_shape(kept.shape, worker)
        self._kept = kept or IntakeKept(shape_of(worker))
        self._offsets = dict(recipe.starts) | self._kept.offsets
        partitions = recipe.partitions
        state = IntakeState(self._kept.watermarks, self._kept.newest)
        self._intake = Intake(worker.topology, partitions, Board(partitions), {}, lambda _marks: None, telemetry, state)
        self._idle_s = worker.config.source.idle_ms / 1000
        self._quiet_since = dict.fromkeys(partitions, time.monotonic())

    @property
    def kept(self) -> IntakeKept:
        """What a checkpoint must hold now."""
        state = self._intake.state
        return IntakeKept(self._kept.shape, dict(state.watermarks), dict(state.newest), dict(self._offsets))

    def take(self, parcel: bytes) -> list[LaneBatch]:
        """Gives one batch for each lane, in lane order."""
        rows, dead = FrontParcel.opened(parcel)
        places = pl.concat([rows.select("topic", "partition", "offset"), dead.select("topic", "partition", "offset")])
        now = time.monotonic()
        for topic, partition, last in places.group_by("topic", "partition").agg(pl.col("offset").max()).iter_rows():
            self._offsets[topic, partition] = last + 1
            self._quiet_since[topic, partition] = now
        return self._intake.admit(rows, dead)

    def look(self) -> Sequence[LaneBatch]:
        """Gives batches of marks alone where a partition turned out to be idle: quiet for long enough, and read to its end."""
        now = time.monotonic()
        quiet = {place: self._offsets[place] for place, since in self._quiet_since.items() if now - since >= self._idle_s}
        if not quiet or not self._intake.wants(quiet):
            return []
        return self._intake.rest(self._at_end(quiet))

    def _at_end(self, quiet: Mapping[Partition, int]) -> dict[Partition, int]:
        """Gives those of the partitions behind whose next offset there is nothing.

        Flink may be behind: a partition that it has not come to is not idle. So Kafka is asked, by a reader that starts
        where the partition stands here.
        """
        until = time.monotonic() + _LOOK_S
        try:
            reader = KafkaReader(kafka_input(self._worker.config), quiet)
        except RetryableError:
            return {}
        try:
            busy: set[Partition] = set()
            while time.monotonic() < until and reader.at_end | busy < quiet.keys():
                found = reader.poll(1_000)
                busy |= {(topic, partition) for topic, partition in found.select("topic", "partition").unique().iter_rows()}
            return {place: offset for place, offset in quiet.items() if place in reader.at_end and place not in busy}
        except RetryableError:
            return {}
        finally:
            reader.close()
