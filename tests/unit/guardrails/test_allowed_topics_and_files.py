"""Allow lists: topics that a column may speak of, types of file that a text may name."""

from __future__ import annotations

import json
from collections.abc import Callable

import polars as pl
import pytest

from governance.policy import Policy
from governance.rules import FilesRule, Origin, TextScope, TopicsRule
from governance.verdict import Action, Enforcement, Severity, Verdict
from operators.guardrails.inspect import Inspect
from operators.guardrails.rules import RawRules
from operators.guardrails.topics import TopicRules
from operators.pii.step import Mask

Events = Callable[..., pl.DataFrame]
Policies = Callable[..., Policy]
HEAD = ("only", "About it.", Verdict.DENY, Action.REDACT, Enforcement.ENFORCE, Severity.ERROR, ("agent", "tool"))
TRAVEL = (("flights", ("flight", "boarding pass")), ("hotels", ("hotel", "гостиница")))
RULE = TopicsRule(*HEAD, TRAVEL, 20, TextScope(("input", "output"), Origin.ANY))


def strayed(policy: Policy, frame: pl.DataFrame) -> list[tuple[int, str | None]]:
    return [(row, piece.column) for row, piece in TopicRules(policy)(frame)]


@pytest.mark.parametrize(
    ("text", "strays"),
    [
        ("Please change my flight to Monday", False),
        ("Where is my boarding-pass, I wonder?", False),
        ("Which FLIGHТ leaves first tomorrow?", False),
        ("Какая гостиница открыта сегодня ночью?", False),
        ("Write me a poem about the sea and its ships", True),
        ("The flightless birds of New Zealand, please", True),
        ("Yes, please.", False),
        ("Скажи, кто победит на выборах в этом году?", True),
    ],
)
def test_what_speaks_of_no_allowed_topic_hits(text: str, strays: bool, events: Events, policy_with: Policies) -> None:
    frame = events({"input": json.dumps(text, ensure_ascii=False)})
    assert strayed(policy_with(RULE), frame) == ([(0, "input")] if strays else [])


def test_leaves_speak_together_keys_do_not_and_what_cannot_be_read_is_not_allowed(events: Events, policy_with: Policies) -> None:
    poem = "a poem about the sea and its ships"
    frame = events(
        {"input": json.dumps({"a": poem, "b": "flight"})},
        {"input": json.dumps({"flight": poem})},
        {"output": json.dumps(poem)},
        {"error": json.dumps(poem)},
        {"kind": "reasoning", "input": json.dumps(poem)},
        {"input": None},
    )
    assert strayed(policy_with(RULE), frame) == [(1, "input"), (2, "output")]


def test_a_stray_column_is_a_hit_of_the_event(events: Events, policy_with: Policies) -> None:
    policy = policy_with(RULE)
    frame = events({"input": '"a poem about the sea and its ships"'}, {"input": '"change my flight to Monday, please"'})
    found = Inspect(policy)(
        Mask(policy, bytes(32))(frame.drop("raw_hits", "raw_evidence", "masked", "masked_count", "sealed", strict=False)).batch
    ).batch
    assert found.get_column("hits").to_list() == [["only"], None]


FILES = FilesRule(*HEAD, (), (), TextScope(), ("pdf", "csv"), ("pdf",))


@pytest.mark.parametrize(
    ("text", "hits"),
    [
        ("open report.pdf and data.CSV", False),
        ("open report.pdf.exe", True),
        ("run setup.sh first", True),
        ("save it to /srv/out/result.weird", True),
        (r"C:\Users\x\notes.docx", True),
        ("https://example.com/a/b.zip?x=1", True),
        ("https://example.sh/", False),
        ("write to mia@example.pl", False),
        ("Version 1.2. See example.com for more.", False),
        ("/usr/lib/python3.11/site-packages", False),
        ("JVBERi0xLjQKJcfs", False),
        ("UEsDBBQAAAAIAA", True),
        ("TVqQAAMAAAAEAAAA", True),
    ],
)
def test_a_file_of_another_type_than_the_allowed_hits(text: str, hits: bool, policy_with: Policies) -> None:
    assert bool(RawRules(policy_with(FILES))([text])[0]) is hits
