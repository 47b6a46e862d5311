"""Drift: nothing against itself, growing with the shift, silent where there is too little to tell."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.contracts import DriftPolicy
from governance.drift import Drift, Profile, drifts, profile_from, profile_of, stability_index
from schemas.errors import ConfigError

POLICY = DriftPolicy(rows_min=100)
HISTOGRAMS = st.dictionaries(st.integers(0, 20), st.integers(1, 500), max_size=8)


def events(count: int, latency_us: int = 1_000, nulls: float = 0.0, emails: float = 0.1, seed: int = 0) -> list[dict[str, Any]]:
    chance = random.Random(seed)
    return [
        {
            "latency_us": round(latency_us * chance.lognormvariate(0, 0.5)),
            "input_tokens": chance.randrange(100, 200),
            "session_id": None if chance.random() < nulls else "s",
            "masked_spans": [{"entity": "EMAIL_ADDRESS"}] if chance.random() < emails else None,
        }
        for _ in range(count)
    ]


def found(window: list[dict[str, Any]], reference: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(drift.what, drift.name) for drift in drifts(profile_of(window), profile_of(reference), POLICY)}


def test_the_same_kind_of_traffic_does_not_drift() -> None:
    assert found(events(2_000, seed=1), events(2_000, seed=2)) == set()


@pytest.mark.parametrize(
    ("changed", "drift"),
    [
        ({"latency_us": 8_000}, ("distribution", "latency_us")),
        ({"nulls": 0.3}, ("nulls", "session_id")),
        ({"emails": 0.5}, ("entity", "EMAIL_ADDRESS")),
    ],
)
def test_what_changed_is_named_and_nothing_else(changed: dict[str, float], drift: tuple[str, str]) -> None:
    assert found(events(2_000, seed=1, **changed), events(2_000, seed=2)) == {drift}  # type: ignore[arg-type]


def test_an_entity_that_is_no_longer_found_drifts() -> None:
    assert found(events(2_000, emails=0.0, seed=1), events(2_000, emails=0.5, seed=2)) == {("entity", "EMAIL_ADDRESS")}


def test_too_few_events_tell_nothing() -> None:
    assert found(events(99, latency_us=900_000), events(2_000)) == set()
    assert found(events(2_000, latency_us=900_000), events(99)) == set()


@given(left=HISTOGRAMS, right=HISTOGRAMS)
def test_the_index_is_symmetric_never_negative_and_zero_against_itself(left: dict[int, int], right: dict[int, int]) -> None:
    assert stability_index(left, left) == 0.0
    assert stability_index(left, right) >= 0.0
    assert stability_index(left, right) == pytest.approx(stability_index(right, left))


@given(shift=st.integers(1, 5))
def test_a_larger_shift_is_a_larger_index(shift: int) -> None:
    base = dict.fromkeys(range(10, 20), 100)
    moved = [stability_index(base, {bucket + by: 100 for bucket in base}) for by in (shift, shift + 1)]
    assert moved[0] < moved[1]


def test_a_profile_survives_its_file_and_holds_no_value() -> None:
    profile = profile_of(events(500, emails=0.5))
    assert profile_from(profile.to_json(), "x") == profile
    assert isinstance(profile, Profile)
    assert drifts(profile_from(profile.to_json(), "x"), profile, POLICY) == ()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 1}', '{"version": 1, "rows": "many", "nulls": {}, "entities": {}, "counts": {}}'])
def test_another_file_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="holds no profile"):
        profile_from(text, "reference.json")


def test_a_profile_of_another_version_is_refused() -> None:
    with pytest.raises(ConfigError, match="version 1 of a profile is required"):
        profile_from('{"version": 2}', "reference.json")


def test_a_drift_says_by_how_much() -> None:
    (drift,) = drifts(profile_of(events(1_000, nulls=1.0)), profile_of(events(1_000)), POLICY)
    assert drift == Drift("nulls", "session_id", 1_000_000, 100_000)
