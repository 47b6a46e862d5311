"""The fast recogniser finds exactly what plain Presidio finds. Each known way to break that is a mutant that must be caught."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from operators.pii import gate, phones
from operators.pii.context import Surroundings
from operators.pii.recognise import Recogniser
from operators.pii.reference import reference
from operators.pii.spans import Span
from operators.pii.spec import DEFAULT_EXTRA, ExtraRecogniser, PatternSpec, RecogniserSpec
from schemas.errors import ConfigError, MaskingFailed
from tests.corpora.noisy_pii import NoisyPii

Oracle = Callable[[str], list[Span]]

OWN = (
    ExtraRecogniser("TICKET", "Ticket", (PatternSpec("ticket", r"\bT-\d{4,6}\b", 0.2),), context=("ticket", "straße")),
    ExtraRecogniser("CODE_NAME", "CodeNames", deny_list=("Blue Heron", "Ångström", "K2"), deny_list_score=0.9),
    ExtraRecogniser(
        "WORDY",
        "Wordy",
        (PatternSpec("wordy", r"(?<=\bkey\s)\w+(?!\d)", 0.5), PatternSpec("odd", r"\p{Lu}{3}\d", 0.5)),
    ),
)
SPEC = RecogniserSpec(extra=(*DEFAULT_EXTRA, *OWN))

#: Where the fast path and Presidio went apart once, or could.
KNOWN = (
    "0575int 6703",
    "1640",
    "İ.com",
    "httpſ://a.com/b",
    "mail ſomeone@example.ſi or x@bücher.example.de",
    "my card is 4111-1111-1111-1111, exp 03/28",
    "card 3/4 and the date: 03/28",
    "note:the bank one two three the four the five 123456789012",
    "  the \n\n of  (the) a be ,123456789012 the\u00a0bank:of",
    "123456789012 bank",
    "bank >:( ( ( ( ( ( ( ( 123456789012",
    "see 'link.com' now",
    "phone: 5125550143, cell number 512.555.0143 x12",
    "ip ::1 and 10.0.0.1/24, 2001:db8::/32",
    "account 123456789012, not a bank",
    "the driver:license A1234567",
    "see 'www.example.com' and \"https://example.org/a?b=c\" and e.g.this",
    "a" * 300 + ".com and www." + "b" * 260 + ".org",
    "DE89 3704 0044 0532 0130 00 2 days",
    "passport A12345678 ssn 078-05-1120 or 123-45-6789",
    "ticket T-12345, T-99999; STRASSE T-5555",
    "blue heron met ÅNGSTRÖM on k2 (K2)",
    "key Schlüssel7 and ÄÖÜ7",
    "Austin, TX 78750-1234 zip: 78701 last four digits of the card are 7447, ending in 0042",
    "born April 5, 1990 and 5 Apr. 1990, not May 20th",
    "１２３-４５-６７８９ ssn ٠١٢٣٤٥٦٧٨٩",
    "a\u00a0b c@d.io\u200bx",
    "",
    " ",
)  # fmt: skip


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    return reference(SPEC)


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    return Recogniser(SPEC)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [*KNOWN, *NoisyPii(11).texts(2_000)]


@pytest.fixture(scope="module")
def expected(oracle: Oracle, texts: list[str]) -> list[list[Span]]:
    return [oracle(text) for text in texts]


def differing(recogniser: Recogniser, texts: list[str], expected: list[list[Span]]) -> list[str]:
    found = [spans for start in range(0, len(texts), 256) for spans in recogniser.spans(texts[start : start + 256])]
    return [text for text, fast, slow in zip(texts, found, expected, strict=True) if fast != slow]


def test_noisy_texts_of_sixteen_locales_have_the_same_spans(recogniser: Recogniser, texts: list[str], expected: list[list[Span]]) -> None:
    assert sum(map(bool, expected)) > len(texts) // 3, "the corpus must hold personal data"
    assert differing(recogniser, texts, expected) == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_many_noisy_texts_have_the_same_spans(recogniser: Recogniser, oracle: Oracle, seed: int) -> None:
    texts = NoisyPii(1_000 + seed).texts(5_000)
    assert differing(recogniser, texts, [oracle(text) for text in texts]) == []


@pytest.mark.parametrize("text", KNOWN)
def test_texts_that_broke_a_fast_path_once_have_the_same_spans(recogniser: Recogniser, oracle: Oracle, text: str) -> None:
    assert recogniser.spans([text]) == [oracle(text)]


def test_one_text_at_a_time_or_all_at_once_is_the_same(recogniser: Recogniser, texts: list[str]) -> None:
    assert recogniser.spans(texts[:300]) == [recogniser.spans([text])[0] for text in texts[:300]]


def test_context_words_lift_what_is_too_weak_alone(recogniser: Recogniser) -> None:
    assert recogniser.spans(["T-12345", "ticket T-12345"]) == [[], [Span("TICKET", 7, 14, 0.55, "Ticket")]]


def test_only_the_entities_asked_for_are_found(texts: list[str], expected: list[list[Span]]) -> None:
    wanted = frozenset({"EMAIL_ADDRESS", "DATE_TIME", "TICKET"})
    recogniser = Recogniser(RecogniserSpec(SPEC.extra, wanted))
    assert differing(recogniser, texts, [[span for span in spans if span.entity in wanted] for spans in expected]) == []


def test_another_threshold_gives_what_presidio_gives_at_it() -> None:
    spec = RecogniserSpec(SPEC.extra, score_threshold=0.7)
    slow, texts = reference(spec), NoisyPii(5).texts(300)
    assert differing(Recogniser(spec), texts, [slow(text) for text in texts]) == []


def test_a_pattern_that_cannot_finish_fails_the_text_and_is_not_skipped() -> None:
    endless = ExtraRecogniser("ENDLESS", "Endless", (PatternSpec("endless", r"(?:(\w)|(\w\w))+\1\2!\d", 0.9),))
    recogniser = Recogniser(RecogniserSpec((endless,), regex_timeout_s=0.05))
    with pytest.raises(MaskingFailed, match=r"0\.05 s") as caught:
        recogniser.spans(["abcdefgh" * 12 + " abcd!7 mail me@example.com"])
    assert "example" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_all_faults_of_a_spec_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        RecogniserSpec((ExtraRecogniser("lower", "A"), ExtraRecogniser("B", "A", deny_list=("x",))), score_threshold=0)
    assert len(caught.value.problems) == 5


# Mutants: each switches one precaution off, and the texts above must notice.


def _no_extension_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phones.phonenumberutil, "_EXTN_PATTERNS_FOR_MATCHING", "#####")


def _no_short_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phones, "product", lambda *_, **__: ())


def _no_fold_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "fold_table", dict)


def _no_colon_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Surroundings, "_is_keyword", lambda self, token: token.keywords == (token.lower,))


def _no_context_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Surroundings, "support", lambda *_: False)


def _no_forward_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Surroundings, "_forward", lambda *_: iter(()))


def _no_punctuation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phones.phonenumberutil, "_VALID_PUNCTUATION", "-")


@pytest.fixture(
    params=[_no_extension_labels, _no_short_numbers, _no_fold_table, _no_context_words, _no_forward_word, _no_colon_words, _no_punctuation]
)
def mutant(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Recogniser:
    request.param(monkeypatch)
    return Recogniser(SPEC)


def test_every_mutant_is_caught(mutant: Recogniser, texts: list[str], expected: list[list[Span]]) -> None:
    assert differing(mutant, texts, expected) != []
