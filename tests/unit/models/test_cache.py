"""The cache holds results by model and version within a bound, and no text."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np

from models.cache import ResultCache
from models.results import GuardScores, NameSpan, Served, WindowScores

ONE = Served("1", "a build")


def test_a_result_is_found_under_its_model_and_version_only() -> None:
    cache = ResultCache(10_000)
    cache.put(cache.key("guard", ONE, "text"), GuardScores(0.1, 0.2, 0.3))
    assert cache.get(cache.key("guard", ONE, "text")) == GuardScores(0.1, 0.2, 0.3)
    assert cache.get(cache.key("guard", Served("2"), "text")) is None
    assert cache.get(cache.key("guard", Served("1", "another build"), "text")) is None
    assert cache.get(cache.key("pii_tagger", ONE, "text")) is None
    assert cache.get(cache.key("guard", ONE, "Text")) is None


def test_what_was_not_used_for_longest_goes_first() -> None:
    cache = ResultCache(2_000)
    keys = [cache.key("pii_tagger", ONE, str(number)) for number in range(4)]
    for key in keys[:3]:
        cache.put(key, ())
    cache.get(keys[0])
    cache.put(keys[3], ())
    assert [cache.get(key) is not None for key in keys] == [True, False, True, True]


def test_an_empty_result_is_a_result() -> None:
    cache = ResultCache(10_000)
    key = cache.key("pii_tagger", ONE, "no names")
    cache.put(key, ())
    assert cache.get(key) == ()


def test_a_result_over_the_bound_is_let_go_and_a_bound_of_nothing_holds_nothing() -> None:
    cache = ResultCache(600)
    cache.put(cache.key("embedder", ONE, "x"), np.zeros(384, np.float32))
    assert len(cache) == 0
    nothing = ResultCache(0)
    nothing.put(nothing.key("pii_tagger", ONE, "x"), ())
    assert len(nothing) == 0


def test_digests_of_two_processes_differ() -> None:
    assert ResultCache(1).key("guard", ONE, "text") != ResultCache(1).key("guard", ONE, "text")


def test_its_bound_is_what_it_takes_in_memory() -> None:
    span_count, windows = 3, 2
    makers = (
        lambda n: np.full(384, n, np.float32),
        lambda n: GuardScores(n * 0.1, n * 0.2, n * 0.3, tuple(WindowScores(n, n + 1_000, n * 0.1, n * 0.2, n * 0.3) for _ in range(windows))),
        lambda n: tuple(NameSpan(n + 1_000, n + 2_000, "PERSON", n * 0.1) for _ in range(span_count)),
    )
    for make in makers:
        cache = ResultCache(2**20)
        gc.collect()
        tracemalloc.start()
        for number in range(4_000):
            cache.put(cache.key("guard", ONE, str(number)), make(number))
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert cache.size_bytes <= 2**20
        assert 0.5 < taken / cache.size_bytes < 1.15
