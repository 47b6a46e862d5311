"""Whatever bytes arrive: each record is an event or a dead letter, no dead letter tells a value, and both formats mean the same."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import avro
from schemas.codec.decode import Decoded, DecodeSettings, RecordDecoder
from schemas.errors import record_error_codes
from schemas.events import COORDINATES, EVENT
from schemas.frames import DataClass, data_class, fields
from schemas.limits import Limits
from schemas.topics import INPUTS
from tests.fixtures.records import EXAMPLES, KEY, TIME_MS, Schemas, as_avro, avro_bytes, json_bytes, raw_frame

REGISTRY = Schemas({number: avro.text(topic.schema) for number, topic in enumerate(INPUTS.values())})
LIMITS = Limits(record_bytes_max=3_000, nesting_depth_max=8, identifier_bytes_max=40)
DECODER = RecordDecoder(DecodeSettings(LIMITS, KEY, REGISTRY))
SETTINGS = settings(max_examples=150, deadline=None)
CANARY = "canary-4929-1234"

texts = st.text(st.characters(codec="utf-8"), max_size=6) | st.sampled_from(["", "\0", CANARY, "{", "[1]", '"', "a" * 41])
scalars = st.none() | st.booleans() | st.integers(-2, 2) | st.integers() | st.floats() | texts
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8)
topics = st.sampled_from(sorted(INPUTS))


@st.composite
def records(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """Gives a topic and its example with some fields replaced by anything, some left out, some added."""
    topic = draw(topics)
    record = dict(EXAMPLES[topic])
    names = [*record, "attributes", "colour", "model", "user_id"]
    for name in draw(st.lists(st.sampled_from(names), max_size=3)):
        record[name] = draw(values)
    for name in draw(st.lists(st.sampled_from(names), max_size=1)):
        record.pop(name, None)
    return topic, record


raw_values = st.one_of(
    st.none(),
    st.binary(max_size=12),
    st.binary(max_size=12).map(lambda tail: b"\x00\x00\x00\x00" + tail),
    st.binary(max_size=12).map(lambda tail: b'{"event_id":"' + tail),
    records().map(lambda pair: json.dumps(pair[1]).encode("utf-8", "surrogatepass")),
)


def assert_conserved(batch: pl.DataFrame, decoded: Decoded) -> None:
    """Every record is in exactly one of the two frames, each in the order of the batch."""
    places = batch.select(*COORDINATES).rows()
    events, dead = decoded.events.select(*COORDINATES).rows(), decoded.dead.select(*COORDINATES).rows()
    assert sorted(events + dead) == sorted(places)
    for part in (events, dead):
        assert part == [place for place in places if place in set(part)]
    assert set(decoded.dead["code"]) <= set(record_error_codes())
    assert decoded.dead["reason"].null_count() == 0


@SETTINGS
@given(st.lists(st.tuples(topics, raw_values), max_size=8))
def test_every_record_is_an_event_or_a_dead_letter(batch: list[tuple[str, bytes | None]]) -> None:
    frames = [raw_frame([value], topic).with_columns(offset=pl.lit(index, pl.Int64)) for index, (topic, value) in enumerate(batch)]
    raw = pl.concat([raw_frame([]), *frames])
    assert_conserved(raw, DECODER(raw))


@SETTINGS
@given(st.lists(st.tuples(topics, raw_values), min_size=2, max_size=6), st.integers(1, 5))
def test_a_batch_cut_in_two_decodes_to_the_same(batch: list[tuple[str, bytes | None]], cut: int) -> None:
    raw = pl.concat([raw_frame([value], topic).with_columns(offset=pl.lit(index, pl.Int64)) for index, (topic, value) in enumerate(batch)])
    whole, first, second = DECODER(raw), DECODER(raw[:cut]), DECODER(raw[cut:])
    assert whole.events.equals(pl.concat([first.events, second.events]))
    assert whole.dead.equals(pl.concat([first.dead, second.dead]))


@SETTINGS
@given(records())
def test_events_are_within_the_bounds_that_later_steps_rely_on(pair: tuple[str, dict[str, Any]]) -> None:
    topic, record = pair
    for row in DECODER(raw_frame([json.dumps(record).encode()], topic)).events.iter_rows(named=True):
        assert row["event_id"]
        assert row["agent_id"]
        assert 0 <= row["event_time"] < 2**53
        for name in ("latency_us", "input_tokens", "output_tokens", "cost_nano_usd", "confidence_ppm", "step_number"):
            assert row[name] is None or 0 <= row[name] < 2**53
        for name in ("input", "output", "error", "attributes"):
            assert row[name] is None or row[name] != "null"
            json.loads(row[name] or "{}")
        attributes = json.loads(row["attributes"] or "{}")
        assert isinstance(attributes, dict)
        assert not attributes.get("user_id")
        assert all("\0" not in row[name] for name, dtype in EVENT.items() if dtype == pl.String() and row[name])


plain = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=6)
contents = (
    st.none() | plain.filter(lambda text: text.strip()[:1] not in ("{", "[", '"')) | st.dictionaries(plain, st.integers(0, 9) | plain, max_size=2)
)
ROLES: dict[str, st.SearchStrategy[Any]] = {
    "timestamp": st.integers(TIME_MS - 5, TIME_MS + 5),
    "array": st.none() | st.lists(st.integers(-1, 3), max_size=3),
    "double": st.none() | st.floats(-1, 2) | st.sampled_from([0.0005, 1e9, float(2**53)]),
    "long": st.none() | st.integers(-1, 3) | st.sampled_from([2**53 - 1, 2**53]),
    "metadata": st.none()
    | st.dictionaries(st.sampled_from(["step_id", "trace_id", "user_id", "model", "region"]), plain | st.integers(0, 3), max_size=3),
    "content": contents,
}
CONTENT = {"input_data", "output_data", "arguments", "result", "error", "content", "data", "message"}


@st.composite
def agreed(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """Gives a topic and a record of the right types (not always in range), as both formats can say it."""
    topic = draw(topics)
    record: dict[str, Any] = {}
    for field in fields(INPUTS[topic].schema):
        name, kind = field["name"], json.dumps(field["type"])
        known = [role for role in ROLES if role == name or f'"{role}"' in kind]
        role = "content" if name in CONTENT else "metadata" if name == "attributes" else known[0] if known else None
        value = draw(ROLES[role] if role else plain if isinstance(field["type"], str) else st.none() | plain)
        if value is not None or isinstance(field["type"], str):
            record[name] = value
    return topic, record


@SETTINGS
@given(agreed())
def test_both_formats_give_the_same_event_or_the_same_dead_letter(pair: tuple[str, dict[str, Any]]) -> None:
    topic, record = pair
    schema_id = list(INPUTS).index(topic)
    in_avro = avro_bytes(as_avro(record, topic), REGISTRY.texts[schema_id], schema_id)
    one, other = DECODER(raw_frame([json_bytes(record)], topic)), DECODER(raw_frame([in_avro], topic))
    assert one.events.drop("content_digest", "value_bytes").rows() == other.events.drop("content_digest", "value_bytes").rows()
    assert one.dead["code"].to_list() == other.dead["code"].to_list()


@SETTINGS
@given(topics, st.lists(st.tuples(st.integers(5, 400), st.integers(0, 255)), max_size=4), st.integers(0, 400), st.binary(max_size=3))
def test_damaged_avro_never_raises(topic: str, changes: list[tuple[int, int]], cut: int, tail: bytes) -> None:
    schema_id = list(INPUTS).index(topic)
    value = bytearray(avro_bytes(as_avro(EXAMPLES[topic], topic), REGISTRY.texts[schema_id], schema_id))
    for place, byte in changes:
        value[5 + place % (len(value) - 5)] = byte
    good = bytes(avro_bytes(as_avro(EXAMPLES[topic], topic), REGISTRY.texts[schema_id], schema_id))
    raw = raw_frame([good, bytes(value[: len(value) - cut % 3]) + tail, good], topic)
    decoded = DECODER(raw)
    assert_conserved(raw, decoded)
    assert {0, 2} <= set(decoded.events["offset"])


#: What can be planted in a field so that the record fails, with the canary inside it.
PLANTS: list[Any] = [
    CANARY,
    [CANARY],
    {CANARY: CANARY},
    {"user_id": CANARY * 10},
    [[[[[[[[[[CANARY]]]]]]]]]],
    CANARY * 300,
    float("nan"),
    -1,
    10**30,
    CANARY + "\ud800",
]


@pytest.mark.parametrize("topic", INPUTS)
def test_no_dead_letter_tells_a_value(topic: str) -> None:
    """A canary in every field, in new fields, in keys, and in records broken in every way."""
    canaries = {name: CANARY if isinstance(value, str) else value for name, value in EXAMPLES[topic].items()}
    broken: list[bytes] = []
    for name in [field["name"] for field in fields(INPUTS[topic].schema)] + [CANARY]:
        for plant in PLANTS:
            record = {**canaries, name: plant}
            broken += [json.dumps(record).encode(), json.dumps(record, ensure_ascii=False).encode("utf-8", "surrogatepass")]
    whole = json.dumps(canaries).encode()
    broken += [whole[:cut] for cut in range(0, len(whole), 7)] + [
        whole.replace(b":", b";", 1),
        whole + whole,
        b"\xff" + whole,
        whole[:-1] + b',"a":1,"a":2}',
    ]
    schema_id = list(INPUTS).index(topic)
    in_avro = avro_bytes(as_avro({**EXAMPLES[topic], "user_id": CANARY * 4}, topic), REGISTRY.texts[schema_id], schema_id)
    broken += [in_avro, in_avro + b"x", in_avro[:-3], in_avro[:4] + b"\x63" + in_avro[5:], in_avro[:5] + CANARY.encode()]
    raw = raw_frame(broken, topic, traceparent=CANARY)
    decoded = DECODER(raw)
    assert_conserved(raw, decoded)
    assert decoded.dead.height > 100
    assert len(decoded.dead["code"].unique()) >= 8
    for name, column in decoded.dead.to_dict().items():
        assert not column.cast(pl.String).str.contains("canary|4929").any(), name


def test_reasons_are_ours_for_every_field_of_every_class() -> None:
    """The canary test covers each field that is personal or secret; this holds that there are some."""
    classes = {data_class(topic.schema, field["name"]) for topic in INPUTS.values() for field in fields(topic.schema)}
    assert classes >= {DataClass.PERSONAL, DataClass.SECRET}
