"""Depth: how long the chain of causes behind an event is, judged at each event.

An event is found by its event_id, step_id, span_id or execution_id; ``parent_id`` leads to the first event that had the id. Chains inside a batch
are followed by doubling: after ``k`` rounds every event has seen ``2 ** k`` of its ancestors, so ten rounds do for a chain of a thousand.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from governance.limits import Depth, LimitsPolicy
from operators.contract import Order, Outcome, State, StateSpec
from operators.guardrails.tallies import ENTRY, Ints, append, bucket_of, digest, free, keys_of, log_times, totals_of, with_hits
from operators.runs import run_id, runs_by_bucket

_OWNER: Final = ("topic", "partition", "agent_id")
#: What ``parent_id`` can name.
_IDS: Final = ("event_id", "step_id", "span_id", "execution_id")
_NONE: Final = -1


class LimitDepth:
    """Adds to ``hits`` the limits on depth that an event is above.

    The depth of an event without ``parent_id`` is 0, of one whose parent is not known 1, of any other one more than its parent's. Known is an id
    whose first event, of the same agent in the same partition, came before in this window of ``memory_ms`` or in the one before it.

    Shapes: rows with ``hits``; the same rows, ``hits`` sorted.
    Facts: ``("limit_hits", limit id)`` counts events.

    Args:
        limits: Of the policy that ``decide`` has too.
    """

    name: Final = "limit_depth"
    order: Final = Order.LOG_ORDERED

    def __init__(self, limits: LimitsPolicy) -> None:
        self._limits = limits.depth

    @property
    def state_spec(self) -> StateSpec:
        """One entry an id, window and limit, 16 bytes: the key and the depth plus one."""
        return StateSpec(
            version=1,
            schema=ENTRY,
            bound="16 bytes x ids of an event (at most 4) x events/s x (two windows of memory + how far partitions are apart) x limits",
        )

    def apply(self, state: State, batch: pl.DataFrame, watermark: int | None) -> tuple[State, Outcome]:
        """Follows the chains of the batch, tells which are too long, forgets ids that nothing can name any more."""
        if not state and not self._limits:
            return state, Outcome(batch)
        runs = dict(state)
        found: dict[str, NDArray[np.integer]] = {}
        for limit in self._limits:
            places = batch.select(pl.col("kind").is_in(limit.kinds).arg_true()).to_series().to_numpy()
            if len(places):
                depths = _depths(runs, batch[places], limit)
                found[limit.id] = places[depths > limit.depth_max]
        for run in list(runs) if watermark is not None else ():
            window_ms = int(run.partition(":")[0])
            held = {run: runs[run]}
            free(held, watermark, slack_ms=window_ms)
            if not held:
                del runs[run]
        facts = {("limit_hits", name): len(places) for name, places in found.items() if len(places)}
        return runs, Outcome(with_hits(batch, found), facts=facts)


def _depths(runs: dict[str, pl.DataFrame], rows: pl.DataFrame, limit: Depth) -> Ints:
    """Gives the depth of each row, and puts the ids that are new into the state."""
    salt = digest(limit.id)
    windows = log_times(rows) // limit.memory_ms
    owners, keys = [], []
    for name in _IDS:
        at = rows.select(pl.col(name).is_not_null().arg_true()).to_series().to_numpy()
        owners.append(at)
        keys.append(keys_of(rows[at].select(*_OWNER, pl.col(name).alias("id")), (*_OWNER, "id")) ^ salt)
    nodes = pl.DataFrame({"at": np.concatenate(owners).astype(np.int64), "key": np.concatenate(keys)}).with_columns(
        pl.Series("window", windows[np.concatenate(owners)])
    )
    firsts = nodes.group_by("key", "window").agg(pl.col("at").min().alias("first"))
    depth, parent = _begin(runs, rows, limit, salt, windows, firsts)
    while (linked := parent != _NONE).any():
        depth[linked] += depth[parent[linked]]
        parent[linked] = parent[parent[linked]]
    _remember(runs, firsts, depth, limit.memory_ms)
    return depth


def _begin(
    runs: dict[str, pl.DataFrame], rows: pl.DataFrame, limit: Depth, salt: int, windows: Ints, firsts: pl.DataFrame
) -> tuple[Ints, NDArray[np.int64]]:
    """Gives for each row its depth as far as the state tells, or 1 and the row of this batch that leads on."""
    depth, parent = np.zeros(rows.height, dtype=np.int64), np.full(rows.height, _NONE, dtype=np.int64)
    at = rows.select(pl.col("parent_id").is_not_null().arg_true()).to_series().to_numpy()
    if not len(at):
        return depth, parent
    asked = keys_of(rows[at].select(*_OWNER, pl.col("parent_id").alias("id")), (*_OWNER, "id")) ^ salt
    known, leads = np.zeros(len(at), dtype=np.int64), np.full(len(at), _NONE, dtype=np.int64)
    sequences = runs_by_bucket(runs)
    for back in (1, 0):
        looked = windows[at] - back
        for window in np.unique(looked).tolist():
            here = np.flatnonzero((looked == window) & (known == 0) & (leads == _NONE))
            bucket = bucket_of(limit.memory_ms, window)
            known[here] = totals_of(runs, [run_id(bucket, number) for number in sequences.get(bucket, ())], asked[here])
        wanted = pl.DataFrame({"key": asked, "window": looked})
        first = wanted.join(firsts, on=["key", "window"], how="left", maintain_order="left")["first"].fill_null(_NONE).to_numpy()
        leads = np.where((known == 0) & (leads == _NONE) & (first != _NONE) & (first < at), first, leads)
    depth[at] = np.where(known > 0, known, 1)  # the state holds depth + 1, which is the depth of a child
    parent[at] = leads
    return depth, parent


def _remember(runs: dict[str, pl.DataFrame], firsts: pl.DataFrame, depth: Ints, memory_ms: int) -> None:
    """Puts ids into the state that their window does not hold yet."""
    sequences = runs_by_bucket(runs)
    for (window,), part in firsts.partition_by("window", as_dict=True).items():
        bucket = bucket_of(memory_ms, int(window))
        numbers = sequences.get(bucket, [])
        keys = part["key"].to_numpy()
        fresh = totals_of(runs, [run_id(bucket, number) for number in numbers], keys) == 0
        entries = pl.DataFrame([keys[fresh], depth[part["first"].to_numpy()[fresh]] + 1], schema=ENTRY).sort("key")
        if entries.height:
            append(runs, bucket, numbers, entries)
