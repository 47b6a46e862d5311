"""Producing: records go when they are due, and each carries a W3C trace context of its own."""

from __future__ import annotations

import re
from dataclasses import dataclass

from streams.publish import paced, traceparent


@dataclass(frozen=True, slots=True)
class Record:
    due_ms: int
    topic: str = "agent_events"
    key: bytes = b""
    value: bytes = b""


def test_records_wait_until_they_are_due() -> None:
    waits: list[float] = []
    given = list(paced([Record(0), Record(30)], stop=lambda: len(waits) > 50, wait=waits.append))
    assert given == [Record(0)]  # the wait was cut short by the wish to stop
    assert waits
    assert all(0 < wait <= 0.03 for wait in waits)


def test_records_that_are_due_do_not_wait() -> None:
    waits: list[float] = []
    records = [Record(0), Record(0), Record(0)]
    assert list(paced(records, stop=lambda: False, wait=waits.append)) == records
    assert waits == []


def test_nothing_is_given_after_the_wish_to_stop() -> None:
    given: list[Record] = []
    for record in paced([Record(0)] * 10, stop=lambda: len(given) >= 3, wait=lambda _: None):
        given.append(record)
    assert len(given) == 3


def test_trace_contexts_have_the_w3c_form_and_differ() -> None:
    contexts = {traceparent(key, index) for key in (b"a", b"b") for index in range(50)}
    assert len(contexts) == 100
    assert all(re.fullmatch(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-01", context) for context in contexts)
    assert traceparent(b"a", 1) == traceparent(b"a", 1)
