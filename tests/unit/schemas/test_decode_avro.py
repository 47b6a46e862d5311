"""Avro records are read with the schema that wrote them, by Avro's rules of evolution, and one bad record costs itself alone."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import pytest

from schemas import avro
from schemas.errors import RetryableError
from schemas.topics import INPUTS
from tests.fixtures.records import EXAMPLES, TIME_MS, Schemas, as_avro, avro_bytes, decode, json_bytes

TEXT = avro.text("agent_event")
AGENT = as_avro(EXAMPLES["agent_events"], "agent_events")


def changed(**fields: Any) -> str:
    """Gives the agent event schema with fields replaced, added or (None) left out."""
    schema = json.loads(TEXT)
    kept = [fields.pop(field["name"], field) for field in schema["fields"]]
    return json.dumps({**schema, "fields": [field for field in (*kept, *fields.values()) if field is not None]})


def codes(values: list[bytes], schema: str = TEXT) -> list[str]:
    return decode(values, registry=Schemas({1: schema})).dead["code"].to_list()


@pytest.mark.parametrize("topic", INPUTS)
def test_the_same_record_is_the_same_event_in_both_formats(topic: str) -> None:
    text = avro.text(INPUTS[topic].schema)
    values = [json_bytes(EXAMPLES[topic]), avro_bytes(as_avro(EXAMPLES[topic], topic), text)]
    one, other = decode(values, topic, registry=Schemas({1: text})).events.drop("offset", "content_digest", "value_bytes").rows()
    assert one == other


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("plain words", '"plain words"'),
        ("", '""'),
        ("4111111111111111", '"4111111111111111"'),
        ("true", '"true"'),
        ("null", '"null"'),
        (' {"a" : [1, 2]} ', '{"a":[1,2]}'),
        ('"quoted"', '"quoted"'),
        ("{broken", '"{broken"'),
        ('{"x": NaN}', '"{\\"x\\": NaN}"'),
        ("[" * 63 + "]" * 63, "[" * 63 + "]" * 63),
        ("line\nbreak\0", '"line\\nbreak\\u0000"'),
    ],
)
def test_content_is_json_text_or_plain_text(text: str, content: str) -> None:
    value = avro_bytes({**AGENT, "input_data": text}, TEXT)
    assert decode([value], registry=Schemas({1: TEXT})).events["input"].to_list() == [content]


def test_a_writer_with_fewer_smaller_and_more_fields_is_read() -> None:
    writer = changed(
        cost_usd=None,
        input_tokens={"name": "input_tokens", "type": "int"},
        confidence={"name": "confidence", "type": ["null", "float"]},
        execution_time_ms={"name": "execution_time_ms", "type": "long"},
        timestamp={"name": "timestamp", "type": "long"},
        colour={"name": "colour", "type": {"type": "enum", "name": "colours", "symbols": ["red", "blue"]}},
        tags={"name": "tags", "type": {"type": "array", "items": "string"}},
        place={"name": "place", "type": {"type": "record", "name": "spot", "fields": [{"name": "x", "type": "double"}]}},
    )
    record = {**AGENT, "confidence": 0.5, "execution_time_ms": 3, "colour": "blue", "tags": ["a"], "place": {"x": 1.5}}
    row = decode([avro_bytes(record, writer)], registry=Schemas({1: writer})).events.row(0, named=True)
    assert (row["input_tokens"], row["confidence_ppm"], row["latency_us"], row["cost_nano_usd"]) == (7, 500_000, 3_000, None)
    assert row["event_time"] == TIME_MS
    assert json.loads(row["attributes"]) == {"region": "eu", "colour": "blue", "tags": ["a"], "place": {"x": 1.5}}


def test_microseconds_of_a_writer_become_milliseconds() -> None:
    writer = changed(timestamp={"name": "timestamp", "type": {"type": "long", "logicalType": "timestamp-micros"}})
    value = avro_bytes({**AGENT, "timestamp": TIME_MS * 1_000 + 7}, writer)
    assert decode([value], registry=Schemas({1: writer})).events["event_time"].to_list() == [TIME_MS]


@pytest.mark.parametrize(
    ("writer", "told"),
    [
        (changed(agent_id=None), "field agent_id"),
        (changed(agent_id={"name": "agent_id", "type": "long"}), "type_mismatch"),
        (changed(agent_id={"name": "agent_id", "type": ["null", "string"]}), "type_mismatch"),
        (changed(agent_id={"name": "agent_id", "type": "bytes"}), "want a string"),
        (changed(bomb={"name": "bomb", "type": {"type": "array", "items": "null"}}), "take no bytes"),
        ('{"type": "record", "name": "other", "fields": []}', "name_mismatch"),
        ('"string"', "type_mismatch"),
        ("not a schema", "no Avro schema"),
    ],
)
def test_a_writer_that_the_rules_do_not_let_us_read_is_named(writer: str, told: str) -> None:
    dead = decode([avro_bytes(AGENT, TEXT)], registry=Schemas({1: writer})).dead
    assert dead["code"].to_list() == ["schema_unknown"]
    assert told in dead["reason"][0]
    assert "schema id 1" in dead["reason"][0]


def test_ids_are_kept_apart_and_unknown_ones_are_dead_letters() -> None:
    older = changed(model=None)
    values = [avro_bytes(AGENT, TEXT, 1), avro_bytes(AGENT, older, 2), avro_bytes(AGENT, TEXT, 99), json_bytes(EXAMPLES["agent_events"])]
    decoded = decode(values, registry=Schemas({1: TEXT, 2: older}))
    assert decoded.events["model"].to_list() == ["m-1", None, "m-1"]
    assert decoded.events["offset"].to_list() == [0, 1, 3]
    assert decoded.dead.select("offset", "code").rows() == [(2, "schema_unknown")]


def test_the_batch_waits_while_the_registry_is_away() -> None:
    class Away:
        def schema(self, schema_id: int) -> str:
            raise RetryableError("registry: no answer", 1_000)

    with pytest.raises(RetryableError):
        decode([avro_bytes(AGENT, TEXT)], registry=Away())


GOOD = avro_bytes(AGENT, TEXT)
BAD: dict[str, bytes] = {
    "header only": GOOD[:5],
    "short header": GOOD[:3],
    "cut": GOOD[:-1],
    "left over": GOOD + b"\x00",
    "not UTF-8": avro_bytes({**AGENT, "input_data": "zz"}, TEXT).replace(b"zz", b"\xff\xfe"),
    "overlong size": GOOD[:5] + b"\xff" * 20,
    "negative size": GOOD[:5] + b"\x01" + GOOD[6:],
    "random": GOOD[:5] + bytes(range(256)),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_bytes_that_are_not_of_the_schema_are_found_in_the_middle_of_good_ones(bad: bytes) -> None:
    values = [GOOD] * 11 + [bad] + [GOOD] * 6 + [bad]
    decoded = decode(values, registry=Schemas({1: TEXT}))
    assert decoded.dead.select("offset", "code").rows() == [(11, "bytes_invalid"), (18, "bytes_invalid")]
    assert decoded.events["offset"].to_list() == [index for index in range(18) if index != 11]


def test_an_array_written_in_blocks_is_whole() -> None:
    """Writers may give each block its size and cut an array as they like: longer bytes, the same record."""
    text = avro.text("reasoning_trace")
    record = as_avro(EXAMPLES["reasoning_traces"], "reasoning_traces")
    whole = avro_bytes(record, text, 1)
    one_block, two_blocks = b"\x04\x02\x04\x00", b"\x01\x02\x02\x02\x04\x00"
    assert whole.count(one_block) == 1
    decoded = decode([whole.replace(one_block, two_blocks)], "reasoning_traces", registry=Schemas({1: text}))
    assert decoded.events["depends_on"].to_list() == [[1, 2]]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"cost_usd": math.nan}, "number_not_finite"),
        ({"confidence": math.inf}, "number_not_finite"),
        ({"execution_time_ms": -1.0}, "number_out_of_range"),
        ({"input_tokens": 2**60}, "number_out_of_range"),
        ({"timestamp": -5}, "timestamp_invalid"),
        ({"agent_id": ""}, "field_missing"),
        ({"user_id": "u" * 513}, "record_oversized"),
        ({"input_data": "[" * 64 + "]" * 64}, "nesting_too_deep"),
        ({"input_data": "[" * 100_000 + "]" * 100_000}, "nesting_too_deep"),
        ({"metadata": "[" * 64 + "]" * 64}, "nesting_too_deep"),
    ],
)
def test_values_are_checked_as_in_json(changes: dict[str, Any], code: str) -> None:
    assert codes([GOOD, avro_bytes({**AGENT, **changes}, TEXT)]) == [code]


def test_a_kept_number_must_be_finite_too() -> None:
    text = avro.text("system_event")
    record = {**as_avro(EXAMPLES["system_events"], "system_events"), "value": math.nan}
    decoded = decode([avro_bytes(record, text)], "system_events", registry=Schemas({1: text}))
    assert decoded.dead["code"].to_list() == ["number_not_finite"]
    assert struct.calcsize("d") == 8
