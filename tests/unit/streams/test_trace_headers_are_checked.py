"""Polled messages become a RAW frame; of their headers only a well-formed W3C trace context passes, for anything else might be personal."""

from __future__ import annotations

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, Message

from schemas.codec.decode import DecodeSettings, RecordDecoder
from schemas.events import RAW
from schemas.limits import Limits
from schemas.topics import REDRIVEN_HEADER
from streams.sources import raw_frame

TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
Headers = list[tuple[str, str | bytes | None]]


def message(headers: Headers | None = None, offset: int = 0, topic: str = "agent_events") -> Message:
    return Message(topic=topic, partition=2, offset=offset, key=b"k", value=b"{}", headers=headers, timestamp=(TIMESTAMP_CREATE_TIME, 77))


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        (None, False),
        ([], False),
        ([("traceparent", TRACE)], True),
        ([("other", b"x"), ("traceparent", TRACE)], True),
        ([("traceparent", None), ("traceparent", TRACE)], True),
        ([("tracestate", TRACE)], False),
        ([("Traceparent", TRACE)], False),
        ([("traceparent", None)], False),
        ([("traceparent", b"")], False),
        ([("traceparent", b"ada@example.org")], False),
        ([("traceparent", TRACE + b" ada@example.org")], False),
        ([("traceparent", TRACE + b"\n")], False),
        ([("traceparent", b" " + TRACE)], False),
        ([("traceparent", TRACE.upper())], False),
        ([("traceparent", TRACE[:-1])], False),
        ([("traceparent", "٠".encode() + TRACE[1:])], False),
    ],
)
def test_only_a_trace_context_passes(headers: Headers | None, passes: bool) -> None:
    assert raw_frame([message(headers)], 0)["traceparent"].to_list() == [TRACE.decode() if passes else None]


def test_messages_keep_their_order_and_lose_the_prefix() -> None:
    frame = raw_frame([message(offset=at, topic="staging.agent_events") for at in (5, 3, 4)], len("staging."))
    assert frame.schema == RAW
    assert frame.row(0) == ("agent_events", 2, 5, 77, b"k", b"{}", None)
    assert frame["offset"].to_list() == [5, 3, 4]
    assert frame["topic"].unique().to_list() == ["agent_events"]


def test_a_message_without_a_timestamp_has_none() -> None:
    assert raw_frame([Message(topic="a", partition=0, offset=0, value=b"")], 0)["kafka_time"].to_list() == [None]


def test_no_messages_are_an_empty_frame() -> None:
    assert raw_frame([], 3).schema == RAW


@pytest.mark.parametrize(
    ("said", "passes"),
    [
        (b"0", 0), (b"6", 6), (b"0006", 6), (b"7", None), (b"-1", None), (b"6\n", None), (b" 6", None), (b"9" * 20, None), (b"", None), (None, None),
        (b"ada@example.org", None), ("٦".encode(), None),
    ],
)  # fmt: skip
def test_of_a_redriven_record_only_an_offset_before_its_own_passes(said: bytes | None, passes: int | None) -> None:
    frame = raw_frame([message(offset=6), message([(REDRIVEN_HEADER, said)], offset=7)], 0)
    assert ("redriven_from" in frame.columns) is (passes is not None)
    assert passes is None or frame["redriven_from"].to_list() == [None, passes]
    decoded = RecordDecoder(DecodeSettings(Limits(), bytes(16)))(frame)
    assert decoded.dead["redriven_from"].to_list() == [None, passes]
