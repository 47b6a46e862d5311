"""JSON records become events with the stated conversions, or dead letters with the stated codes."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from schemas.codec.decode import DecodeSettings, RecordDecoder
from schemas.errors import ConfigError, FatalError
from schemas.events import DEAD, EVENT
from schemas.limits import NUMBER_MAX, Limits
from tests.fixtures.records import EXAMPLES, KEY, TIME_MS, decode, json_bytes, raw_frame

AGENT = EXAMPLES["agent_events"]


def event(changes: dict[str, Any] | None = None, topic: str = "agent_events", **settings: Any) -> dict[str, Any]:
    """Gives the event made of an example with changes."""
    decoded = decode([json_bytes({**EXAMPLES[topic], **(changes or {})})], topic, **settings)
    assert decoded.dead.is_empty(), decoded.dead["reason"].to_list()
    return decoded.events.row(0, named=True)


def rejected(value: bytes | None, topic: str = "agent_events", **settings: Any) -> dict[str, Any]:
    """Gives the dead letter made of a value."""
    decoded = decode([value], topic, **settings)
    assert decoded.events.is_empty()
    return decoded.dead.row(0, named=True)


def without(name: str, topic: str = "agent_events") -> bytes:
    return json_bytes({key: value for key, value in EXAMPLES[topic].items() if key != name})


def test_an_agent_event_fills_its_columns() -> None:
    row = event()
    digest = row.pop("content_digest")
    assert isinstance(digest, int)
    assert row == {
        "topic": "agent_events", "partition": 3, "offset": 0, "kafka_time": None, "traceparent": None, "event_uid": None, "kind": "agent",
        "event_id": "e-1", "event_type": "agent.executed", "event_time": TIME_MS, "agent_id": "a-1", "session_id": "s-1", "execution_id": "x-1",
        "user_id": "u-1", "workflow_id": "w-1", "step_id": "st-1", "parent_id": "pa-1", "trace_id": "t-1", "span_id": "p-1", "tool_call_id": None,
        "tool_name": None, "model": "m-1", "status": "ok", "step_type": None, "step_number": None, "depends_on": None, "latency_us": 1_500,
        "input_tokens": 7, "output_tokens": 8, "cost_nano_usd": 250_000_000, "confidence_ppm": 500_000, "input": '{"q":[1,"zwei"]}',
        "output": '"fine"', "error": None, "attributes": '{"region":"eu"}', "value_bytes": len(json_bytes(AGENT)), "redriven_from": None,
    }  # fmt: skip


def test_each_topic_fills_the_columns_that_its_fields_stand_for() -> None:
    tool, reasoning = event(topic="tool_executions"), event(topic="reasoning_traces")
    workflow, system = event(topic="workflow_events"), event(topic="system_events")
    assert (tool["input"], tool["output"], tool["error"], tool["latency_us"]) == ('{"q":"x"}', "[1,2]", '"timed out"', 12_250)
    assert (reasoning["output"], reasoning["depends_on"], reasoning["step_number"]) == ('"so then"', [1, 2], 3)
    assert (workflow["agent_id"], workflow["workflow_id"], workflow["input"]) == ("w-1", "w-1", '{"rows":3}')
    assert json.loads(workflow["attributes"]) == {"region": "eu", "agent_id": "a-1"}
    assert (system["agent_id"], system["status"], system["output"]) == ("api", "error", '"disk full"')
    assert json.loads(system["attributes"]) == {"region": "eu", "host": "h-1", "value": 99.5}
    assert [one["kind"] for one in (tool, reasoning, workflow, system)] == ["tool", "reasoning", "workflow", "system"]


@pytest.mark.parametrize(
    ("timestamp", "time_ms"),
    [
        (TIME_MS, TIME_MS),
        (TIME_MS + 0.5, TIME_MS + 1),  # half to even
        (0, 0),
        ("2025-01-01T00:00:00.123Z", TIME_MS),
        ("2025-01-01T00:00:00.123999Z", TIME_MS),
        ("2025-01-01T02:00:00.123+02:00", TIME_MS),
        ("2025-01-01T00:00:00.123", TIME_MS),  # no zone: taken as UTC
        ("2025-01-01 00:00:00.123+00", TIME_MS),
        ("2025-01-01", TIME_MS - 123),
    ],
)
def test_times_come_as_iso_or_milliseconds(timestamp: object, time_ms: int) -> None:
    assert event({"timestamp": timestamp})["event_time"] == time_ms


def test_a_time_with_escapes_is_a_time() -> None:
    value = json_bytes(AGENT).replace(str(TIME_MS).encode(), rb'"2025-01-01T02:00:00.123\u002B02:00"')
    assert decode([value]).events["event_time"].to_list() == [TIME_MS]


@pytest.mark.parametrize(
    ("changes", "column", "integer"),
    [
        ({"execution_time_ms": 0.0005}, "latency_us", 0),
        ({"execution_time_ms": 0.0015}, "latency_us", 2),
        ({"execution_time_ms": 3}, "latency_us", 3_000),
        ({"execution_time_ms": 1e3}, "latency_us", 1_000_000),
        ({"cost_usd": 1e-9}, "cost_nano_usd", 1),
        ({"cost_usd": -0.0}, "cost_nano_usd", 0),
        ({"confidence": 1}, "confidence_ppm", 1_000_000),
        ({"input_tokens": NUMBER_MAX - 1}, "input_tokens", NUMBER_MAX - 1),
        ({"output_tokens": None}, "output_tokens", None),
    ],
)
def test_numbers_become_whole_units(changes: dict[str, Any], column: str, integer: int | None) -> None:
    assert event(changes)[column] == integer


def test_content_is_any_json_as_compact_text() -> None:
    pretty = json.dumps({**AGENT, "input_data": {"a": [1, {"b": None}]}, "output_data": 4.50}, indent=2).encode()
    row = decode([pretty]).events.row(0, named=True)
    assert (row["input"], row["output"]) == ('{"a":[1,{"b":null}]}', "4.5")
    assert event({"input_data": None})["input"] is None


def test_unknown_keys_and_metadata_go_to_attributes_and_none_is_lost() -> None:
    row = event({"colour": "red", "region": "us", "attributes": {"region": "de", "a": 1}, "metadata": {"region": "eu"}})
    assert json.loads(row["attributes"]) == {"colour": "red", "region": "us", "a": 1, "attributes.region": "de", "metadata.region": "eu"}
    assert event({"metadata": {}})["attributes"] is None
    assert event({"metadata": None})["attributes"] is None
    assert json.loads(event({"metadata": [1]})["attributes"]) == {"metadata": [1]}


def test_ids_fill_from_metadata_and_unknown_keys_only_where_they_are_missing() -> None:
    row = event({"trace_id": None, "session_id": "s-1", "tool_name": "calc", "metadata": {"trace_id": "t-2", "session_id": "s-2", "step_id": 4}})
    assert (row["trace_id"], row["session_id"], row["step_id"], row["tool_name"]) == ("t-2", "s-1", None, "calc")
    assert json.loads(row["attributes"]) == {"session_id": "s-2", "step_id": 4}


@pytest.mark.parametrize("given", ["u-2", 77, {"name": "Ann"}, True])
@pytest.mark.parametrize("top", ["u-1", None])
def test_a_user_id_never_stays_in_attributes(given: object, top: str | None) -> None:
    row = event({"user_id": top, "metadata": {"user_id": given, "region": "eu"}})
    assert row["attributes"] == '{"region":"eu"}'
    assert row["user_id"] == (top or (given if isinstance(given, str) else json.dumps(given, separators=(",", ":"))))


def test_nul_becomes_the_replacement_character_in_ids_and_stays_escaped_in_content() -> None:
    row = event({"agent_id": "a\0b", "input_data": "a\0b", "metadata": {"step_id": "\0"}})
    assert (row["agent_id"], row["step_id"], row["input"]) == ("a\ufffdb", "\ufffd", '"a\\u0000b"')


DEEP = "[" * 63 + "]" * 63  # with the record itself: 64 levels
CASES: list[tuple[bytes | None, str, str]] = [
    (None, "field_missing", "record"),
    (b"", "json_invalid", "record"),
    (b"[]", "json_invalid", "array"),
    (b'"x"', "json_invalid", "str"),
    (b"{", "json_invalid", "record"),
    (b"nonsense", "json_invalid", "record"),
    (b"\xff\xfe", "json_invalid", "UTF-8"),
    (b"\xef\xbb\xbf" + json_bytes(AGENT), "json_invalid", "record"),
    (json_bytes(AGENT) + b"{}", "json_invalid", "record"),
    (json_bytes({**AGENT, "input_data": "x"}).replace(b'"x"', b'"\xff"'), "json_invalid", "UTF-8"),
    (json_bytes({**AGENT, "input_data": 0}).replace(b'"input_data":0', b'"input_data":"\\ud800 a"'), "json_invalid", "record"),
    (json_bytes(AGENT).replace(b'"a-1"', b'"\\udc00 agent"'), "json_invalid", "record"),
    (json_bytes(AGENT)[:-1] + b',"agent_id":"other"}', "json_invalid", "twice"),
    (json_bytes(AGENT)[:-1] + b',"agent\\u005fid":"other"}', "json_invalid", "twice"),
    (json_bytes(AGENT)[:-1] + b',"colour":1,"colour":2}', "json_invalid", "twice"),
    (json_bytes({**AGENT, "cost_usd": 5})[:-1].replace(b'"cost_usd":5', b'"cost_usd":1e20') + b',"model":"m"}', "json_invalid", "twice"),
    (without("event_id"), "field_missing", "event_id"),
    (without("event_type"), "field_missing", "event_type"),
    (without("timestamp"), "field_missing", "timestamp"),
    (without("agent_id"), "field_missing", "agent_id"),
    (json_bytes({**AGENT, "agent_id": None}), "field_missing", "agent_id"),
    (json_bytes({**AGENT, "event_id": ""}), "field_missing", "event_id"),
    (json_bytes({**AGENT, "timestamp": None}), "field_missing", "timestamp"),
    (json_bytes({**AGENT, "agent_id": 5}), "type_mismatch", "agent_id: want str, got int"),
    (json_bytes({**AGENT, "input_tokens": "5"}), "type_mismatch", "input_tokens: want int, got str"),
    (json_bytes({**AGENT, "input_tokens": 1.5}), "type_mismatch", "input_tokens: want int, got float"),
    (json_bytes({**AGENT, "confidence": "high"}), "type_mismatch", "confidence: want float, got str"),
    (json_bytes({**AGENT, "confidence": "0.5"}), "type_mismatch", "confidence: want float, got str"),
    (json_bytes({**AGENT, "confidence": [0.5]}), "type_mismatch", "confidence: want float, got array"),
    (json_bytes({**AGENT, "timestamp": True}), "type_mismatch", "timestamp: want float, got bool"),
    (json_bytes({**AGENT, "timestamp": {}}), "type_mismatch", "timestamp: want float, got object"),
    (json_bytes({**AGENT, "cost_usd": float("nan")}), "number_not_finite", "cost_usd"),
    (json_bytes({**AGENT, "input_data": {"x": float("-inf")}}), "number_not_finite", "record"),
    (json_bytes({**AGENT, "cost_usd": 5}).replace(b'"cost_usd":5', b'"cost_usd":1e999'), "number_not_finite", "cost_usd"),
    (json_bytes({**AGENT, "cost_usd": -0.1}), "number_out_of_range", "cost_usd"),
    (json_bytes({**AGENT, "cost_usd": NUMBER_MAX / 1e9}), "number_out_of_range", "cost_usd"),
    (json_bytes({**AGENT, "execution_time_ms": -1}), "number_out_of_range", "execution_time_ms"),
    (json_bytes({**AGENT, "confidence": 1.0001}), "number_out_of_range", "confidence"),
    (json_bytes({**AGENT, "input_tokens": -1}), "number_out_of_range", "input_tokens"),
    (json_bytes({**AGENT, "input_tokens": NUMBER_MAX}), "number_out_of_range", "input_tokens"),
    (json_bytes({**AGENT, "input_tokens": 10**40}), "number_out_of_range", "input_tokens"),
    (json_bytes({**AGENT, "timestamp": "yesterday"}), "timestamp_invalid", "timestamp"),
    (json_bytes({**AGENT, "timestamp": -1}), "timestamp_invalid", "timestamp"),
    (json_bytes({**AGENT, "timestamp": 10**30}), "timestamp_invalid", "timestamp"),
    (json_bytes({**AGENT, "timestamp": "1969-12-31T23:59:59Z"}), "timestamp_invalid", "timestamp"),
    (json_bytes({**AGENT, "session_id": "s" * 513}), "record_oversized", "session_id"),
    (json_bytes({**AGENT, "metadata": {"step_id": "s" * 513}}), "record_oversized", "step_id"),
    (json_bytes({**AGENT, "input_data": 0}).replace(b'"input_data":0', f'"input_data":[{DEEP}]'.encode()), "nesting_too_deep", "64"),
    (b'{"input_data":' + b"[" * 200_000 + b"]" * 200_000 + b"}", "nesting_too_deep", "64"),
    (b'{"input_data":' + b"[" * 200_000, "json_invalid", "balance"),
    (b"\x00\x00\x00\x00\x01abc", "bytes_invalid", "no schema registry"),
]


@pytest.mark.parametrize(("value", "code", "told"), CASES, ids=[f"{index}-{case[1]}" for index, case in enumerate(CASES)])
def test_what_cannot_be_read_becomes_a_dead_letter(value: bytes | None, code: str, told: str) -> None:
    dead = rejected(value)
    assert (dead["code"], dead["step"], dead["disposition"]) == (code, "decode", "dead")
    assert told in dead["reason"]
    assert (dead["topic"], dead["partition"], dead["offset"]) == ("agent_events", 3, 0)
    assert dead["kind"] is dead["agent_id"] is dead["event_uid"] is None


def test_what_a_topic_is_keyed_by_is_required() -> None:
    assert rejected(without("workflow_id", "workflow_events"), "workflow_events")["reason"].startswith("workflow_id: required")
    assert rejected(without("service", "system_events"), "system_events")["reason"].startswith("service: required")
    assert event({"agent_id": None}, "workflow_events")["agent_id"] == "w-1"


def test_nesting_up_to_the_limit_passes_and_brackets_in_strings_do_not_count() -> None:
    assert event({"input_data": json.loads(DEEP)})["input"] == DEEP
    assert json.loads(event({"input_data": "[{" * 500 + '\\"['})["input"]) == "[{" * 500 + '\\"['
    assert json.loads(event({"input_data": [[]] * 500})["input"]) == [[]] * 500


def test_a_record_may_be_as_large_as_the_limit() -> None:
    value = json_bytes(AGENT)
    assert decode([value], limits=Limits(record_bytes_max=len(value))).events.height == 1
    dead = rejected(value, limits=Limits(record_bytes_max=len(value) - 1))
    assert (dead["code"], str(len(value)) in dead["reason"]) == ("record_oversized", True)


def test_the_future_begins_after_the_allowed_skew_of_the_kafka_time() -> None:
    assert event(kafka_time=TIME_MS - 300_000)["event_time"] == TIME_MS
    assert rejected(json_bytes(AGENT), kafka_time=TIME_MS - 300_001)["code"] == "event_time_in_future"


def test_a_bad_row_costs_itself_alone_and_order_is_kept() -> None:
    good = [json_bytes({**AGENT, "event_id": f"e-{index}"}) for index in range(50)]
    values = [value for index, value in enumerate(good) for value in ((value, b"bad") if index % 7 == 0 else (value,))]
    decoded = decode(values)
    assert decoded.events["event_id"].to_list() == [f"e-{index}" for index in range(50)]
    assert decoded.events["offset"].to_list() == [index for index, value in enumerate(values) if value != b"bad"]
    assert decoded.dead["offset"].to_list() == [index for index, value in enumerate(values) if value == b"bad"]


def test_topics_in_one_batch_keep_the_order_of_the_batch() -> None:
    parts = [raw_frame([json_bytes(EXAMPLES[topic])], topic) for topic in EXAMPLES]
    batch = pl.concat([*parts, *reversed(parts)])
    decoded = RecordDecoder(DecodeSettings(Limits(), KEY))(batch)
    assert decoded.events["topic"].to_list() == [*EXAMPLES, *reversed(EXAMPLES)]


def test_frames_have_their_schemas_even_when_empty() -> None:
    for values in ([], [json_bytes(AGENT)], [b"bad"]):
        decoded = decode(values)
        assert decoded.events.schema == EVENT
        assert decoded.dead.schema == DEAD


@pytest.mark.parametrize(
    ("header", "kept"), [("00-" + "a" * 32 + "-" + "b" * 16 + "-01", True), ("mail@example.org", False), ("00-" + "a" * 32, False)]
)
def test_only_a_trace_context_of_the_w3c_form_goes_on(header: str, kept: bool) -> None:
    decoder = RecordDecoder(DecodeSettings(Limits(), KEY))
    decoded = decoder(raw_frame([json_bytes(AGENT), b"bad"], traceparent=header))
    wanted = header if kept else None
    assert decoded.events["traceparent"].to_list() == decoded.dead["traceparent"].to_list() == [wanted]


def test_the_digest_tells_contents_apart_under_its_key_alone() -> None:
    values = [json_bytes(AGENT), json_bytes(AGENT), json_bytes({**AGENT, "status": "no"})]
    first, again, other = decode(values).events["content_digest"]
    other_key = RecordDecoder(DecodeSettings(Limits(), KEY + b"2"))(raw_frame(values)).events["content_digest"][0]
    assert first == again
    assert len({first, other, other_key}) == 3


def test_settings_that_cannot_be_run_are_refused_with_every_problem() -> None:
    with pytest.raises(ConfigError) as refused:
        RecordDecoder(DecodeSettings(Limits(), b"short", topics=("agent_events", "colours")))
    assert [problem.split(":")[0] for problem in refused.value.problems] == ["topic colours", "digest key"]
    decoder = RecordDecoder(DecodeSettings(Limits(), KEY, topics=("agent_events",)))
    with pytest.raises(FatalError, match="not built for"):
        decoder(raw_frame([b"{}"], "system_events"))


def test_the_key_is_not_shown() -> None:
    assert "16 bytes" not in repr(DecodeSettings(Limits(), KEY))
