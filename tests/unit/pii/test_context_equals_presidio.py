"""Context words: what bounds on the number of keywords tell is what Presidio finds by tokenising the whole text."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Iterator

import pytest

from operators.pii import context
from operators.pii.context import Surroundings
from operators.pii.recognise import Recogniser
from operators.pii.reference import reference
from operators.pii.spec import ExtraRecogniser, PatternSpec, RecogniserSpec

WORDS = ("card", "card", "postcard", "the", "the", "of", "be", "Bob", "x", "id", "don't", "e.g.", "cannot", "ÖL", "12", "3.5kg", "7:30", "the:9")
JOINS = (" ", " ", " ", "  ", ", ", ": ", ":", " (", ") ", '"', '": "', '", "', "-", "\n", " - ", "…", " :) ", "#", "/", " ' ")
#: A finding that a context word must lift, as it may begin: with a digit, a letter or a sign.
SPEC = RecogniserSpec(extra=(ExtraRecogniser("TICKET", "Ticket", (PatternSpec("ticket", r"[#+(]?T?\d{2}-Q\w", 0.2),), context=("card", "3.5")),))
FINDINGS = ("12-Qa", "T12-Q4", "#12-Qz", "+34-Q:", "(12-Q1", "56-Qcard", "12-Qa:the", "12-Q5:30", "(12-Q5:30")


def texts(seed: int, count: int) -> Iterator[str]:
    pick = random.Random(seed)
    for _ in range(count):
        parts = [pick.choice(WORDS) + pick.choice(JOINS) for _ in range(pick.randint(0, 14))]
        for _ in range(pick.randint(1, 2)):
            parts.insert(pick.randrange(len(parts) + 1), pick.choice(FINDINGS) + pick.choice(JOINS))
        yield "".join(parts)


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    return Recogniser(SPEC)


@pytest.fixture(scope="module")
def hard() -> list[str]:
    return list(texts(1, 6_000))


@pytest.fixture(scope="module")
def tokenised(recogniser: Recogniser, hard: list[str]) -> list[object]:
    """What is found without bounds: the way that is held to Presidio."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Surroundings, "_near", lambda *_: None)
        return list(recogniser.spans(hard))


def test_texts_full_of_context_words_have_the_same_spans(recogniser: Recogniser) -> None:
    some, oracle = list(texts(2, 700)), reference(SPEC)
    expected = [oracle(text) for text in some]
    assert 100 < sum(map(bool, expected)) < 600
    assert [text for text, fast, slow in zip(some, recogniser.spans(some), expected, strict=True) if fast != slow] == []


def test_bounds_tell_what_tokens_tell(recogniser: Recogniser, hard: list[str], tokenised: list[object]) -> None:
    assert [text for text, fast, slow in zip(hard, recogniser.spans(hard), tokenised, strict=True) if fast != slow] == []


@pytest.mark.parametrize("walk", [0, 1, 3])
def test_a_text_that_is_looked_through_once_tells_what_walks_tell(
    walk: int, recogniser: Recogniser, hard: list[str], tokenised: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "WALK_MAX", walk)
    assert [text for text, fast, slow in zip(hard, recogniser.spans(hard), tokenised, strict=True) if fast != slow] == []


def test_bounds_settle_most_findings(recogniser: Recogniser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Surroundings, "_place")
    texts = [f"please charge the card with 12-Qa for order {number}" for number in range(100)]
    assert all(recogniser.spans(texts))


def test_no_stop_word_holds_a_digit(recogniser: Recogniser) -> None:
    assert not [word for word in recogniser._context._stop_words if any(map(str.isdigit, word))]


def _tokens_with_colons_are_keywords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "_has_keyword", lambda piece, offset: any(map(str.isdigit, piece[offset:])))


def _every_piece_is_a_keyword(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "_has_keyword", lambda *_: True)


def _nothing_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Surroundings, "_leads_nowhere", lambda *_: True)


def _the_index_is_off_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "WALK_MAX", 0)
    monkeypatch.setattr(context, "bisect_left", lambda places, place: min(bisect_left(places, place) + 1, len(places)))


@pytest.mark.parametrize("mutate", [_the_index_is_off_by_one, _tokens_with_colons_are_keywords, _every_piece_is_a_keyword, _nothing_follows])
def test_every_mutant_of_the_bounds_is_caught(
    mutate: object, recogniser: Recogniser, hard: list[str], tokenised: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert callable(mutate)
    mutate(monkeypatch)
    assert recogniser.spans(hard) != tokenised
