"""Patience and the wish to stop: tried again for as long as it helps, never sooner than asked, until the grace is over."""

from __future__ import annotations

import threading
import time

import pytest

from schemas.errors import FatalError, RetryableError
from streams.patience import Patience
from streams.stop import Abandoned, Stop

QUICK = Patience(first_s=0.001, longest_s=0.004)


class Away:
    """A call that fails so many times before it answers; remembers when it was tried."""

    def __init__(self, failures: int, retry_after_ms: int = 0) -> None:
        self._failures = failures
        self._retry_after_ms = retry_after_ms
        self.tried: list[float] = []

    def __call__(self) -> str:
        self.tried.append(time.monotonic())
        if len(self.tried) <= self._failures:
            raise RetryableError("away", self._retry_after_ms)
        return "here"


def test_a_call_is_tried_until_it_answers_and_every_failure_is_told() -> None:
    call, failures = Away(12), list[RetryableError]()
    assert QUICK.persist(call, Stop(), failures.append) == "here"
    assert len(call.tried) == 13
    assert [str(failure) for failure in failures] == ["away"] * 12


def test_the_next_try_waits_as_long_as_the_error_asks() -> None:
    call = Away(2, retry_after_ms=60)
    QUICK.persist(call, Stop(), lambda _: None)
    assert all(later - sooner >= 0.059 for sooner, later in zip(call.tried, call.tried[1:], strict=False))


def test_waits_stay_below_the_longest() -> None:
    call = Away(10)
    begin = time.monotonic()
    Patience(first_s=0.001, longest_s=0.01).persist(call, Stop(), lambda _: None)
    assert time.monotonic() - begin < 5  # doubling without a bound would take a second more with each try


def test_other_errors_go_through_at_once() -> None:
    tried: list[int] = []

    def call() -> None:
        tried.append(1)
        raise FatalError("fenced")

    with pytest.raises(FatalError, match="fenced"):
        QUICK.persist(call, Stop(), lambda _: None)
    assert tried == [1]


def test_the_tries_end_with_the_grace() -> None:
    stop = Stop(grace_s=0.1)
    stop.request()
    call, begin = Away(10**9), time.monotonic()
    with pytest.raises(Abandoned, match="the next start replays what was in flight"):
        QUICK.persist(call, stop, lambda _: None)
    assert 0.1 <= time.monotonic() - begin < 5
    assert len(call.tried) > 1  # tried on during the grace


def test_a_long_wait_is_cut_short_by_the_wish_to_stop_and_then_by_the_grace() -> None:
    stop = Stop(grace_s=0.05)
    call, begin = Away(10**9, retry_after_ms=3_600_000), time.monotonic()
    asker = threading.Timer(0.05, stop.request)
    asker.start()
    with pytest.raises(Abandoned):
        QUICK.persist(call, stop, lambda _: None)
    assert time.monotonic() - begin < 10
    asker.join(10)


def test_a_call_that_answers_within_the_grace_counts() -> None:
    stop = Stop(grace_s=30)
    stop.request()
    assert QUICK.persist(Away(3), stop, lambda _: None) == "here"


def test_the_wish_to_stop_is_told_once() -> None:
    stop = Stop(grace_s=0.05)
    stop.check()
    stop.request()
    assert stop.requested
    stop.check()  # within the grace
    ended, deadline = False, time.monotonic() + 10
    while not ended and time.monotonic() < deadline:
        stop.request()  # a second wish does not make the grace longer
        try:
            stop.wait(0.01)
        except Abandoned:
            ended = True
    assert ended


def test_without_a_wish_to_stop_there_is_no_end() -> None:
    stop = Stop(grace_s=0)
    stop.wait(0.001)
    stop.check()
