"""Limits in frames against the same limits told in plain loops, over drawn streams, whole and cut."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from governance.limits import Budget, Concurrency, Depth, LimitsPolicy, Measure, Per
from governance.rules import KINDS
from governance.verdict import Action, Enforcement, Severity, Verdict
from operators.contract import EMPTY_STATE, KeyedStep
from operators.guardrails.concurrency import LimitConcurrency
from operators.guardrails.depth import LimitDepth
from operators.guardrails.limit import Limit
from schemas.events import EVENT, INSPECTED, ROW_WATERMARK

SCHEMA = pl.Schema({**EVENT, **ROW_WATERMARK, **INSPECTED})
HEAD = ("counts", Verdict.DENY, Action.THROTTLE, Enforcement.ENFORCE, Severity.WARNING, KINDS)
COST = Budget("cost", *HEAD, Per.AGENT, Measure.COST_NANO_USD, 10, 5)
LOOP = Budget("loop", *HEAD, Per.CALL, Measure.EVENTS, 10, 2)
OPEN = Concurrency("open", *HEAD, 1, ("end",), 7)
DEPTH = Depth("depth", *HEAD, 2, 9)

_EVENTS = st.lists(
    st.tuples(
        st.sampled_from(("ada", "bob")),
        st.integers(0, 3),  # by how much time goes on
        st.integers(0, 3),  # cost
        st.sampled_from((None, "x", "y", "z")),  # execution
        st.booleans(),  # ends it
        st.integers(-2, 8),  # which earlier event is its parent, by place; negative for none
        st.integers(0, 6),  # how old its event time is
    ),
    max_size=25,
)


def stream(drawn: list[tuple[str, int, int, str | None, bool, int, int]]) -> pl.DataFrame:
    rows: list[dict[str, Any]] = []
    now, mark = 0, None
    for place, (agent, step, cost, execution, ends, parent, age) in enumerate(drawn):
        now += step
        time = now - age
        rows.append(
            {
                "topic": "tool_executions",
                "partition": 0,
                "offset": place,
                "kind": "tool",
                "agent_id": agent,
                "event_id": f"e{place}",
                "event_type": "end" if ends else "go",
                "event_time": time,
                "row_watermark": mark,
                "cost_nano_usd": cost,
                "execution_id": execution,
                "parent_id": None if parent < 0 else f"e{parent}",
                "tool_name": "search" if cost else None,
                "input": f'"{cost % 2}"',
            }
        )
        mark = time if mark is None else max(mark, time)
    return pl.DataFrame(rows, schema=SCHEMA)


def hits(step: KeyedStep, rows: pl.DataFrame, cut: int, name: str) -> list[int]:
    """The places that hit, of a run in two batches, state freed by the watermark after each."""
    found, state = [], EMPTY_STATE
    for part in (rows[:cut], rows[cut:]):
        mark = part.select(pl.max_horizontal(pl.col("event_time"), "row_watermark").max()).item() if part.height else None
        state, outcome = step.apply(state, part, mark)
        found += outcome.batch.filter(pl.col("hits").list.contains(name))["offset"].to_list()
    return found


def now_of(row: dict[str, Any]) -> int:
    return row["event_time"] if row["row_watermark"] is None else max(row["event_time"], row["row_watermark"])


@settings(max_examples=150, deadline=None)
@given(_EVENTS, st.integers(0, 25))
def test_budgets_hit_where_a_running_sum_passes_the_maximum(drawn: list[Any], cut: int) -> None:
    rows = stream(drawn)
    sums: defaultdict[Any, int] = defaultdict(int)
    cost, loop = [], []
    for place, row in enumerate(rows.to_dicts()):
        window = now_of(row) // 10
        sums[row["agent_id"], window] += row["cost_nano_usd"]
        if row["cost_nano_usd"] and sums[row["agent_id"], window] > 5:
            cost.append(place)
        if row["tool_name"]:
            sums[row["agent_id"], row["input"], window] += 1
            if sums[row["agent_id"], row["input"], window] > 2:
                loop.append(place)
    step = Limit(LimitsPolicy(agents=(COST, LOOP)))
    assert hits(step, rows, cut, "cost") == cost
    assert hits(step, rows, cut, "loop") == loop


@settings(max_examples=200, deadline=None)
@given(_EVENTS, st.integers(0, 25))
def test_concurrency_hits_where_more_executions_are_open_than_allowed(drawn: list[Any], cut: int) -> None:
    rows = stream(drawn)
    seen: dict[tuple[str, str], int] = {}
    expected = []
    for place, row in enumerate(rows.to_dicts()):
        if row["execution_id"] is None:
            continue
        now, execution = now_of(row), (row["agent_id"], row["execution_id"])
        if row["event_type"] == "end":
            seen.pop(execution, None)
            continue
        seen[execution] = now
        if sum(owner == row["agent_id"] and last + OPEN.quiet_ms > now for (owner, _), last in seen.items()) > OPEN.open_max:
            expected.append(place)
    assert hits(LimitConcurrency(LimitsPolicy(agents=(OPEN,))), rows, cut, "open") == expected


@settings(max_examples=200, deadline=None)
@given(_EVENTS, st.integers(0, 25))
def test_depth_hits_where_a_chain_of_known_causes_is_too_long(drawn: list[Any], cut: int) -> None:
    rows = stream(drawn)
    known: dict[tuple[str, str, int], int] = {}
    expected = []
    for place, row in enumerate(rows.to_dicts()):
        window, agent, parent = now_of(row) // DEPTH.memory_ms, row["agent_id"], row["parent_id"]
        depth = 0
        if parent is not None:
            depth = 1 + next((known[agent, parent, window - back] for back in (1, 0) if (agent, parent, window - back) in known), 0)
        if depth > DEPTH.depth_max:
            expected.append(place)
        for name in (row["event_id"], row["execution_id"]):
            if name is not None:
                known.setdefault((agent, name, window), depth)
    assert hits(LimitDepth(LimitsPolicy(agents=(DEPTH,))), rows, cut, "depth") == expected


def test_a_chain_of_a_thousand_in_one_batch_is_followed_to_its_end() -> None:
    drawn = [("ada", 0, 0, None, False, place - 1, 0) for place in range(1_000)]
    assert len(hits(LimitDepth(LimitsPolicy(agents=(DEPTH,))), stream(drawn), 1_000, "depth")) == 997
