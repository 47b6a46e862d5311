"""The breaker opens after failures in a row, says how long, and lets one request try."""

from __future__ import annotations

from models.breaker import Breaker, BreakerState


def opened(now_s: float = 0.0) -> Breaker:
    breaker = Breaker(failures_max=3, open_s=2.0, probe_s=30.0)
    for _ in range(3):
        assert breaker.wait_s(now_s) == 0.0
        breaker.failed(now_s)
    return breaker


def test_it_opens_after_failures_in_a_row_only() -> None:
    breaker = Breaker(failures_max=3, open_s=2.0)
    for outcome in (breaker.failed, breaker.failed):
        outcome(0.0)
    breaker.succeeded()
    breaker.failed(0.0)
    breaker.failed(0.0)
    assert breaker.state is BreakerState.CLOSED
    breaker.failed(0.0)
    assert breaker.state is BreakerState.OPEN


def test_open_it_says_how_long_it_stays_so() -> None:
    breaker = opened(10.0)
    assert breaker.wait_s(10.5) == 1.5


def test_one_request_tries_and_the_others_wait() -> None:
    breaker = opened()
    assert breaker.wait_s(2.0) == 0.0
    assert breaker.state is BreakerState.HALF_OPEN
    assert breaker.wait_s(2.0) == 2.0, "no longer than it stays open"


def test_a_probe_that_succeeds_closes_it() -> None:
    breaker = opened()
    breaker.wait_s(2.0)
    breaker.succeeded()
    assert breaker.state is BreakerState.CLOSED
    breaker.failed(3.0)
    assert breaker.wait_s(3.0) == 0.0, "it counts anew"


def test_a_probe_that_fails_opens_it_again_at_once() -> None:
    breaker = opened()
    breaker.wait_s(2.0)
    breaker.failed(5.0)
    assert breaker.state is BreakerState.OPEN
    assert breaker.wait_s(6.0) == 1.0


def test_a_probe_that_is_never_heard_of_again_does_not_hold_it_open() -> None:
    breaker = opened()
    assert breaker.wait_s(2.0) == 0.0
    assert breaker.wait_s(31.0) > 0.0
    assert breaker.wait_s(32.0) == 0.0
