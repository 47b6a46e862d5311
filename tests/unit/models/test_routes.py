"""Which keys a candidate gets, and how far two answers lie apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.compare import difference
from models.results import GuardScores, NameSpan
from models.router import PPM, takes_candidate

KEYS = [f"agent-{number}" for number in range(20_000)]


@pytest.mark.parametrize("share_ppm", [10_000, 50_000, 500_000])
def test_a_share_of_the_keys_is_a_share(share_ppm: int) -> None:
    share = sum(takes_candidate(key, share_ppm) for key in KEYS) / len(KEYS)
    assert share == pytest.approx(share_ppm / PPM, rel=0.15)


def test_the_ends_of_the_scale_are_all_and_none() -> None:
    assert all(takes_candidate(key, PPM) for key in KEYS[:500])
    assert not any(takes_candidate(key, 0) for key in KEYS[:500])


@given(st.text(), st.integers(0, PPM), st.integers(0, PPM))
def test_a_key_that_a_small_share_takes_stays_when_the_share_grows(key: str, one: int, other: int) -> None:
    small, large = sorted((one, other))
    assert takes_candidate(key, large) or not takes_candidate(key, small)


def test_the_choice_is_the_same_in_every_process() -> None:
    assert [takes_candidate(key, 300_000) for key in ("", "a", "agent-1", "\ud800")] == [False, False, True, False]


def span(start: int, end: int, entity: str = "PERSON", score: float = 0.5) -> NameSpan:
    return NameSpan(start, end, entity, score)


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        (np.array([1.0, 0.0]), np.array([1.0, 0.0]), 0.0),
        (np.array([1.0, 0.0]), np.array([0.6, 0.8]), 0.4),
        (np.array([1.0, 0.0]), np.array([-1.0, 0.0]), 1.0),
        (GuardScores(0.1, 0.2, 0.3), GuardScores(0.1, 0.2, 0.3), 0.0),
        (GuardScores(0.1, 0.9, 0.3), GuardScores(0.2, 0.2, 0.3), 0.7),
        ((), (), 0.0),
        ((span(0, 3),), (span(0, 3, score=0.9),), 0.0),
        ((span(0, 3),), (), 1.0),
        ((span(0, 3), span(4, 6)), (span(0, 3), span(4, 7)), 0.5),
        ((span(0, 3),), (span(0, 3, "LOCATION"),), 1.0),
    ],
)
def test_the_difference_of_two_answers(one: object, other: object, apart: float) -> None:
    assert difference(one, other) == pytest.approx(apart)
    assert difference(other, one) == pytest.approx(apart)
