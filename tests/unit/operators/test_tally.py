"""Tally: every masked span is counted once, in its window or by itself when it comes too late."""

from __future__ import annotations

import json
from collections import Counter

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.contract import EMPTY_STATE, State
from operators.tally import TallyMasks
from schemas.events import EVENT, MASKED, ROW_WATERMARK

END = 2**62


def span(entity: str, path: str = "x") -> dict[str, object]:
    return {"entity": entity, "column": "input", "path": path, "score": 0.9, "recogniser": "R"}


TRAP = [span("PERSON", 'a"["EMAIL_ADDRESS"'), span("PERSON")]
URL = [span("URL")]


def rows(*of: tuple[int, str, int | None, list[dict[str, object]] | None]) -> pl.DataFrame:
    """(event time, agent, row watermark, masked)"""
    made = [
        {"event_uid": f"e{n}-{time}-{agent}", "event_time": time, "agent_id": agent, "row_watermark": mark, "masked_spans": masked}
        for n, (time, agent, mark, masked) in enumerate(of)
    ]
    return pl.DataFrame(made, schema={**EVENT, **MASKED, **ROW_WATERMARK})


def counted(outputs: list[pl.DataFrame]) -> Counter[tuple[int, str, str]]:
    found = Counter[tuple[int, str, str]]()
    for frame in outputs:
        for entry in frame.iter_rows(named=True):
            for entity, spans in json.loads(entry["detail"])["masked"].items():
                found[entry["event_time"], entry["agent_id"], entity] += spans
    return found


def test_a_window_is_told_once_it_is_past_its_lateness() -> None:
    tally = TallyMasks(window_ms=10, lateness_ms=20)
    state, outcome = tally.apply(EMPTY_STATE, rows((3, "a", None, TRAP), (5, "b", None, None), (7, "a", 3, URL)), 29)
    assert outcome.outputs == {}
    state, outcome = tally.apply(state, rows(), 30)
    assert counted([outcome.outputs["audit_log"]]) == {(0, "a", "PERSON"): 2, (0, "a", "URL"): 1}
    assert state == {}


def test_a_row_that_comes_too_late_is_an_entry_of_its_own() -> None:
    tally = TallyMasks(window_ms=10, lateness_ms=20)
    state, outcome = tally.apply(EMPTY_STATE, rows((3, "a", 30, TRAP)), 30)
    assert state == {}
    assert outcome.outputs["audit_log"]["event_uid"].to_list() == ["e0-3-a"]
    assert counted([outcome.outputs["audit_log"]]) == {(0, "a", "PERSON"): 2}


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.sampled_from("ab"), st.none(), st.sampled_from([None, TRAP, URL])), max_size=12),
    st.data(),
)
def test_wherever_batches_are_cut_every_span_is_counted_once(made: list[tuple[int, str, None, str | None]], data: st.DataObject) -> None:
    tally = TallyMasks(window_ms=10, lateness_ms=20)
    frame = rows(*made)
    cut = data.draw(st.integers(0, len(made)))
    state: State = EMPTY_STATE
    outputs = []
    for part, mark in ((frame[:cut], None), (frame[cut:], END)):
        state, outcome = tally.apply(state, part, mark)
        outputs += list(outcome.outputs.values())
    expected = Counter[tuple[int, str, str]]()
    for time, agent, _, masked in made:
        for entity in [str(one["entity"]) for one in masked or ()]:
            expected[time - time % 10, agent, entity] += 1
    assert counted(outputs) == expected
