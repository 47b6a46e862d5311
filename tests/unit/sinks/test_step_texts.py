"""Which events become vectors, which text of them, and why the others do not."""

from __future__ import annotations

import json

import msgspec
import polars as pl
import pytest

from sinks.contract import Refused
from sinks.step_texts import PATHS_MAX, TextRule, chosen
from tests.fixtures.outputs import records

TOPIC = "enriched_events"


def events(*given: dict[str, object]) -> pl.DataFrame:
    """Gives events without content, changed as said; content is given as values."""
    frame = records(TOPIC, len(given))
    plain = {"kind": "reasoning", "input": None, "output": None, "error": None, "tool_name": None, "event_type": "step", "session_id": "s-1"}
    plain |= {"execution_id": None, "step_type": None, "agent_id": "a-1", "action": "pass", "topic": "reasoning_traces"}
    rows = [{**plain, **row} for row in given]
    for row in rows:
        row |= {name: json.dumps(row[name]) for name in ("input", "output", "error") if row[name] is not None}
    return frame.with_columns(pl.Series(name, [row[name] for row in rows], dtype=frame.schema[name]) for name in rows[0])


def test_a_text_is_the_strings_of_its_columns_in_order_with_their_keys_and_paths() -> None:
    output = {"title": "Two trains to Rome", "rows": [{"at": "nine", "price": 7}, "at ten"], "empty": " "}
    picked = chosen(events({"kind": "tool", "output": output, "tool_name": "search"}), TextRule())
    (payload,) = picked.payloads.values()
    assert payload["text"] == "title: Two trains to Rome\nat: nine\nrows: at ten"
    assert payload["paths"] == ["output/title", "output/rows/0/at", "output/rows/1"]
    assert (payload["tool_name"], payload["cut"], payload["kind"]) == ("search", False, "tool")


def test_every_row_is_chosen_or_left_out_for_a_reason() -> None:
    frame = events(
        {"output": "I should compare both trains first"},
        {"output": "too short"},
        {"output": [1, 2.5, True, None]},
        {},
        {"kind": "system", "output": "a message of the system that is long enough"},
        {"output": "<EMAIL_ADDRESS> <PERSON:kjdmgbpahcol> <PHONE_NUMBER> yes"},
        {"output": "<REDACTED>"},
    )
    picked = chosen(frame, TextRule())
    assert list(picked.payloads) == [f"{0:032x}"]
    assert picked.left_out == {"short": 2, "empty": 3, "not_selected": 1}
    assert picked.unmasked == []


def test_a_long_text_is_cut_where_the_rule_says_and_the_payload_says_so() -> None:
    frame = events({"output": "x" * 40}, {"output": "x" * 41}, {"output": ["y" * 3] * 100})
    payloads = list(chosen(frame, TextRule(chars_max=40)).payloads.values())
    assert [(len(payload["text"]), payload["cut"]) for payload in payloads] == [(40, False), (40, True), (40, True)]
    assert len(chosen(events({"output": ["word"] * 200}), TextRule()).payloads[f"{0:032x}"]["paths"]) == PATHS_MAX


@pytest.mark.parametrize(
    "change",
    [
        {"output": "please write to mia.li@example.com about it"},
        {"output": {"mia.li@example.com": "a key of an object is a path"}},
        {"output": "a text that is long enough", "session_id": "mia.li@example.com"},
        {"output": "a text that is long enough", "agent_id": "mia.li@example.com"},
    ],
)
def test_an_event_with_personal_data_left_in_it_is_refused_by_its_coordinates(change: dict[str, object]) -> None:
    frame = events({"output": "a clean text that is long enough"}, change)
    picked = chosen(frame, TextRule())
    assert (len(picked.payloads), picked.left_out) == (1, {"unmasked": 1})
    row = frame.row(1, named=True)
    assert picked.unmasked == [Refused(row["topic"], row["partition"], row["offset"], "unmasked: EMAIL_ADDRESS")]
    assert "mia" not in repr(picked.unmasked)
    assert len(chosen(frame, TextRule(masked=frozenset({"US_SSN"}))).payloads) == 2  # policy keeps addresses


def test_an_id_that_comes_twice_is_taken_once() -> None:
    frame = events({"output": "the same text that is long enough"})
    picked = chosen(pl.concat([frame, frame]), TextRule())
    assert (len(picked.payloads), picked.repeated, picked.left_out) == (1, 1, {})


def test_content_that_is_no_json_is_our_bug() -> None:
    frame = events({"output": "x"}).with_columns(pl.lit("{").alias("output"))
    with pytest.raises(msgspec.DecodeError):
        chosen(frame, TextRule())
