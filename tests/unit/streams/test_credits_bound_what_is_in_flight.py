"""Credits: a bound on rows in flight, each row given back once, when the last sink has acknowledged it."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.credits import Credits, Ticket


@given(st.integers(1, 20), st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=30))
def test_a_source_that_polls_what_is_available_never_exceeds_the_bound(rows_max: int, turns: list[tuple[int, bool]]) -> None:
    told: list[int] = []
    credits, held = Credits(rows_max, told.append), [0]
    for wanted, done in turns:
        granted = credits.reserve(wanted)
        assert granted == min(wanted, rows_max - sum(held))
        credits.take(granted // 2, granted)
        held.append(granted // 2)
        if done:
            credits.give_back(held.pop())
        assert (told or [0])[-1] == credits.in_flight == sum(held) <= rows_max


def test_no_credits_are_left_at_the_bound_and_they_come_back() -> None:
    credits = Credits(5, lambda _: None)
    credits.take(5, credits.reserve(5))
    assert credits.reserve(3) == 0
    credits.give_back(2)
    assert credits.reserve(3) == 2


def test_what_one_source_lane_may_poll_no_other_may() -> None:
    credits = Credits(5, lambda _: None)
    mine, other = credits.reserve(4), credits.reserve(4)
    assert (mine, other) == (4, 1)
    assert credits.in_flight == 0
    credits.take(0, mine)
    assert credits.reserve(9) == 4
    with pytest.raises(AssertionError, match="2 rows polled under a reservation of 1"):
        credits.take(2, other)


def test_giving_back_twice_is_a_bug_that_shows() -> None:
    credits = Credits(5, lambda _: None)
    credits.take(2, credits.reserve(2))
    credits.give_back(2)
    with pytest.raises(AssertionError, match="given back twice"):
        credits.give_back(2)


def test_a_ticket_gives_its_rows_back_when_the_last_sink_has_acknowledged() -> None:
    credits, seconds = Credits(10, lambda _: None), list[float]()
    credits.take(7, credits.reserve(7))
    ticket = Ticket(7, 3, round(time.time() * 1000) - 60_000, credits, seconds.append)
    for _ in range(2):
        ticket.acknowledge()
        assert credits.in_flight == 7
        assert seconds == []
    ticket.acknowledge()
    assert credits.in_flight == 0
    assert len(seconds) == 1
    assert 59 < seconds[0] < 120


def test_a_ticket_without_sinks_gives_its_rows_back_at_once() -> None:
    credits = Credits(10, lambda _: None)
    credits.take(7, credits.reserve(7))
    Ticket(7, 0, None, credits, lambda _: None)
    assert credits.in_flight == 0


def test_a_ticket_without_timestamps_tells_no_latency() -> None:
    credits, seconds = Credits(10, lambda _: None), list[float]()
    credits.take(1, credits.reserve(1))
    Ticket(1, 1, None, credits, seconds.append).acknowledge()
    assert seconds == []
    assert credits.in_flight == 0


def test_sinks_that_acknowledge_at_the_same_time_give_the_rows_back_once() -> None:
    credits = Credits(10_000, lambda _: None)
    credits.take(2000, credits.reserve(2000))
    tickets, start = [Ticket(1, 4, None, credits, lambda _: None) for _ in range(2000)], threading.Barrier(4)

    def sink() -> None:
        start.wait(10)
        for ticket in tickets:
            ticket.acknowledge()

    threads = [threading.Thread(target=sink) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert credits.in_flight == 0
