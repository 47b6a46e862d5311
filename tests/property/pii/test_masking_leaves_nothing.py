"""Masking any JSON: no planted value survives, nothing else is lost, and masking again changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from presidio_analyzer import EntityRecognizer, RecognizerResult

from governance.key_ring import Key, KeyRing, KeyUse
from operators.pii import leaf_masking
from operators.pii.key_names import KEY_ENTITIES, KeyNames
from operators.pii.leaves import Document
from operators.pii.mask import MaskSpec, TextMasker
from operators.pii.replace import Action, Actions, Placeholders, replaced
from operators.pii.seal import Sealer
from operators.pii.spans import Span, dedupe, resolve

KEY = b"a key for tests only"
SEALER = Sealer(KeyRing((Key(KeyUse.SEAL, "aaaaal", bytes([2]) * 32),)))
EMAIL = "mia.li3818@example.com"
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

#: Small pieces that meet often: personal data, its debris, and what this program itself writes.
PIECES = st.sampled_from(
    [
        EMAIL, "a@b.co", "512-555-0143", "(512) 555-0143 ext. 7", "4111 1111 1111 1111", "1990-04-05", "3/4", "03/28", "TX 78750", "zip", "ssn ",
        "card ending in ", "7447", "123456789", "date ", "bank account ", "http://x.com/a", "<EMAIL_ADDRESS>", "<PHONE_NUMBER>", "AB1234563",
        "<DATE_TIME:abcdefghijkl>", "<US_SSN", "12", "-", ".", ":", " ", "@", "/", "é", "١٢٣", "\n", '"', "\\", "{", "}", "[", "x", "+", "1",
        "0", "<2>", "plain words",
    ]
)  # fmt: skip
TEXTS = st.lists(PIECES, max_size=5).map("".join)
NUMBERS = st.one_of(st.integers(-(10**25), 10**25), st.sampled_from([4111111111111111, 5125550143, 78750, 0, 1.5, 1e22, 12345678.25]))
SCALARS = st.one_of(TEXTS, NUMBERS, st.booleans(), st.none())
KEYS = st.one_of(st.sampled_from(["a", "b", "zip", "zipCode", "dob", "email", "n", EMAIL, "c@d.org", "a<2>"]), TEXTS)


def nested(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    within = st.one_of(st.lists(children, max_size=3), st.dictionaries(KEYS, children, max_size=3))
    return st.one_of(within, within.map(json.dumps), within.map(lambda value: json.dumps(value, ensure_ascii=False)))


VALUES = st.recursive(SCALARS, nested, max_leaves=8)


@pytest.fixture(scope="module")
def masker() -> TextMasker:
    return TextMasker(MaskSpec(Actions(KEY)))


def strings(value: Any) -> Iterator[str]:
    """All strings at any depth, keys too, JSON in strings taken apart."""
    if isinstance(value, str):
        yield value
        try:
            inner = json.loads(value)
        except ValueError:
            return
        if isinstance(inner, dict | list):
            yield from strings(inner)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from strings(key)
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


def shape(value: Any) -> Any:
    """What masking must keep: containers, their sizes, and scalars that are not text."""
    if isinstance(value, dict):
        return [shape(inner) for inner in value.values()]
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    return value if value is None or isinstance(value, bool) else "scalar"


@QUICK
@given(value=VALUES)
def test_no_planted_address_survives_in_any_leaf_key_or_inner_string(masker: TextMasker, value: Any) -> None:
    planted = {"plain": value, "beside": f"write to {EMAIL} ", EMAIL: json.dumps({"deep": [json.dumps([EMAIL])], "more": value})}
    masked = masker.mask_json([json.dumps(planted)]).values[0]
    assert masked is not None
    # An address that touches other characters of an address is another address: what was planted alone must be gone.
    assert f" {EMAIL} " not in masked
    assert all(text != EMAIL for text in strings(json.loads(masked)))


@QUICK
@given(value=VALUES)
def test_masking_its_own_output_changes_nothing(masker: TextMasker, value: Any) -> None:
    once = masker.mask_json([json.dumps(value)])
    again = masker.mask_json(once.values)
    assert again.values == once.values
    assert [dict(counts) for counts in again.counts] == [{}]


@QUICK
@given(value=VALUES, action=st.sampled_from(Action))
def test_every_action_is_idempotent(value: Any, action: Action) -> None:
    masker = _with_action(action)
    once = masker.mask_json([json.dumps(value)]).values
    assert masker.mask_json(once).values == once


@QUICK
@given(value=VALUES)
def test_containers_constants_and_their_order_are_kept(masker: TextMasker, value: Any) -> None:
    text = json.dumps(value)
    masked = masker.mask_json([text])
    assert masked.values[0] is not None
    assert shape(json.loads(masked.values[0])) == shape(value)
    if not masked.counts[0]:
        assert masked.values[0] == text
    assert sum(masked.counts[0].values()) == len(masked.hits[0])


@QUICK
@given(pairs=st.lists(st.tuples(st.sampled_from(["a", "a<2>", EMAIL, "c@d.org", "<EMAIL_ADDRESS>"]), st.integers(0, 9)), max_size=6))
def test_equal_keys_lose_no_value(masker: TextMasker, pairs: list[tuple[str, int]]) -> None:
    text = "{" + ",".join(f"{json.dumps(key)}:{value}" for key, value in pairs) + "}"
    masked = masker.mask_json([text]).values[0]
    assert masked is not None
    assert list(json.loads(masked).values()) == [value for _, value in pairs]


@QUICK
@given(values=st.lists(VALUES, min_size=1, max_size=6))
def test_a_batch_is_masked_as_its_rows_are_alone(masker: TextMasker, values: list[Any]) -> None:
    texts = [json.dumps(value) for value in values]
    fresh = _with_action(Action.MASK)
    assert masker.mask_json(texts).values == [fresh.mask_json([text]).values[0] for text in texts]


@QUICK
@given(number=st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?", fullmatch=True))
@example(number="1000000.030000")
def test_numbers_keep_their_spelling_unless_masked(masker: TextMasker, number: str) -> None:
    text = f'{{"n":{number},"s":"{EMAIL}"}}'
    masked = masker.mask_json([text]).values[0]
    assert masked is not None
    assert masked == f'{{"n":{number},"s":"<EMAIL_ADDRESS>"}}' or "<" in json.loads(masked)["n"]


FINDINGS = st.lists(st.tuples(st.integers(0, 6), st.integers(1, 5), st.sampled_from([0, 0.4, 0.5, 1.0])), max_size=8)


@given(findings=FINDINGS)
def test_dedupe_is_presidios(findings: list[tuple[int, int, float]]) -> None:
    spans = [(start, start + length, score) for start, length, score in findings]
    results = EntityRecognizer.remove_duplicates([RecognizerResult("A", *span) for span in spans])
    assert sorted(dedupe(spans)) == sorted((result.start, result.end, result.score) for result in results)


@given(entities=st.lists(st.sampled_from("ABC"), max_size=8), findings=FINDINGS)
def test_resolved_spans_are_disjoint_and_cover_every_character_that_was_found(entities: list[str], findings: list[tuple[int, int, float]]) -> None:
    spans = [Span(entity, start, start + length, score) for entity, (start, length, score) in zip(entities, findings, strict=False)]
    resolved = resolve(spans)
    covered = [place for span in resolved for place in range(span.start, span.end)]
    assert covered == sorted({place for span in spans for place in range(span.start, span.end)})
    assert resolve(reversed(spans)) == resolved
    best = max(spans, key=lambda s: (s.score, s.end - s.start, -s.start), default=None)
    assert best is None or any(span.start <= best.start and best.end <= span.end for span in resolved if span.score == best.score)


# Mutants: what each precaution is for.


def test_without_rounds_to_a_fixpoint_something_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    # A licence number inside a card number: once it is dropped, the card number is whole.
    text = "card 4111 1111 AB12345631111 1111"
    licence = Span("MEDICAL_LICENSE", 15, 24, 1.0)
    assert replaced(text, [licence], Actions(KEY, default=Action.DROP))[0] == "card 4111 1111 1111 1111"
    assert "1111" not in str(_with_action(Action.DROP).mask_json([json.dumps(text)]).values)
    monkeypatch.setattr(leaf_masking, "_ROUNDS_MAX", 1)
    failures = _with_action(Action.DROP).mask_json([json.dumps(f"x {EMAIL} y")]).failures
    assert failures[0].code == "masking_failed"


def test_unblanked_placeholders_would_be_context_words(monkeypatch: pytest.MonkeyPatch) -> None:
    text = [json.dumps("1990-04-05, ok 03/28")]
    assert _with_action(Action.MASK).mask_json(text).values == ['"<DATE_TIME>, ok 03/28"']
    monkeypatch.setattr(Placeholders, "blanked", lambda self, text: text)
    # A new one: the other remembers.
    assert TextMasker(MaskSpec(Actions(KEY))).mask_json(text).values != ['"<DATE_TIME>, ok 03/28"']


def test_leaves_of_inner_json_are_seen_one_by_one() -> None:
    document = Document(json.dumps({"a": json.dumps({"zip": "1", "b": [json.dumps(["deep"])]})}), KeyNames(KEY_ENTITIES), 8)
    assert sorted(document.texts) == ["a", "b", "deep", "zip"]
    assert document.known == [("1", "US_ZIP")]


_MASKERS: dict[Action, TextMasker] = {}


def _with_action(action: Action) -> TextMasker:
    # Building one takes seconds, and masking has no state that shows.
    if action not in _MASKERS:
        _MASKERS[action] = TextMasker(MaskSpec(Actions(KEY, default=action, sealer=SEALER)))
    return _MASKERS[action]
