"""The short cut of the masker: what it calls clean, the long way leaves as it is, and it calls most clean texts clean."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from governance.parse import default_policy
from operators.guardrails.rules import RawRules
from operators.pii import clean
from operators.pii.mask import MaskedTexts, TextMasker
from operators.pii.step import mask_spec

POLICY = default_policy()
RULES = RawRules(POLICY)
SHORT = TextMasker(mask_spec(POLICY, b"k" * 32), RULES, RULES.surely_quiet)
LONG = TextMasker(mask_spec(POLICY, b"k" * 32), RULES)

WORDS = [
    "the tent", "order", "a@b.co", "4111111111111111", "4111 1111", "1111 1111", "zip", "78750", "TX", "<EMAIL_ADDRESS>", "$", "^",
    "system prompt", "# system message", "ignore all previous", "instructions", "webhook.site", "x.webhook.site", ".webhook.site", "sk-",
    "+1 212 555", "0123", "1990-04-05",
]  # fmt: skip
NUMBERS = st.sampled_from([0, -1, 12.5, 4111111111111111, 4.1e15, 212555012, 1e-7, 2125550123.0])
LEAVES = st.one_of(st.lists(st.sampled_from(WORDS), max_size=3).map(" ".join), NUMBERS, st.booleans(), st.none())
KEYS = st.sampled_from(["a", "b", "zip", "Zip Code", "e-mail", "e_mail", "password", "note", "PASS_WORD", "system prompt"])
TREES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=6)


def same(text: str) -> None:
    def seen(masked: MaskedTexts) -> tuple[Any, ...]:
        return masked.values, [dict(c) for c in masked.counts], masked.rules, [(row, type(e)) for row, e in masked.failures.items()]

    assert seen(SHORT.mask_json([text])) == seen(LONG.mask_json([text]))


@given(TREES)
@example({"a": ["4111 1111", "1111 1111"]})
@example(["# system message"])
@example(4.1e15)
@example({"e-mail": "x"})
def test_both_ways_give_the_same(tree: Any) -> None:
    same(json.dumps(tree, separators=(",", ":")))
    same(json.dumps(tree, ensure_ascii=False))


@pytest.mark.parametrize(
    "text",
    ['{"a":0,"a":0}', '{"a":1,"b":{"c":1,"c":2}}', "[" * 80 + "]" * 80, "{bad", "", "NaN", "1e999", '{"a":1e999}', "4.1e15", "[4.1E+15]", '["a\\n"]'],
)
def test_what_is_no_plain_json_goes_the_long_way(text: str) -> None:
    same(text)


def test_most_texts_without_personal_data_are_called_clean() -> None:
    texts = [json.dumps({"query": f"find the {word} tent", "limit": number}, separators=(",", ":")) for number, word in enumerate("abcdefgh")]
    assert SHORT._clean is not None
    assert SHORT._clean.among(texts) == set(texts)


@pytest.mark.parametrize("precaution", ["_has_key", "_is_plain"])
def test_each_precaution_is_needed(precaution: str, monkeypatch: pytest.MonkeyPatch) -> None:
    careless = {"_has_key": lambda _self, _text: False, "_is_plain": lambda _self, _text: True}
    monkeypatch.setattr(clean.CleanTexts, precaution, careless[precaution])
    texts = ('{"password":"tent"}', '{"a":0,"a":0}', "[" * 80 + "]" * 80)
    with pytest.raises(AssertionError):
        list(map(same, texts))
