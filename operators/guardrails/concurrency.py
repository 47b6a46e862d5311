"""Concurrency: how many executions of an agent are open at once, judged at each event.

Each event of an execution that is no end opens an interval, which lasts to the execution's next event or until the execution was quiet for too long.
Intervals of one execution never overlap, so the number of intervals over an event is the number of open executions. Time is the partition's own
(``tallies.log_times``), so the answer depends on the order of one log alone.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from governance.limits import Concurrency, LimitsPolicy
from operators.contract import Order, Outcome, State, StateSpec
from operators.guardrails.tallies import digest, keys_of, log_times, with_hits

#: An open execution: of whom, which, and when its last event came.
OPEN: Final = pl.Schema({"owner": pl.Int64(), "execution": pl.Int64(), "seen": pl.Int64()})

_OWNER: Final = ("topic", "partition", "agent_id")
_EXECUTION: Final = (*_OWNER, "execution_id")
#: State of a limit lies in so many frames, by owner: a batch of few agents rewrites few of them.
_SHARDS: Final = 16


class LimitConcurrency:
    """Adds to ``hits`` the limits on open executions that an event is above.

    An event hits iff, with it, more than ``open_max`` executions of its agent are open in its partition and it ends none. Events without
    ``execution_id`` neither count nor hit.

    Shapes: rows with ``hits``; the same rows, ``hits`` sorted.
    Facts: ``("limit_hits", limit id)`` counts events.

    Args:
        limits: Of the policy that ``decide`` has too.
    """

    name: Final = "limit_concurrency"
    order: Final = Order.LOG_ORDERED

    def __init__(self, limits: LimitsPolicy) -> None:
        self._limits = limits.concurrency
        # How long an execution may be quiet is in the name, so that state is freed that the policy of the moment does not know.
        self._names = {f"{digest(limit.id) & 0xFFFFFFFFFFFFFFFF:016x}.{limit.quiet_ms}": limit for limit in self._limits}

    @property
    def state_spec(self) -> StateSpec:
        """One entry an open execution and limit, 24 bytes."""
        return StateSpec(
            version=1,
            schema=OPEN,
            bound="24 bytes x executions that were not ended and not quiet for quiet_ms of the slowest partition's time x limits on concurrency",
        )

    def apply(self, state: State, batch: pl.DataFrame, watermark: int | None) -> tuple[State, Outcome]:
        """Counts the batch, tells who is above a limit, forgets executions that were quiet for too long."""
        if not state and not self._limits:
            return state, Outcome(batch)
        frames = dict(state)
        found: dict[str, NDArray[np.integer]] = {}
        for name, limit in self._names.items():
            rows = batch.select(pl.int_range(pl.len()).alias("at"), *_EXECUTION, "event_type", "event_time", "row_watermark", "kind").filter(
                pl.col("execution_id").is_not_null() & pl.col("kind").is_in(limit.kinds)
            )
            if rows.height:
                found[limit.id] = _count(frames, name, rows, limit)
        if watermark is not None:
            _forget(frames, watermark)
        facts = {("limit_hits", limit): len(places) for limit, places in found.items() if len(places)}
        return frames, Outcome(with_hits(batch, found), facts=facts)


def _count(frames: dict[str, pl.DataFrame], name: str, rows: pl.DataFrame, limit: Concurrency) -> NDArray[np.integer]:
    """Gives the places of the rows that are above the limit, and takes the rows into the state."""
    owner = keys_of(rows, _OWNER)
    events = rows.select(
        "at",
        pl.Series("owner", owner),
        pl.Series("execution", keys_of(rows, _EXECUTION)),
        pl.Series("seen", log_times(rows)),
        (~pl.col("event_type").is_in(limit.ends)).fill_null(True).alias("open"),
    )
    touched = np.unique(owner % _SHARDS).tolist()
    old = [frames[f"{name}/{shard}"] for shard in touched if f"{name}/{shard}" in frames]
    known = pl.concat([pl.DataFrame(schema=OPEN), *old]).select(pl.lit(-1, dtype=pl.Int64).alias("at"), *OPEN, pl.lit(True).alias("open"))
    of_owners = known.filter(pl.col("owner").is_in(events["owner"].unique().implode()))
    lives = pl.concat([of_owners, events]).sort("execution", "at").with_columns(pl.col("at").shift(-1).over("execution").alias("next"))
    counted = _covering(lives.filter("open"), events, limit.quiet_ms)
    last = lives.filter(pl.col("next").is_null() & pl.col("open")).join(events.group_by("owner").agg(pl.col("seen").max().alias("now")), on="owner")
    left = pl.concat(
        [known.join(of_owners, on="execution", how="anti"), last.filter(pl.col("seen") + limit.quiet_ms > pl.col("now")).select(known.columns)]
    )
    for shard in touched:
        frame = left.filter(pl.col("owner") % _SHARDS == shard).select(OPEN.names())
        if frame.height:
            frames[f"{name}/{shard}"] = frame
        else:
            frames.pop(f"{name}/{shard}", None)
    over = counted.filter(pl.col("open") & (pl.col("count") > limit.open_max))
    return over["at"].to_numpy()


def _covering(intervals: pl.DataFrame, events: pl.DataFrame, quiet_ms: int) -> pl.DataFrame:
    """Gives the events with ``count``, the number of intervals over each.

    Args:
        intervals: Rows that open one: ``at`` where it begins (-1 before the batch), ``next`` where the execution goes on, null where it does not.
        events: Rows of the batch.
        quiet_ms: An interval ends with the first event of its owner that comes so long after its beginning.
    """
    first = events.group_by("owner", "seen").agg(pl.col("at").min().alias("expired")).sort("seen")
    expiring = intervals.with_columns((pl.col("seen") + quiet_ms).alias("until")).sort("until")
    ending = expiring.join_asof(first, left_on="until", right_on="seen", by="owner", strategy="forward", check_sortedness=False)
    begins = intervals.select("owner", "at", pl.lit(1, dtype=pl.Int64).alias("step"))
    ends = ending.select("owner", pl.min_horizontal("next", "expired").alias("at"), pl.lit(-1, dtype=pl.Int64).alias("step")).drop_nulls("at")
    counts = (
        pl.concat([begins, ends])
        .group_by("owner", "at")
        .agg(pl.col("step").sum())
        .sort("owner", "at")
        .with_columns(pl.col("step").cum_sum().over("owner").alias("count"))
    )
    # An end of an execution that was not open changes nothing and stands in no step: the count before it holds.
    return (
        events.sort("at").join_asof(counts.sort("at"), on="at", by="owner", strategy="backward", check_sortedness=False).select("at", "open", "count")
    )


def _forget(frames: dict[str, pl.DataFrame], watermark: int) -> None:
    """Drops executions that every partition has seen quiet for too long."""
    for bucket in list(frames):
        quiet_ms = int(bucket.partition("/")[0].partition(".")[2])
        old = frames[bucket]["seen"] <= watermark - quiet_ms
        if old.all():
            del frames[bucket]
        elif old.any():
            frames[bucket] = frames[bucket].filter(~old)
