"""Names that a model found are masked with what patterns find; a result made without them never stands for one made with them."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from governance.parse import default_policy
from operators.contract import Outcome
from operators.pii.names import RECOGNISER, Names, decoded, encoded
from operators.pii.spans import Span
from operators.pii.step import Mask, examined_leaves
from schemas.errors import MaskingFailed
from schemas.events import EVENT, NAMED, ROW_WATERMARK, SCORED

KEY = b"a key of sixteen bytes"
SCHEMA = pl.Schema({**EVENT, **ROW_WATERMARK, **NAMED, "degraded": SCORED["degraded"]})


@pytest.fixture(scope="module")
def mask() -> Mask:
    return Mask(default_policy(), KEY)


def events(*rows: tuple[Any, str | None]) -> pl.DataFrame:
    made = [
        {
            "topic": "agent_events",
            "partition": 0,
            "offset": at,
            "kind": "agent",
            "event_id": f"e{at}",
            "agent_id": "a",
            "input": json.dumps(value),
            "names": names,
        }
        for at, (value, names) in enumerate(rows)
    ]
    return pl.DataFrame(made, schema=SCHEMA)


def named(value: Any, *words: tuple[str, str], score: float = 0.9) -> tuple[Any, str]:
    """Gives an event with every place where a word stands in a leaf as a name."""
    found = [
        (index, Span(entity, leaf.index(word), leaf.index(word) + len(word), score))
        for index, leaf in enumerate(examined_leaves(default_policy()).examined(json.dumps(value)))
        for word, entity in words
        if word in leaf
    ]
    return value, encoded({"input": tuple(found)})


def inputs(outcome: Outcome) -> list[Any]:
    return [json.loads(text) for text in outcome.batch["input"]]


def test_names_patterns_and_keys_are_masked_together(mask: Mask) -> None:
    value = {"text": "Mia Li <mia@example.com> from Oslo", "first_name": "Mia Li", "inner": json.dumps({"Mia Li": ["Mia Li"]}), "n": 5}
    outcome = mask(events(named(value, ("Mia Li", "PERSON"), ("Oslo", "LOCATION"))))
    (masked,) = inputs(outcome)
    assert masked["text"] == "<PERSON> <<EMAIL_ADDRESS>> from <LOCATION>"
    assert masked["first_name"] == "<PERSON>"
    assert json.loads(masked["inner"]) == {"<PERSON>": ["<PERSON>"]}
    assert "Mia" not in str(outcome.batch.to_dicts())
    assert outcome.facts == {
        ("masked_entities", "EMAIL_ADDRESS"): 1,
        ("masked_entities", "LOCATION"): 1,
        ("masked_entities", "PERSON"): 4,
        ("masked_recognisers", "EmailRecognizer"): 1,
        ("masked_recognisers", "KeyNames"): 1,
        ("masked_recognisers", "pii_tagger"): 4,
    }
    assert outcome.batch["masked_count"].to_list() == [6]


def test_the_column_is_gone_and_scores_are_null_after_it(mask: Mask) -> None:
    batch = mask(events(named("Mia Li", ("Mia Li", "PERSON")))).batch
    assert "names" not in batch.columns
    assert all(batch[name].dtype == dtype and batch[name].null_count() == 1 for name, dtype in SCORED.items())


def test_a_mark_of_an_earlier_step_stays(mask: Mask) -> None:
    rows = events(("Mia Li", None)).with_columns(pl.Series("degraded", [["pii_tagger"]], dtype=pl.List(pl.String)))
    assert mask(rows).batch["degraded"].to_list() == [["pii_tagger"]]


def test_without_names_and_with_them_are_two_results_in_any_order(mask: Mask) -> None:
    """The leaf is long enough to be remembered, and so is the text."""
    text = "a long leaf about Zoe Tanaka, who is not known to any pattern at all"
    unnamed, with_names = (text, None), named(text, ("Zoe Tanaka", "PERSON"))
    hidden = text.replace("Zoe Tanaka", "<PERSON>")
    for order in ([unnamed, with_names], [with_names, unnamed], [with_names, (text, "[]"), unnamed]):
        assert inputs(mask(events(*order))) == [text if names in (None, "[]") else hidden for _, names in order]
        for row in order:
            assert inputs(mask(events(row))) == [text if row[1] in (None, "[]") else hidden]
    elsewhere = {"other": text}
    assert inputs(mask(events(unnamed, (elsewhere, None), named(elsewhere, ("Zoe Tanaka", "PERSON"))))) == [text, elsewhere, {"other": hidden}]


def test_overlaps_leave_no_character_that_anybody_claimed(mask: Mask) -> None:
    value = "write to Ada mia.li@example.com Lovelace today"
    outcome = mask(events(named(value, ("Ada mia.li@example.com Lovelace", "PERSON"), score=0.6)))
    (masked,) = inputs(outcome)
    assert masked == "write to <PERSON><EMAIL_ADDRESS><PERSON> today"


def test_entities_that_policy_keeps_and_scores_below_its_threshold_do_not_count(mask: Mask) -> None:
    assert inputs(mask(events(named("Acme and Mia Li", ("Acme", "ORGANIZATION"))))) == ["Acme and Mia Li"]
    assert inputs(mask(events(named("Acme and Mia Li", ("Mia Li", "PERSON"), score=0.3)))) == ["Acme and Mia Li"]


def test_masking_twice_is_masking_once(mask: Mask) -> None:
    once = inputs(mask(events(named({"t": "Mia Li <mia@example.com>"}, ("Mia Li", "PERSON")))))
    again = named(once[0], ("PERSON", "PERSON"))
    assert inputs(mask(events(again))) == once


@pytest.mark.parametrize(
    "names",
    [
        *("", "{}", "[[0]]", "[[9,0,0,1,0,900000]]", "[[0,0,0,1,7,900000]]"),
        *("[[0,5,0,1,0,900000]]", "[[0,0,0,99,0,900000]]", "[[0,0,3,3,0,900000]]"),
    ],
)
def test_names_that_cannot_be_those_of_the_text_reject_the_record(mask: Mask, names: str) -> None:
    outcome = mask(events(("Mia Li was here", names), ("clean", None)))
    assert outcome.batch["offset"].to_list() == [1]
    assert outcome.dead.select("code", "agent_id").rows() == [("masking_failed", None)]
    assert "Mia" not in str(outcome.dead.to_dicts())


def test_the_column_reads_what_it_writes() -> None:
    last = (3, Span("ORGANIZATION", 4, 9, 0.25, RECOGNISER))
    names: dict[str, Names] = {"input": ((0, Span("PERSON", 1, 3, 0.5, RECOGNISER)),), "error": ((2, Span("LOCATION", 0, 1, 1.0, RECOGNISER)), last)}
    assert decoded(encoded(names)) == names
    assert encoded({}) == "[]"
    with pytest.raises(MaskingFailed):
        decoded("[[0,0,0,1,0]]")


def test_mask_examines_the_leaves_that_are_said_to_be_examined() -> None:
    reader = examined_leaves(default_policy())
    value = {"a": "x", "b": ["x", 12345678, 3], "email": "hidden", "c": json.dumps({"d": "y"})}
    assert reader.examined(json.dumps(value)) == ["a", "x", "b", "12345678", "email", "c", "d", "y"]
    assert reader.examined("not json") == []
