"""One side of a comparison: a pipeline under one policy that gives the fate of every record, and what it would put out, and publishes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import polars as pl

from governance.policy import ModelsPolicy, Policy, WhenDown
from schemas.events import COORDINATES
from sinks.contract import OutputBatch
from streams.batch import Partition
from streams.facts import DecidingStep
from streams.intake import Board, Intake
from streams.lane import Lane
from streams.replay.recorded import Recorded
from streams.telemetry import Telemetry
from streams.topology import Topology

#: What became of a record. ``fate`` is a verdict and an action, the code of a dead letter, or why it was left out.
FATE: Final = pl.Schema(
    {
        **COORDINATES,
        "fate": pl.String(),
        "agent_id": pl.String(),
        "hits": pl.List(pl.String()),
        "entities": pl.List(pl.String()),
    }
)


@dataclass(frozen=True, slots=True)
class Judged:
    """What a side made of one batch.

    Attributes:
        fates: A row of FATE for each record, in no order.
        outputs: What it would publish, by topic.
    """

    fates: pl.DataFrame
    outputs: OutputBatch


class Side:
    """A pipeline from RAW frames to fates. One lane, in this process; state is bounded as the steps state.

    Args:
        topology: The pipeline; must have one lane.
        partitions: Every partition of which rows can come.
        recorded: Facts that are adopted in place of asking models; None asks as the steps do.
    """

    def __init__(self, topology: Topology, partitions: Sequence[Partition], recorded: Recorded | None = None) -> None:
        assert topology.lanes == 1, "the fates of a batch come from one lane"
        self._ended: list[pl.DataFrame] = []
        telemetry = _Ended(self._ended)
        if recorded is not None:
            for step in topology.front:
                if isinstance(step, DecidingStep):
                    step.keep_in(recorded.facts_for(step))
        self._intake = Intake(topology, partitions, Board(partitions), {}, lambda _marks: None, telemetry)
        self._lane = Lane(topology, partitions, telemetry)

    def __call__(self, raw: pl.DataFrame) -> Judged:
        """Judges one batch.

        Raises:
            RetryableError: A model is away and policy waits for it.
        """
        self._ended.clear()
        outputs = self._lane.apply(self._intake.take(raw))
        return Judged(pl.concat([_passed(outputs), *(_stopped(frame) for frame in self._ended)]), outputs)

    def finish(self) -> OutputBatch:
        """Closes every window, as at the end of all history."""
        return self._lane.finish()


class _Ended(Telemetry):
    """Keeps what ended on the way, with its reason."""

    def __init__(self, into: list[pl.DataFrame]) -> None:
        super().__init__()
        self._into = into

    def dead(self, frame: pl.DataFrame) -> None:
        """Keeps the rows."""
        self._into.append(frame)


def without_models(policy: Policy) -> Policy:
    """Gives the policy under which an event that no model was asked about goes on, marked as degraded."""
    parts = {name: part for name in ("guard", "pii_tagger") if (part := getattr(policy.models, name)) is not None}
    at_once = {name: replace(part, outage=replace(part.outage, reaction=WhenDown.RULES_ONLY, after_s=0)) for name, part in parts.items()}
    return replace(policy, models=replace(ModelsPolicy(), **at_once))


def fates_of(enriched: pl.DataFrame) -> pl.DataFrame:
    """Gives the fates that enriched events tell."""
    masked = pl.col("masked_spans").list.eval(pl.element().struct.field("entity"))
    return enriched.select(
        *COORDINATES, pl.concat_str(pl.col("verdict"), pl.lit("/"), pl.col("action")).alias("fate"), "agent_id", "hits", masked.alias("entities")
    ).cast(FATE)


def _passed(outputs: OutputBatch) -> pl.DataFrame:
    enriched = outputs.get("enriched_events")
    return FATE.to_frame() if enriched is None or not enriched.height else fates_of(enriched)


def _stopped(dead: pl.DataFrame) -> pl.DataFrame:
    none = pl.lit(None, dtype=pl.List(pl.String))
    kind = pl.when(pl.col("disposition") == "dead").then(pl.lit("dead:")).otherwise(pl.lit("left out:"))
    return dead.select(*COORDINATES, (kind + pl.col("code")).alias("fate"), "agent_id", none.alias("hits"), none.alias("entities")).cast(FATE)
