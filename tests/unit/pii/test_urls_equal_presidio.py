"""URLs: patterns tried only at starts of runs find what Presidio's find everywhere."""

from __future__ import annotations

import random

import pytest
from presidio_analyzer.predefined_recognizers import UrlRecognizer

from operators.pii import urls
from operators.pii.gate import Gate
from operators.pii.spans import dedupe
from operators.pii.urls import UrlFinder
from tests.corpora.noisy_pii import UrlLike


def unequal(texts: list[str]) -> tuple[list[str], int]:
    presidio = UrlRecognizer()
    finder = UrlFinder(presidio, 5)
    bad, hits = [], 0
    for text, mask in zip(texts, Gate(finder.gates).masks(texts), strict=True):
        slow = sorted((result.start, result.end, result.score) for result in presidio.analyze(text, ["URL"], None))
        hits += bool(slow)
        if (sorted(dedupe(finder.find(text))) if mask else []) != slow:
            bad.append(text)
    return bad, hits


def hostile(seed: int, count: int) -> list[str]:
    source = UrlLike(seed)
    return [source.text() for _ in range(count)]


def test_hostile_texts_have_the_same_urls() -> None:
    bad, hits = unequal(hostile(1, 1_500))
    assert hits > 700
    assert bad == []


def dotted(seed: int, count: int) -> list[str]:
    """Hosts whose dots and domains leave a choice, with what may follow them."""
    pick = random.Random(seed)
    labels = ("www", "www1", "a", "-", "co", "com", "uk", "museum", "travel", "conf", "c", "zz", "comx", "COM", "x1", "", "tr")
    marks = (".", ".", ".", ".", "..", "/", "/p.com", '"', "'", " ", "://", "https://", ")", "@", "_", "ſ", "/a'b")
    return ["".join(pick.choice(labels) + pick.choice(marks) for _ in range(pick.randint(2, 9))) for _ in range(count)]


def test_hosts_with_a_choice_of_domains_are_the_same_urls() -> None:
    bad, hits = unequal(dotted(1, 1_500))
    assert hits > 700
    assert bad == []


def test_domains_in_another_order_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    finder = UrlFinder(UrlRecognizer(), 5)
    monkeypatch.setattr(finder, "_domains", {start: tuple(sorted(names)) for start, names in finder._domains.items()})
    slow = UrlRecognizer()
    texts = dotted(1, 1_500)
    assert [sorted(dedupe(finder.find(text))) for text in texts] != [
        sorted((result.start, result.end, result.score) for result in slow.analyze(text, ["URL"], None)) for text in texts
    ]


@pytest.mark.slow
def test_many_hostile_texts_have_the_same_urls() -> None:
    assert unequal(hostile(2, 8_000))[0] == []


def test_a_longer_run_than_the_pattern_takes_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urls, "_RUN_CHARS_MAX", 10_000)
    assert unequal(["a" * 300 + ".com"])[0] != []
