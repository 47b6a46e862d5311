"""Steps that are wrong in one way each: the proof that each law can fail."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from governance.policy import Policy
from operators.contract import Order, Outcome, State
from operators.deduplicate import Deduplicate
from operators.enrich import Enrich
from operators.guardrails import quota
from operators.guardrails.concurrency import LimitConcurrency
from operators.guardrails.control import Control
from operators.guardrails.depth import LimitDepth
from operators.guardrails.limit import Limit
from operators.guardrails.quota import LimitQuota
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


def _as_of_one_log(batch: pl.DataFrame) -> pl.DataFrame:
    return batch.with_columns(pl.lit("all").alias("topic"), pl.lit(0, dtype=pl.Int32).alias("partition"))


class CountsOverTopics(Limit):
    """Counts an agent's records of all topics, so that which came first decides."""

    def apply(self, state: State, batch: pl.DataFrame, watermark: int | None) -> tuple[State, Outcome]:
        after, outcome = super().apply(state, _as_of_one_log(batch), watermark)
        return after, Outcome(batch.with_columns(outcome.batch["hits"]), facts=outcome.facts)


class CountsByMergedWatermark(Limit):
    """Takes the lane's watermark for the time of a row."""

    def apply(self, state: State, batch: pl.DataFrame, watermark: int | None) -> tuple[State, Outcome]:
        shifted = batch.with_columns(pl.lit(watermark, dtype=pl.Int64).alias("row_watermark"))
        after, outcome = super().apply(state, shifted, None)
        return {} if watermark is not None and watermark >= 10_000 else after, Outcome(batch.with_columns(outcome.batch["hits"]), facts=outcome.facts)


class CountsInOneBatchOnly(Limit):
    """Forgets between batches."""

    def apply(self, state: State, batch: pl.DataFrame, watermark: int | None) -> tuple[State, Outcome]:
        return {}, super().apply({}, batch, watermark)[1]


class OpensOverTopics(LimitConcurrency):
    """Counts executions over all topics."""

    def apply(self, state: State, batch: pl.DataFrame, watermark: int | None) -> tuple[State, Outcome]:
        after, outcome = super().apply(state, _as_of_one_log(batch), watermark)
        return after, Outcome(batch.with_columns(outcome.batch["hits"]), facts=outcome.facts)


class KeepsExecutionsOpen(LimitConcurrency):
    """Never forgets an execution that was not ended."""

    def apply(self, state: State, batch: pl.DataFrame, watermark: int | None) -> tuple[State, Outcome]:
        return super().apply(state, batch, None)


class FollowsOneBatchOnly(LimitDepth):
    """Knows the ids of its own batch alone."""

    def apply(self, state: State, batch: pl.DataFrame, watermark: int | None) -> tuple[State, Outcome]:
        return {}, super().apply({}, batch, watermark)[1]


class RemembersEveryId(LimitDepth):
    """Never forgets an id."""

    def apply(self, state: State, batch: pl.DataFrame, watermark: int | None) -> tuple[State, Outcome]:
        return super().apply(state, batch, None)


class CommandsAtEachBatch(Control):
    """Says a command again in every batch that gives a reason for it."""

    def apply(self, state: State, batch: pl.DataFrame, watermark: int | None) -> tuple[State, Outcome]:
        return {}, super().apply({}, batch, watermark)[1]


class NamesWhatTippedItOver(LimitQuota):
    """Tells with a breach the time of the event that came last before it."""

    def apply(self, state: State, batch: pl.DataFrame, watermark: int | None) -> tuple[State, Outcome]:
        after, outcome = super().apply(state, batch, watermark)
        if batch.is_empty() or not outcome.outputs:
            return after, outcome
        alerts = outcome.outputs["alerts"].with_columns(pl.lit(batch["event_time"][-1], dtype=pl.Int64).alias("event_time"))
        return after, Outcome(outcome.batch, outputs={**outcome.outputs, "alerts": alerts}, facts=outcome.facts)


class BreachesAgainAndAgain(LimitQuota):
    """Tells a breach at every event above the maximum."""

    @staticmethod
    def _passed(
        runs: dict[str, pl.DataFrame], rows: pl.DataFrame, key: quota.Ints, value: quota.Ints, limit: quota.Quota
    ) -> list[tuple[quota.Quota, str, int]]:
        times = rows["event_time"].to_numpy()
        over = np.flatnonzero(quota.tally(runs, limit.window_ms, key, times, value) > limit.total_max)
        starts = times[over] // limit.window_ms * limit.window_ms
        return [(limit, name, start) for name, start in zip(rows["scope_key"].gather(over).to_list(), starts.tolist(), strict=True)]


class TakesLateRowsByMergedWatermark(LimitQuota):
    """Decides lateness by the lane's watermark."""

    def apply(self, state: State, batch: pl.DataFrame, watermark: int | None) -> tuple[State, Outcome]:
        shifted = batch.with_columns(pl.lit(watermark, dtype=pl.Int64).alias("row_watermark"))
        after, outcome = super().apply(state, shifted, watermark)
        return after, Outcome(batch, outputs=outcome.outputs, facts=outcome.facts)


class KeepsSumsInItself(LimitQuota):
    """Hands out no state, so that a snapshot holds nothing."""

    def __init__(self, policy: Policy, lateness_ms: int) -> None:
        super().__init__(policy, lateness_ms)
        self._own: State = {}

    def apply(self, state: State, batch: pl.DataFrame, watermark: int | None) -> tuple[State, Outcome]:
        self._own, outcome = super().apply(self._own, batch, watermark)
        return {}, outcome


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
