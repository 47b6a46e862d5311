"""What masking remembers has a bound, and a flood of distinct texts does not pass it."""

from __future__ import annotations

import gc
import random
import string
import sys
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from operators.pii import detectors, mask, phones, recognise
from operators.pii.mask import MaskSpec, TextMasker
from operators.pii.memo import DigestMemo
from operators.pii.replace import Actions
from operators.pii.spec import RecogniserSpec

COUNT_MAX = 64
MEMO_CHARS_MAX = 60_000
GROWTH_BYTES_MAX = 60_000
SEEDS = count()
ACTIONS = Actions(key=b"only for this test")


def flood(seed: int, texts: int) -> list[str]:
    """Distinct texts that fill every memo: phones of many shapes, domains, masks of the gate, long leaves, long candidates and domains."""
    pick = random.Random(seed)

    def word(size: int) -> str:
        return "".join(pick.choices(string.ascii_lowercase, k=size))

    def number() -> str:
        return "".join(pick.choice("0123456789") + pick.choice(("", "", "", "-", " ", ".", "(", ") ", " x", "/")) for _ in range(pick.randint(5, 40)))

    kinds = (
        lambda: f"call {number()} at once, {word(9)} {chr(pick.randint(0x100, 0x2FFF))}{number()}",
        lambda: " ".join(f"{word(5)}@{word(pick.choice((6, 6, 6, 6, 6, 300)))}.com" for _ in range(6)) + " about the card",
        lambda: f"born 19{pick.randint(50, 99)}-0{pick.randint(1, 9)}-11, ssn {pick.randint(100, 665)}-45-6789, {word(6)}.{word(3)}.org {number()}",
        lambda: f"{word(40)} token ghp_{word(36)} bank account {number()}",
    )
    return [pick.choice(kinds)() for _ in range(texts)]


def held(root: Any) -> Iterator[tuple[str, Any]]:
    """Every container that an object of the masking code holds, by class and size."""
    seen, waiting = {id(root)}, [root]
    while waiting:
        owner = waiting.pop()
        for inner in gc.get_referents(owner):
            ours = type(inner).__module__.startswith("operators.")
            if id(inner) in seen or isinstance(inner, type) or not (ours or isinstance(inner, dict | list | set | tuple | frozenset)):
                continue
            seen.add(id(inner))
            waiting.append(inner)
            if isinstance(inner, dict | list | set):
                yield type(owner).__name__, inner


def size_bytes(root: Any) -> int:
    """What the containers weigh, with their keys and values."""
    total = 0
    for _, container in held(root):
        total += sys.getsizeof(container) + sum(map(sys.getsizeof, container))
        total += sum(map(sys.getsizeof, container.values())) if isinstance(container, dict) else 0
    return total


@pytest.fixture(scope="module")
def masker() -> Iterator[TextMasker]:
    """A masker that remembers less than usual, filled."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (phones, detectors):
            patch.setattr(module, "_MEMO_COUNT_MAX", COUNT_MAX)
        patch.setattr(recognise, "_PLANS_COUNT_MAX", COUNT_MAX)
        made = TextMasker(MaskSpec(ACTIONS, RecogniserSpec(secret_rules=True), memo_chars_max=MEMO_CHARS_MAX))
        for _ in range(3):
            made.mask_plain(flood(next(SEEDS), 250))
        yield made


def growth_bytes(masker: TextMasker) -> int:
    """By how much a masker grows while as much again is masked as filled it."""
    before = size_bytes(masker)
    for _ in range(3):
        masker.mask_plain(flood(next(SEEDS), 250))
    return size_bytes(masker) - before


def test_a_flood_of_distinct_texts_grows_nothing(masker: TextMasker) -> None:
    assert growth_bytes(masker) < GROWTH_BYTES_MAX


def test_no_word_of_a_text_stays_with_the_tokenizer(masker: TextMasker) -> None:
    masker.mask_plain(flood(1, 500))
    context = masker._recogniser._context
    strings = len(context._nlp.vocab.strings)
    masker.mask_plain(flood(2, 500))
    assert context._known == {}
    assert len(context._nlp.vocab.strings) == strings


def test_what_is_too_long_is_not_remembered(masker: TextMasker) -> None:
    masker.mask_plain(flood(1, 500))
    finders = [part.finder for part, _ in masker._recogniser._steps]
    (phone,) = {id(one._finder): one._finder for one in finders if isinstance(one, detectors.PhoneDetector)}.values()
    memos = {id(one._validate): one._validate for one in finders if isinstance(getattr(one, "_validate", None), detectors._DomainMemo)}.values()
    assert max(map(len, phone._slices)) <= phones._MEMO_CHARS_MAX
    assert all(len(domain) <= detectors._MEMO_CHARS_MAX for memo in memos for domain in memo._verdicts)
    assert len(phone._slices) <= COUNT_MAX
    assert mask._MEMO_LEAF_CHARS_MIN > 0


def _shapes_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phones, "_MEMO_COUNT_MAX", 10**9)


def _domains_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detectors, "_MEMO_COUNT_MAX", 10**9)


def _results_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DigestMemo, "get", lambda self, digest: self._young.get(digest))
    monkeypatch.setattr(DigestMemo, "put", lambda self, digest, value, weight_chars: self._young.__setitem__(digest, value))


@pytest.mark.parametrize("mutate", [_shapes_without_end, _domains_without_end, _results_without_end])
def test_a_memo_without_an_end_is_caught(mutate: Any, masker: TextMasker, monkeypatch: pytest.MonkeyPatch) -> None:
    masker.mask_plain(flood(next(SEEDS), 250))
    mutate(monkeypatch)
    assert growth_bytes(masker) > GROWTH_BYTES_MAX
