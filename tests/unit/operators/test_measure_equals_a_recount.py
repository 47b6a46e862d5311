"""What measure emits in the end equals a plain recount of the events; windows revise, settle and are freed as stated."""

from __future__ import annotations

from typing import Any

import polars as pl
from hypothesis import given, settings

from operators.contract import EMPTY_STATE, Outcome, State
from operators.windows.accumulators import FAILED
from operators.windows.measure import TOPIC, Measure
from schemas.events import EVENT, ROW_WATERMARK
from schemas.frames import output_schema
from tests.property.event_streams import END, Case, cases

WINDOW, LATENESS = 10, 20
STEP = Measure(window_ms=WINDOW, lateness_ms=LATENESS)
FULL = {**EVENT, **ROW_WATERMARK}


def _events(*times: int, mark: int | None = None, **more: Any) -> pl.DataFrame:
    row = {"kind": "agent", "agent_id": "ada", "event_type": "agent.executed", "row_watermark": mark, **more}
    return pl.DataFrame([{**row, "event_time": time} for time in times], schema=FULL)


def _recount(rows: list[dict[str, Any]]) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """The definition, event by event."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        start = row["event_time"] - row["event_time"] % WINDOW
        if row["row_watermark"] is None or start + WINDOW + LATENESS > row["row_watermark"]:
            groups.setdefault((start, row["agent_id"], row["event_type"], row["tool_name"]), []).append(row)
    told = {}
    for key, members in groups.items():
        latencies = [row["latency_us"] for row in members if row["latency_us"] is not None]
        times = [row["event_time"] for row in members]
        failed = [row for row in members if row["event_type"].endswith(".failed") or row["status"] == "TIMEOUT" or row["error"]]
        sums = [sum(row[name] or 0 for row in members) for name in ("input_tokens", "cost_nano_usd", "confidence_ppm")]
        spread = (min(latencies), max(latencies), sum(latencies) / len(latencies)) if latencies else (None, None, None)
        calls = sum(row["kind"] == "tool" for row in members)
        told[key] = (len(members), len(failed), len(latencies), sum(latencies), *spread, *sums, calls, min(times), max(times))
    return told


_TOLD = (
    *("events", "errors", "latency_count", "latency_sum_us", "latency_min_us", "latency_max_us", "latency_mean_us"),
    *("input_tokens", "cost_nano_usd", "confidence_sum_ppm", "tool_calls", "first_event_time", "last_event_time"),
)


@settings(max_examples=60, deadline=None)
@given(cases())
def test_the_last_revisions_equal_a_recount(case: Case) -> None:
    state: State = EMPTY_STATE
    marks, final = case.marks(), {}
    for at in range(0, case.rows.height + 1, 3):
        batch = case.rows[at : at + 3]
        state, outcome = STEP.apply(state, batch, marks[at + batch.height])
        final |= _final(outcome)
    state, outcome = STEP.apply(state, case.rows.clear(), END)
    final |= _final(outcome)
    assert final == _recount(case.rows.to_dicts())


def _final(outcome: Outcome) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    rows = outcome.outputs[TOPIC].to_dicts() if TOPIC in outcome.outputs else []
    assert all(row["revision"] == row["events"] and row["window_end"] == row["window_start"] + WINDOW for row in rows)
    return {(row["window_start"], row["agent_id"], row["event_type"], row["tool_name"]): tuple(row[name] for name in _TOLD) for row in rows}


@settings(max_examples=60, deadline=None)
@given(cases())
def test_a_row_that_is_not_late_never_meets_a_freed_window(case: Case) -> None:
    marks = case.marks()
    for at, (time, mark) in enumerate(case.rows.select("event_time", "row_watermark").iter_rows()):
        end = time - time % WINDOW + WINDOW + LATENESS
        merged = marks[at]  # the highest that the step can have been shown before this row
        if merged is not None and merged >= end:
            assert mark is not None
            assert mark >= end


def test_records_have_the_schema_of_their_topic_and_state_that_of_the_spec() -> None:
    state, outcome = STEP.apply(EMPTY_STATE, _events(1, 11, latency_us=5), 10)
    assert outcome.outputs[TOPIC].schema == output_schema(TOPIC)
    assert {frame.schema == STEP.state_spec.schema for frame in state.values()} == {True}


def test_only_groups_that_changed_are_emitted_again() -> None:
    state, _ = STEP.apply(EMPTY_STATE, pl.concat([_events(1, 2), _events(1, agent_id="bob")]), 10)
    state, outcome = STEP.apply(state, _events(3, 15, mark=9), 12)
    assert outcome.outputs[TOPIC].select("agent_id", "window_start", "revision").rows() == [("ada", 0, 3)]
    assert STEP.apply(state, _events(), 12)[1].outputs == {}


def test_a_batch_leaves_the_frames_of_other_windows_as_they_are() -> None:
    before, _ = STEP.apply(EMPTY_STATE, _events(1, 11, 21), 10)
    after, _ = STEP.apply(before, _events(12, mark=10), 10)
    assert all(after[run] is before[run] for run in before)
    assert len(after) == len(before) + 1


def test_many_small_batches_leave_few_runs() -> None:
    state: State = EMPTY_STATE
    for at in range(100):
        state, _ = STEP.apply(state, _events(at % 10, latency_us=at), None)
    assert len(state) <= 17
    _, outcome = STEP.apply(state, _events(), 10)
    assert outcome.outputs[TOPIC]["events"].to_list() == [100]
    assert outcome.outputs[TOPIC]["latency_p50_us"].to_list() == [49.0]


def test_a_late_row_goes_on_marked_counted_as_a_fact_and_in_no_window() -> None:
    state, outcome = STEP.apply(EMPTY_STATE, pl.concat([_events(5, mark=30), _events(5, mark=29)]), None)
    assert outcome.batch["late"].to_list() == [True, False]
    assert outcome.facts == {("late_events", "agent"): 1}
    assert sum(frame["events"].sum() for frame in state.values()) == 1


def test_a_window_without_a_tool_name_is_not_the_window_of_an_empty_one() -> None:
    _, outcome = STEP.apply(EMPTY_STATE, pl.concat([_events(1), _events(1, tool_name="")]), 10)
    assert outcome.outputs[TOPIC]["window_uid"].n_unique() == 2


def test_an_event_failed_by_status_type_or_error() -> None:
    told = [("ok", "a", None), ("Failed", "a", None), (None, "agent.failed", None), (None, "a", '{"x":1}'), (None, "a", "null"), (None, "a", None)]
    frame = pl.DataFrame(told, schema={"status": pl.String, "event_type": pl.String, "error": pl.String}, orient="row")
    assert frame.select(FAILED).to_series().to_list() == [False, True, True, True, False, False]
