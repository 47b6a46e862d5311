"""What models said of a record is written down before it takes effect, and a replay adopts it: whatever the models say by then."""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from governance.policy import Outage, WhenDown
from operators.contract import StateSpec
from schemas.errors import ConfigError, FatalError
from schemas.events import COORDINATES
from streams.asking import AskSettings
from streams.facts import FactsJournal
from streams.scoring import Score
from streams.tagging import Tag
from tests.fixtures.words import Outages, WordModels
from tests.unit.streams.policies import policy_asking
from tests.unit.streams.test_models_are_asked_as_policy_says import BEFORE_MASK, GUARD, TAGGER, events

SPEC = StateSpec(1, pl.Schema({**COORDINATES, "fate": pl.String()}), "bytes")


def facts(*offsets: int, partition: int = 0, fate: str = "answered") -> pl.DataFrame:
    return pl.DataFrame([("agent_events", partition, offset, fate) for offset in offsets], schema=SPEC.schema, orient="row")


def known(journal: FactsJournal, *offsets: int, partition: int = 0) -> list[tuple[int, str]]:
    return sorted(journal.known(facts(*offsets, partition=partition)).select("offset", "fate").rows())


def test_facts_are_there_after_a_start_and_only_those_asked_for(tmp_path: Path) -> None:
    path, durable = tmp_path / "decided" / "score", []
    first = FactsJournal(path, SPEC, lambda: durable.append(path.stat().st_size))
    assert known(first, 1) == []
    first.record(facts(1, 2, 3))
    first.record(facts(4, partition=1, fate="degraded"))
    first.record(facts())
    assert known(first, 3, 5) == [(3, "answered")]
    first.close()
    second = FactsJournal(path, SPEC)
    assert known(second, 2, 3, 4) == [(2, "answered"), (3, "answered")]
    assert known(second, 4, partition=1) == [(4, "degraded")]
    assert len(durable) == 2
    assert durable == sorted(durable)


def test_what_was_recorded_first_stands(tmp_path: Path) -> None:
    journal = FactsJournal(tmp_path / "score", SPEC)
    journal.record(facts(1, fate="degraded"))
    journal.record(facts(1, fate="answered"))
    assert known(journal, 1) == [(1, "degraded")]


def test_a_frame_torn_at_any_byte_never_took_effect_and_the_next_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "score"
    journal = FactsJournal(path, SPEC)
    journal.record(facts(1))
    whole = path.stat().st_size
    journal.record(facts(2))
    journal.close()
    content = path.read_bytes()
    for end in range(whole, len(content)):
        path.write_bytes(content[:end])
        again = FactsJournal(path, SPEC)
        assert known(again, 1, 2) == [(1, "answered")]
        assert path.stat().st_size == whole
        again.record(facts(3))
        again.close()
        last = FactsJournal(path, SPEC)
        assert known(last, 1, 2, 3) == [(1, "answered"), (3, "answered")]
        last.close()


def test_bytes_that_a_loss_of_power_left_unwritten_are_no_frame(tmp_path: Path) -> None:
    path = tmp_path / "score"
    journal = FactsJournal(path, SPEC)
    journal.record(facts(1))
    journal.close()
    path.write_bytes(path.read_bytes() + bytes(500))
    assert known(FactsJournal(path, SPEC), 1) == [(1, "answered")]


def test_damage_before_the_last_frame_stops_the_run(tmp_path: Path) -> None:
    path = tmp_path / "score"
    journal = FactsJournal(path, SPEC)
    journal.record(facts(1))
    journal.record(facts(2))
    journal.close()
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content)
    with pytest.raises(FatalError, match="in the middle"):
        FactsJournal(path, SPEC)
    assert zlib.crc32(content) != 0


def test_facts_of_another_version_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "score"
    journal = FactsJournal(path, SPEC)
    journal.record(facts(1))
    journal.close()
    with pytest.raises(ConfigError, match="version"):
        FactsJournal(path, replace(SPEC, version=2))


def test_what_no_start_can_need_goes_from_memory_at_once_and_from_the_file_once_it_has_grown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.facts._GROWTH_BYTES", 4_000)
    path = tmp_path / "score"
    journal = FactsJournal(path, SPEC)
    largest = 0
    for offset in range(0, 400, 2):
        journal.record(facts(offset, offset + 1))
        journal.record(facts(offset, partition=1))
        journal.forget({("agent_events", 0): offset - 2, ("agent_events", 1): offset - 2})
        largest = max(largest, path.stat().st_size)
        assert known(journal, offset - 2) == ([(offset - 2, "answered")] if offset else [])
        assert known(journal, offset - 6) == []
    assert largest < 20_000
    journal.close()
    last = FactsJournal(path, SPEC)
    assert known(last, 398, 399) == [(398, "answered"), (399, "answered")]


def test_facts_of_a_partition_that_nobody_speaks_of_stay(tmp_path: Path) -> None:
    journal = FactsJournal(tmp_path / "score", SPEC)
    journal.record(facts(1, partition=7))
    journal.forget({("agent_events", 0): 100})
    assert known(journal, 1, partition=7) == [(1, "answered")]


# -- the steps -------------------------------------------------------------------------------------------------------------------------------


def score(folder: Path, models: WordModels, reaction: WhenDown = WhenDown.RULES_ONLY) -> Score:
    step = Score(replace(GUARD, outage=Outage(reaction)), models, AskSettings())
    step.keep_in(FactsJournal(folder / "score", step.facts_spec))
    return step


def tag(folder: Path, models: WordModels, reaction: WhenDown = WhenDown.RULES_ONLY) -> Tag:
    tagger = replace(TAGGER, outage=Outage(reaction))
    step = Tag(policy_asking(tagger=tagger), tagger, models, AskSettings())
    step.keep_in(FactsJournal(folder / "tag", step.facts_spec))
    return step


def test_a_replay_gets_the_scores_of_the_first_life_and_asks_only_for_what_is_new(tmp_path: Path) -> None:
    batch = events({"input": "one"}, {"input": "two"}, {"output": "not asked"}, {"input": "three"})
    first = score(tmp_path, WordModels(version="1"))(batch.head(3)).batch
    models = WordModels(version="2", wrong=lambda _model, answers: [replace(one, injection=0.75) for one in answers])  # type: ignore[type-var]
    second = score(tmp_path, models)(batch).batch
    assert second.head(3).equals(first)
    assert second["scored_by"].to_list() == ["guard/1", "guard/1", None, "guard/2"]
    assert models.texts_of("guard") == ["three"]


@pytest.mark.parametrize("reaction", [WhenDown.RULES_ONLY, WhenDown.REJECT])
def test_a_model_that_was_away_in_the_first_life_was_away_for_its_records_in_every_life(tmp_path: Path, reaction: WhenDown) -> None:
    batch, raw = events({"input": "one"}, {"input": "two"}), events({"input": "Mia Li"}, {"input": "two"}, schema=BEFORE_MASK)
    down, up = WordModels(Outages("guard", "pii_tagger")), WordModels()
    scored, tagged = score(tmp_path, down, reaction)(batch.head(1)), tag(tmp_path, down, reaction)(raw.head(1))
    again, tagged_again = score(tmp_path, up, reaction)(batch), tag(tmp_path, up, reaction)(raw)
    assert again.batch.filter(pl.col("offset") == 0).equals(scored.batch)
    assert again.dead.equals(scored.dead)
    assert tagged_again.batch.filter(pl.col("offset") == 0).equals(tagged.batch)
    assert tagged_again.dead.equals(tagged.dead)
    assert "Mia Li" not in up.texts_of("pii_tagger")
    assert up.texts_of("guard") == ["two"]


def test_a_model_that_was_up_in_the_first_life_need_not_be_in_the_second(tmp_path: Path) -> None:
    batch, raw = events({"input": "one"}), events({"input": "Mia Li"}, schema=BEFORE_MASK)
    scored, tagged = score(tmp_path, WordModels()), tag(tmp_path, WordModels())
    first, named = scored(batch).batch, tagged(raw).batch
    down = WordModels(Outages("guard", "pii_tagger"))
    assert score(tmp_path, down, WhenDown.PAUSE)(batch).batch.equals(first)
    assert tag(tmp_path, down, WhenDown.PAUSE)(raw).batch.equals(named)
    assert down.asked == []


def test_a_batch_that_is_tried_again_is_not_asked_about_again(tmp_path: Path) -> None:
    """The step after ``tag`` may have to wait: then the same rows come through ``tag`` once more."""
    raw, outages = events({"input": "Mia Li"}, schema=BEFORE_MASK), Outages("pii_tagger")
    models = WordModels(outages)
    step = tag(tmp_path, models)
    first = step(raw).batch
    outages.away = set()
    assert step(raw).batch.equals(first)
    plain = Tag(policy_asking(tagger=replace(TAGGER, outage=Outage(WhenDown.RULES_ONLY))), TAGGER, WordModels(), AskSettings())
    assert plain(raw).batch.equals(plain(raw).batch)


def test_no_value_is_written(tmp_path: Path) -> None:
    tag(tmp_path, WordModels())(events({"input": {"who": "Mia Li", "city": "Timbuktu"}}, schema=BEFORE_MASK))
    score(tmp_path, WordModels())(events({"input": "quite secret words"}))
    for name in ("tag", "score"):
        read = FactsJournal(tmp_path / name, Tag.facts_spec if name == "tag" else Score.facts_spec)
        text = str([frame.to_dicts() for frame in read._frames])
        assert not any(word in text for word in ("Mia", "Timbuktu", "secret", "who"))
