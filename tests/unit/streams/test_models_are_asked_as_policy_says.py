"""Which texts go to which model, how often, and what becomes of an event while a model is away, slow or wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from governance.policy import GuardPolicy, Outage, TaggerPolicy, TextChoice, WhenDown
from models.failures import FailureKind, ModelFailure
from models.results import GuardScores, NameSpan
from models.router import Route, RouteMode, VersionRouter, takes_candidate
from operators.guardrails.texts import ALONE_CHARS_MIN, texts_of
from operators.pii.names import decoded
from operators.pii.spans import Span
from schemas.coordinates import event_uid
from schemas.errors import RetryableError
from schemas.events import EVENT, MASKED, ROW_WATERMARK, SCORED
from streams.asking import AskSettings, ModelQuestions, Question
from streams.model_client import ModelFacts
from streams.scoring import Score
from streams.tagging import Tag
from streams.telemetry import Telemetry
from tests.fixtures.words import ATTACK, Outages, WordModels, away, scores_of
from tests.unit.streams.policies import policy_asking

BEFORE_MASK = pl.Schema({**EVENT, **ROW_WATERMARK})
AFTER_MASK = pl.Schema({**EVENT, **ROW_WATERMARK, **MASKED, **SCORED})
WAIT = Outage(WhenDown.PAUSE)
GUARD = GuardPolicy(WAIT, (TextChoice(("agent",), ("input",)), TextChoice(("tool",), ("output", "error"))), sampled_ppm=0)
TAGGER = TaggerPolicy(WAIT, (TextChoice(("agent", "tool"), ("input", "output")),))


def events(*rows: dict[str, Any], schema: pl.Schema = AFTER_MASK) -> pl.DataFrame:
    """Gives events of one partition; content is given as values."""
    made = []
    for offset, row in enumerate(rows):
        content = {name: json.dumps(value) if name in ("input", "output", "error", "attributes") else value for name, value in row.items()}
        ids = {"topic": "agent_events", "partition": 0, "offset": offset, "kind": "agent", "agent_id": "a", "event_id": f"e{offset}"}
        made.append({**ids, "event_uid": event_uid("agent", "a", f"e{offset}"), **content})
    return pl.DataFrame(made, schema=schema)


def score(models: WordModels, guard: GuardPolicy = GUARD, **settings: Any) -> Score:
    return Score(guard, models, AskSettings(**settings))


def tag(models: WordModels, tagger: TaggerPolicy = TAGGER) -> Tag:
    return Tag(policy_asking(tagger=tagger), tagger, models, AskSettings())


def test_only_what_policy_names_is_scored_and_each_text_once() -> None:
    models = WordModels()
    batch = events(
        {"input": "hello there", "output": "trusted words"},
        {"input": "hello there"},
        {"kind": "tool", "output": {"page": ATTACK}, "input": "arguments"},
        {"kind": "reasoning", "output": "thoughts"},
        {"kind": "agent", "input": 12},
    )
    scored = score(models)(batch).batch
    assert models.texts_of("guard") == ["hello there", ATTACK]
    assert scored["injection_ppm"].to_list()[2] == 990_000
    assert scored["injection_ppm"][0] == scored["injection_ppm"][1] == round(scores_of("hello there").injection * 1_000_000)
    assert scored["scored_by"].to_list() == ["guard/1", "guard/1", "guard/1", None, None]
    assert scored["toxicity_ppm"].to_list()[3:] == [None, None]
    assert scored["degraded"].null_count() == 5


def test_the_sample_follows_from_the_event_and_has_the_stated_size() -> None:
    batch = events(*({"kind": "reasoning", "output": f"thought {at}"} for at in range(4_000)))
    sampled = replace(GUARD, sampled_ppm=100_000)
    chosen = score(WordModels(), sampled)(batch).batch["scored_by"].is_not_null()
    assert 300 < chosen.sum() < 500
    back = score(WordModels(), sampled)(batch.reverse()).batch["scored_by"].is_not_null().reverse()
    assert back.to_list() == chosen.to_list()


def test_a_message_is_a_text_of_its_own_and_fields_are_read_together() -> None:
    page = "word " * 20
    assert len(page) >= ALONE_CHARS_MIN
    content = {
        "to": "Oslo",
        "n": 7,
        "note with words": "yes",
        "page": page,
        "inner": json.dumps(["deep", {"page": page}]),
        "bad": "[1, 2",
        "id": "7-7",
    }
    assert texts_of(json.dumps(content)) == [page, "Oslo\nnote with words\nyes\ndeep"]
    assert texts_of('"\\ud800 lone"') == ["\ufffd lone"]
    assert texts_of('[1e999, 123456789012345678901234567890, "x"]') == ["x"]
    assert texts_of("{}") == texts_of("null") == texts_of('"12-34"') == []


def test_an_attack_spread_over_fields_is_read_in_one_piece() -> None:
    words = ATTACK.split(" ")
    assert " ".join(texts_of(json.dumps({str(at): word for at, word in enumerate(words)}))[0].split("\n")) == ATTACK


def test_names_are_looked_for_in_the_distinct_leaves_that_mask_examines() -> None:
    models = WordModels()
    batch = events(
        {"input": {"who": "Mia Li", "first_name": "Ada Lovelace", "n": 1234567890123, "again": "Mia Li"}},
        {"input": json.dumps({"who": "Mia Li"}), "output": "Oslo", "error": "Omar Rossi"},
        {"kind": "system", "input": "Omar Rossi"},
        schema=BEFORE_MASK,
    )
    tagged = tag(models)(batch).batch
    assert models.texts_of("pii_tagger") == ["who", "Mia Li", "first_name", "n", "again", "Oslo"]
    person, place = (1, Span("PERSON", 0, 6, 0.9, "pii_tagger")), (0, Span("LOCATION", 0, 4, 0.9, "pii_tagger"))
    assert decoded(tagged["names"][0]) == {"input": (person,)}
    assert decoded(tagged["names"][1]) == {"input": (person,), "output": (place,)}
    assert tagged["names"][2] is None


def test_an_event_without_names_says_so_and_one_that_was_not_asked_about_does_not() -> None:
    tagged = tag(WordModels())(events({"input": "nothing"}, {"attributes": {"k": "v"}}, schema=BEFORE_MASK)).batch
    assert tagged["names"].to_list() == ["[]", None]


def test_a_frame_without_rows_asks_nobody() -> None:
    models = WordModels(Outages("guard", "pii_tagger"))
    assert score(models)(AFTER_MASK.to_frame()).batch.schema == AFTER_MASK
    assert tag(models)(BEFORE_MASK.to_frame()).batch.height == 0
    assert models.asked == []


# -- away ------------------------------------------------------------------------------------------------------------------------------------


def test_pause_raises_until_the_model_is_back_and_asks_only_for_the_rest() -> None:
    outages = Outages()
    models = WordModels(lambda model, texts: outages(model, texts) if "second" in texts else None)
    step = score(models, texts_max=1)
    outages.away = {"guard"}
    batch = events({"input": "first"}, {"input": "second"}, {"input": "third"})
    with pytest.raises(RetryableError):
        step(batch)
    assert models.texts_of("guard") == ["first", "second"]
    outages.away = set()
    scored = step(batch).batch
    assert models.texts_of("guard") == ["first", "second", "second", "third"]
    assert scored["scored_by"].null_count() == 0
    assert scored["degraded"].null_count() == 3


def test_rules_only_marks_those_events_that_did_without() -> None:
    models = WordModels(Outages("guard", "pii_tagger"))
    outage = Outage(WhenDown.RULES_ONLY)
    tagged = tag(models, replace(TAGGER, outage=outage))(events({"input": "Mia Li"}, {"error": "x"}, schema=BEFORE_MASK))
    assert tagged.batch["degraded"].to_list() == [["pii_tagger"], None]
    assert tagged.batch["names"].to_list() == [None, None]
    assert tagged.facts == {("degraded_events", "pii_tagger"): 1}
    before = events({"input": "a text"}, {"error": "x"}, {"input": "b text"}).with_columns(
        pl.Series("degraded", [["pii_tagger"], None, None], dtype=pl.List(pl.String))
    )
    scored = score(models, replace(GUARD, outage=outage))(before)
    assert scored.batch["degraded"].to_list() == [["pii_tagger", "guard"], None, ["guard"]]
    assert scored.batch["injection_ppm"].null_count() == 3
    assert scored.facts == {("degraded_events", "guard"): 2}


def test_reject_makes_dead_letters_by_coordinates_of_those_events_alone() -> None:
    outage = Outage(WhenDown.REJECT)
    models = WordModels(Outages("guard", "pii_tagger"))
    rejected = tag(models, replace(TAGGER, outage=outage))(events({"input": "Mia Li"}, {"attributes": {"k": 1}}, schema=BEFORE_MASK))
    assert rejected.batch["offset"].to_list() == [1]
    (dead,) = rejected.dead.to_dicts()
    assert (dead["topic"], dead["offset"], dead["code"], dead["step"], dead["agent_id"]) == ("agent_events", 0, "model_unavailable", "tag", None)
    assert "Mia" not in str(dead)
    later = score(models, replace(GUARD, outage=outage))(events({"input": "a text"}, {"output": "b text"}))
    assert later.batch["offset"].to_list() == [1]
    assert later.dead.select("code", "step", "agent_id").rows() == [("model_unavailable", "score", "a")]


def test_policy_waits_as_long_as_it_says_and_an_answer_begins_the_count_anew() -> None:
    now, outages, question = [0.0], Outages("guard"), Question("x", "a")
    models = WordModels(outages)
    questions = ModelQuestions("guard", models.guard, lambda _text, _scores: True, Outage(WhenDown.REJECT, 30), AskSettings(), lambda: now[0])

    def fails() -> None:
        with pytest.raises(RetryableError):
            questions.answers([question])

    fails()
    now[0] = 29.9
    fails()
    now[0] = 30.0
    assert questions.answers([question]).to(question) is None
    outages.away = set()
    assert questions.answers([question]).to(question) == scores_of("x")
    outages.away = {"guard"}
    now[0] = 100.0
    fails()


def test_a_text_that_the_model_fails_on_shares_its_fate_with_no_other() -> None:
    def fault(model: str, texts: Sequence[str]) -> None:
        if any(text.startswith("poison") for text in texts):
            raise ModelFailure(model, FailureKind.REFUSED)

    models = WordModels(fault)
    batch = events(*({"input": f"poison {at}" if at in (3, 11) else f"text {at}"} for at in range(16)))
    rejected = score(models, replace(GUARD, outage=Outage(WhenDown.REJECT)))(batch)
    assert rejected.dead["offset"].to_list() == [3, 11]
    assert rejected.batch["scored_by"].null_count() == 0
    assert len(models.texts_of("guard")) < 16 * 6


def test_a_server_that_is_away_is_not_asked_for_every_text() -> None:
    models = WordModels(Outages("guard"))
    batch = events(*({"input": f"text {at}"} for at in range(100)))
    rejected = score(models, replace(GUARD, outage=Outage(WhenDown.REJECT)), texts_max=10)(batch)
    assert rejected.dead.height == 100
    assert len(models.texts_of("guard")) == 10


def _nan(answers: list[Any]) -> list[Any]:
    return [GuardScores(math.nan, 0.0, 0.0) if isinstance(one, GuardScores) else (NameSpan(0, 1, "PERSON", math.nan),) for one in answers]


WRONG: list[Callable[[list[Any]], list[Any]]] = [
    lambda answers: answers[1:],
    lambda answers: [],
    _nan,
    lambda answers: [GuardScores(1.5, 0.0, 0.0) if isinstance(one, GuardScores) else (NameSpan(0, 99, "PERSON", 0.9),) for one in answers],
    lambda answers: [GuardScores(0.0, -0.1, 0.0) if isinstance(one, GuardScores) else (NameSpan(0, 1, "CITY", 0.9),) for one in answers],
]


@pytest.mark.parametrize("wrong", WRONG, ids=["too few", "empty", "nan", "out of range", "unknown or negative"])
def test_an_answer_that_cannot_be_one_is_no_answer(wrong: Callable[[list[Any]], list[Any]]) -> None:
    models = WordModels(wrong=lambda _model, answers: wrong(answers))
    with pytest.raises(RetryableError, match="model guard") as told:
        score(models)(events({"input": "quite secret"}))
    assert "secret" not in str(told.value)
    with pytest.raises(RetryableError, match="model pii_tagger"):
        tag(models)(events({"input": "quite secret"}, schema=BEFORE_MASK))


def test_a_version_that_changes_in_the_middle_of_an_event_is_told() -> None:
    class Rolling(WordModels):
        def guard(self, texts: Sequence[str], deadline_s: float, keys: Sequence[str] | None = None) -> list[GuardScores]:
            return [scores_of(text, str(1 + at % 2)) for at, text in enumerate(texts)]

    page = "word " * 20
    scored = score(Rolling())(events({"input": {"a": page, "b": page + "more"}})).batch
    assert scored["scored_by"].to_list() == ["guard/1+2"]


def test_a_canary_gets_every_text_of_its_agents_and_none_of_the_others() -> None:
    agents = [f"agent-{number}" for number in range(12)]
    canary = Route(RouteMode.CANARY, 400_000)
    of_candidate = {agent for agent in agents if takes_candidate(agent, canary.share_ppm)}
    assert 0 < len(of_candidate) < len(agents)
    stable, candidate = WordModels(version="1"), WordModels(version="2")
    router = VersionRouter(stable, candidate, {"guard": canary, "pii_tagger": canary}, ModelFacts(Telemetry()))
    try:
        rows = [{"agent_id": agent, "input": text} for agent in agents for text in ("the same words", f"own words of {agent}")]
        scored = Score(GUARD, router, AskSettings(texts_max=3))(events(*rows)).batch
        Tag(policy_asking(tagger=TAGGER), TAGGER, router, AskSettings())(events(*rows, schema=BEFORE_MASK))
    finally:
        router.close()
    assert scored["scored_by"].to_list() == [f"guard/{2 if row['agent_id'] in of_candidate else 1}" for row in rows]
    for model in ("guard", "pii_tagger"):  # each text once a version, however many agents wrote it
        assert stable.texts_of(model).count("the same words") == candidate.texts_of(model).count("the same words") == 1
        assert {text for text in candidate.texts_of(model) if text.startswith("own")} == {f"own words of {agent}" for agent in of_candidate}


def test_away_names_the_model_and_no_text() -> None:
    assert "guard" in str(away("guard"))
