"""Limit: budgets of agents, judged at each event.

A budget counts the records of one agent in one partition of one topic, in windows of that partition's own time (``tallies.log_times``), so what an
event gets depends on the order of that log alone: not on other partitions, not on how batches were cut, not on when the run happened.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from governance.limits import Budget, LimitsPolicy, Measure, Per
from operators.contract import Order, Outcome, State, StateSpec
from operators.guardrails.tallies import ENTRY, Ints, digest, free, keys_of, log_times, tally, with_hits
from operators.windows.accumulators import FAILED

_AGENT: Final = ("topic", "partition", "agent_id")
#: What tells the things apart that a limit counts.
_KEY: Final = {
    Per.AGENT: _AGENT,
    Per.SESSION: (*_AGENT, "session_id"),
    Per.EXECUTION: (*_AGENT, "execution_id"),
    Per.CALL: (*_AGENT, "tool_name", "input"),
}

#: What an event adds, by measure.
VALUE: Final = {
    Measure.EVENTS: pl.lit(1, dtype=pl.Int64),
    Measure.FAILURES: FAILED.cast(pl.Int64),
    Measure.TOKENS: pl.col("input_tokens").fill_null(0) + pl.col("output_tokens").fill_null(0),
    Measure.COST_NANO_USD: pl.col("cost_nano_usd").fill_null(0),
    Measure.EXECUTION_TIME_US: pl.col("latency_us").fill_null(0),
}


class Limit:
    """Adds to ``hits`` the budgets that an event overdraws.

    An event overdraws a budget iff it adds to the sum of its key and window, and the sum with it is above the maximum. So of equal events the first
    ``total_max`` pass; one that adds nothing never hits. Events that hit count as well: attempts are what a limit is about.

    Shapes: rows with ``hits``; the same rows, ``hits`` sorted.
    Facts: ``("limit_hits", limit id)`` counts events.

    Args:
        limits: Of the policy that ``decide`` has too.
    """

    name: Final = "limit"
    order: Final = Order.LOG_ORDERED

    def __init__(self, limits: LimitsPolicy) -> None:
        self._by_window: dict[int, list[tuple[Budget, int]]] = defaultdict(list)
        for budget in limits.budgets:
            self._by_window[budget.window_ms].append((budget, digest(budget.id)))

    @property
    def state_spec(self) -> StateSpec:
        """One entry a budget, key and window, 16 bytes."""
        return StateSpec(
            version=1,
            schema=ENTRY,
            bound="16 bytes x keys active in a window (agents, sessions, executions or distinct calls) x budgets, for the windows that the slowest "
            "partition has not passed; at most twice that while runs wait to be merged",
        )

    def apply(self, state: State, batch: pl.DataFrame, watermark: int | None) -> tuple[State, Outcome]:
        """Counts the batch, tells who is over a budget, frees windows that every partition has passed."""
        if not state and not self._by_window:
            return state, Outcome(batch)
        runs = dict(state)
        found: dict[str, NDArray[np.integer]] = {}
        if batch.height:
            times = log_times(batch)
            keys = _Keys(batch)
            for window_ms, budgets in self._by_window.items():
                counted = [self._counted(batch, keys, budget, salt) for budget, salt in budgets]
                places, key, value = (np.concatenate(parts) for parts in zip(*counted, strict=True))
                over = tally(runs, window_ms, key, times[places], value)
                start = 0
                for (budget, _), (at, _, _) in zip(budgets, counted, strict=True):
                    found[budget.id] = at[over[start : start + len(at)] > budget.total_max]
                    start += len(at)
        free(runs, watermark)
        facts = {("limit_hits", name): len(places) for name, places in found.items() if len(places)}
        return runs, Outcome(with_hits(batch, found), facts=facts)

    @staticmethod
    def _counted(batch: pl.DataFrame, keys: _Keys, budget: Budget, salt: int) -> tuple[NDArray[np.integer], Ints, Ints]:
        """Gives places, keys and values of the rows that add to a budget. The salt keeps budgets apart that share a window's runs."""
        at, key = keys.of(budget.per)
        value = batch.select(pl.when(pl.col("kind").is_in(budget.kinds)).then(VALUE[budget.measure]).otherwise(0)).to_series().to_numpy()[at]
        adds = value > 0
        return at[adds], key[adds] ^ salt, value[adds]


class _Keys:
    """The keys of a batch by what is counted, each made once."""

    def __init__(self, batch: pl.DataFrame) -> None:
        self._batch = batch
        self._made: dict[Per, tuple[NDArray[np.integer], Ints]] = {}

    def of(self, per: Per) -> tuple[NDArray[np.integer], Ints]:
        """Gives the places of the rows that have a key, and their keys."""
        if per not in self._made:
            columns = _KEY[per]
            at = self._batch.select(pl.all_horizontal(pl.col(columns).is_not_null()).arg_true()).to_series().to_numpy()
            self._made[per] = at, keys_of(self._batch[at] if len(at) < self._batch.height else self._batch, columns)
        return self._made[per]
