"""Steps that are wrong in one way each: the proof that each law can fail."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from operators.contract import Order, Outcome, State
from operators.deduplicate import Deduplicate
from operators.enrich import Enrich
from operators.windows.measure import TOPIC, Measure
from streams.scoring import Score
from streams.tagging import Tag


class SeesOneBatchOnly(Deduplicate):
    """Finds repetitions inside a batch, forgets them after it."""

    def apply(self, state: State, batch: pl.DataFrame, watermark: int | None) -> tuple[State, Outcome]:
        return {}, super().apply({}, batch, watermark)[1]


class NumbersItsRows(Enrich):
    """Tells where in the batch a row stood."""

    def __call__(self, batch: pl.DataFrame) -> Outcome:
        return Outcome(super().__call__(batch).batch.with_columns(pl.Series("policy_version", np.arange(batch.height)).cast(pl.String)))


class CountsLateByMergedWatermark(Measure):
    """Decides lateness by the lane's watermark, not by the row's own."""

    def __init__(self) -> None:
        super().__init__(window_ms=10, lateness_ms=20)
        self._mark: int | None = None

    def apply(self, state: State, batch: pl.DataFrame, watermark: int | None) -> tuple[State, Outcome]:
        shifted = batch.with_columns(pl.lit(self._mark, dtype=pl.Int64).alias("row_watermark"))
        self._mark = watermark
        return super().apply(state, shifted, watermark)


class KeepsStateInItself(Measure):
    """Hands out no state, so that a snapshot holds nothing."""

    def __init__(self) -> None:
        super().__init__(window_ms=10, lateness_ms=20)
        self._own: State = {}

    def apply(self, state: State, batch: pl.DataFrame, watermark: int | None) -> tuple[State, Outcome]:
        self._own, outcome = super().apply(self._own, batch, watermark)
        return {}, outcome


class ChangesFramesInPlace(Deduplicate):
    """Puts all entries into one bucket and adds to its frame, so that a snapshot takes it for untouched."""

    def apply(self, state: State, batch: pl.DataFrame, watermark: int | None) -> tuple[State, Outcome]:
        after, outcome = super().apply(state, batch, None)
        entries = list(after.values())
        if not entries or (watermark is not None and watermark >= 10_000):
            return {}, outcome
        joined = pl.concat(entries).sort("uid_hi").unique("uid_hi", keep="last", maintain_order=True)
        if (mine := state.get("0/0")) is None:
            return {"0/0": joined}, outcome
        mine.extend(joined.join(mine, on="uid_hi", how="anti"))
        mine._df = mine.sort("uid_hi")._df
        return {"0/0": mine}, outcome


class LosesConflicts(Deduplicate):
    """Drops the rows of an id conflict without a word."""

    def apply(self, state: State, batch: pl.DataFrame, watermark: int | None) -> tuple[State, Outcome]:
        after, outcome = super().apply(state, batch, watermark)
        return after, Outcome(outcome.batch, dead=outcome.dead.filter(pl.col("disposition") == "filtered"))


class GivesNoReason(Deduplicate):
    """Rejects with a code that no page explains."""

    def apply(self, state: State, batch: pl.DataFrame, watermark: int | None) -> tuple[State, Outcome]:
        after, outcome = super().apply(state, batch, watermark)
        return after, Outcome(outcome.batch, dead=outcome.dead.with_columns(pl.col("code").replace("id_conflict", "odd")))


class EmitsUnchangedWindows(Measure):
    """Emits every closed window after every batch."""

    def apply(self, state: State, batch: pl.DataFrame, watermark: int | None) -> tuple[State, Outcome]:
        after, outcome = super().apply({run.replace("done", "open"): frame for run, frame in state.items()}, batch, watermark)
        return after, outcome


class NeverFrees(Measure):
    """Keeps windows for ever."""

    def _free(self, runs: dict[str, pl.DataFrame], watermark: int) -> None:
        return


class FreesByMergedWatermark(Deduplicate):
    """Lets an id go when the lane's watermark, not the row's own, is past its time to live."""

    def apply(self, state: State, batch: pl.DataFrame, watermark: int | None) -> tuple[State, Outcome]:
        shifted = batch if watermark is None else batch.with_columns(pl.lit(watermark, dtype=pl.Int64).alias("row_watermark"))
        after, outcome = super().apply(state, shifted, watermark)
        kept = batch.join(outcome.batch.select("topic", "partition", "offset"), on=["topic", "partition", "offset"], how="semi")
        return after, Outcome(kept, dead=outcome.dead)


class SharesIdsAmongTopics(Deduplicate):
    """Takes the same id in two topics for the same event, so that the order between topics shows."""

    def apply(self, state: State, batch: pl.DataFrame, watermark: int | None) -> tuple[State, Outcome]:
        uid = (pl.col("agent_id") + pl.col("event_id")).str.encode("hex").str.zfill(16)
        after, outcome = super().apply(state, batch.with_columns((uid + uid).str.slice(0, 32).alias("event_uid")), watermark)
        kept = batch.join(outcome.batch.select("topic", "partition", "offset"), on=["topic", "partition", "offset"], how="semi")
        return after, Outcome(kept, dead=outcome.dead)


class RemembersTheLastLatency(Measure):
    """Reports the latency that came last instead of the largest: depends on the order of partitions."""

    order = Order.COMMUTATIVE

    def __init__(self) -> None:
        super().__init__(window_ms=10, lateness_ms=20)
        self._last: Mapping[str, int] = {}

    def apply(self, state: State, batch: pl.DataFrame, watermark: int | None) -> tuple[State, Outcome]:
        self._last = {**self._last, **dict(batch.select("agent_id", "latency_us").drop_nulls().iter_rows())}
        after, outcome = super().apply(state, batch, watermark)
        if TOPIC not in outcome.outputs:
            return after, outcome
        changed = outcome.outputs[TOPIC].with_columns(
            pl.col("agent_id").replace_strict(self._last, default=None).cast(pl.Int64).alias("latency_max_us")
        )
        return after, Outcome(outcome.batch, outputs={TOPIC: changed}, facts=outcome.facts)


class LooksAtItsNeighbours(Enrich):
    """Fills a gap with the row before."""

    def __call__(self, batch: pl.DataFrame) -> Outcome:
        return Outcome(super().__call__(batch).batch.with_columns(pl.col("tool_name").fill_null(strategy="forward")))


class ScoresByPlace(Score):
    """Adds to a score the place of its row in the batch."""

    def __call__(self, batch: pl.DataFrame) -> Outcome:
        scored = super().__call__(batch).batch
        return Outcome(scored.with_columns(pl.col("injection_ppm") + pl.int_range(pl.len())))


class TagsTheFirstRowOnly(Tag):
    """Looks for names in the first row of a batch."""

    def _wanted(self, batch: pl.DataFrame) -> dict[int, dict[str, str]]:
        return dict(list(super()._wanted(batch).items())[:1])


class LosesWhatItRejects(Tag):
    """Leaves rejected rows out without a word."""

    def __call__(self, batch: pl.DataFrame) -> Outcome:
        return Outcome(super().__call__(batch).batch)
