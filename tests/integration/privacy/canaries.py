"""Personal values that are found again: each stands in one place of one record, and a search tells which of them came through."""

from __future__ import annotations

import io
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fastavro
import polars as pl

from schemas import avro
from schemas.topics import INPUTS
from tests.fixtures.records import EXAMPLES

TIME_MS = 1_700_000_000_000
#: An id without anything personal: it must come through, or the search finds nothing because nothing is there.
PLAIN_AGENT = "plain-agent-in-every-place"
WRITINGS = ("email", "card", "ssn", "phone")
_NUMBERS = {
    "execution_time_ms",
    "latency_ms",
    "input_tokens",
    "output_tokens",
    "cost_usd",
    "confidence",
    "step_number",
    "value",
    "timestamp",
    "depends_on",
}


@dataclass(frozen=True)
class Record:
    """One input record."""

    topic: str
    value: bytes
    key: bytes = b"k"
    headers: tuple[tuple[str, bytes], ...] = ()
    kafka_time: int = TIME_MS


@dataclass
class Planted:
    """Records with canaries in them.

    Attributes:
        records: What is published.
        where: What each canary was planted in, by the canary.
        codes: Dead letters that must come of it, by code.
    """

    records: list[Record] = field(default_factory=list)
    where: dict[str, str] = field(default_factory=dict)
    codes: list[str] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def new(self, writing: str, place: str) -> str:
        """Gives a value that was never given before."""
        number = next(self._numbers)
        value = {
            "email": lambda: f"canary{number:05d}@mail.example.com",
            "card": lambda: _with_check_digit(f"4539{number:011d}"),
            "ssn": lambda: f"{301 + number // 10_000 % 300}-{11 + number % 80}-{1_000 + number % 9_000}",
            "phone": lambda: f"+1415{2_010_000 + number * 7}",
        }[writing]()
        assert value not in self.where
        self.where[value] = f"{writing} in {place}"
        return value

    def event(self, topic: str, fields: Mapping[str, Any], **options: Any) -> None:
        """Adds a whole event with the fields laid over it."""
        self.records.append(Record(topic, json.dumps({**EXAMPLES[topic], **fields}, ensure_ascii=False).encode(), **options))

    def dead(self, code: str, topic: str, value: bytes, **options: Any) -> None:
        """Adds a record that must become a dead letter."""
        self.records.append(Record(topic, value, **options))
        self.codes.append(code)

    def found_in(self, data: bytes) -> list[str]:
        """Gives where each canary was planted that occurs in the bytes, also written in hexadecimal or without its signs."""
        text = data.decode("utf-8", "replace").casefold()
        # One pass for candidates of each kind keeps the search fast; hexadecimal is looked for as it is.
        tokens = set(re.findall(r"canary\d{5}@mail\.example\.com|\d{16}|\d{3}-\d{2}-\d{4}|\+?1415\d{7}|415\d{7}", text))
        found = [value for value in self.where if value in tokens or value.lstrip("+") in tokens or value.removeprefix("+1") in tokens]
        # In hexadecimal by letters: digits alone are in hexadecimal digests by chance.
        found += [value for value in self.where if "@" in value and value.encode().hex() in text]
        return sorted({f"{self.where[value]}" for value in found})


def _with_check_digit(digits: str) -> str:
    total = sum(sum(divmod(2 * int(digit), 10)) if at % 2 == 0 else int(digit) for at, digit in enumerate(reversed(digits)))
    return digits + str(-total % 10)


def planted(topic_names: tuple[str, ...] = tuple(INPUTS)) -> Planted:
    """Gives records with a canary of each kind in every field, around every field, and in every kind of malformed record."""
    made = Planted()
    for topic in topic_names:
        _in_every_field(made, topic)
        _in_every_shape_of_content(made, topic)
    _malformed(made)
    # Many plain events after them, so that windows are open and closed and state is on disk.
    for number in range(40):
        fields = {"event_id": f"plain-{number}", "agent_id": PLAIN_AGENT, "timestamp": TIME_MS + 1_000 * number}
        made.event("agent_events", fields, key=PLAIN_AGENT.encode())
    return made


def _in_every_field(made: Planted, topic: str) -> None:
    """One record a field and writing: what is planted beside it cannot mask it by chance. A field of numbers is a malformed record."""
    owner = {"workflow_events": "workflow_id", "system_events": "service"}.get(topic, "agent_id")
    for name in [*EXAMPLES[topic], "a_key_of_no_schema", "attributes"]:
        for writing in WRITINGS:
            value = made.new(writing, f"{topic}.{name}")
            fields: dict[str, Any] = {"event_id": f"f-{topic}-{name}-{writing}", "timestamp": TIME_MS, name: value}
            key = str(fields.get(owner, EXAMPLES[topic][owner])).encode()
            headers = (("traceparent", made.new(writing, "header traceparent").encode()), ("x-user", made.new(writing, "header x-user").encode()))
            made.event(topic, fields, key=key, headers=headers)
            if name in _NUMBERS:
                made.codes.append("timestamp_invalid" if name == "timestamp" else "type_mismatch")


def _in_every_shape_of_content(made: Planted, topic: str) -> None:
    """Nested JSON, JSON in strings, keys of maps, keys of no schema, metadata, long texts with escapes."""
    content = next(name for name in ("input_data", "arguments", "content", "data", "message") if name in EXAMPLES[topic])
    for writing in WRITINGS:

        def new(place: str, writing: str = writing) -> str:
            return made.new(writing, f"{topic}: {place}")

        twice = json.dumps({"inner": json.dumps({"deep": [new("JSON in JSON in a string")]})})
        fields = {
            "event_id": f"s-{topic}-{writing}",
            "timestamp": TIME_MS,
            content: {
                "text": f"please write to {new('a sentence')}, thanks",
                "list": [[{"x": new("nested list")}]],
                new("a key of a map"): 1,
                "keyed": {new("a key of a map inside"): {"y": new("below a key")}},
                "in_string": twice,
                "escaped": f'line\n\t"{new("after escapes")}"\u2028',
                "lines": "\n".join(["no one"] * 50 + [new("a late line")] + ["nothing"] * 50),
            },
            "metadata": {"note": new("metadata"), "inner": {new("a key in metadata"): 1}, "user_id": new("metadata.user_id")},
            "attributes": {"tags": [new("attributes")], "trace_id": new("attributes.trace_id")},
            "unknown": {"who": [new("a key of no schema, nested")]},
            new("the name of a key of no schema"): new("its value"),
        }
        made.event(topic, fields, key=new("message key").encode())


def _malformed(made: Planted) -> None:
    """Every dead letter that a record can become, with canaries in what is wrong and beside it."""
    good = {**EXAMPLES["agent_events"], "timestamp": TIME_MS}

    def line(fields: Mapping[str, Any]) -> bytes:
        return json.dumps({**good, **fields}, ensure_ascii=False).encode()

    for writing in WRITINGS:

        def new(place: str, writing: str = writing) -> str:
            return made.new(writing, place)

        texts = {"input_data": new("beside what is wrong"), "agent_id": new("agent_id beside what is wrong")}
        made.dead("json_invalid", "agent_events", f'{{"event_id": "{new("torn JSON")}", '.encode(), key=new("key of torn JSON").encode())
        made.dead("json_invalid", "agent_events", json.dumps([new("a list")]).encode())
        made.dead("field_missing", "agent_events", line({**texts, "event_id": None}))
        made.dead("type_mismatch", "agent_events", line({**texts, "input_tokens": new("a count"), "event_id": new("id of a mismatch")}))
        made.dead("number_out_of_range", "agent_events", line({**texts, "input_tokens": -1}))
        made.dead("number_not_finite", "agent_events", line({**texts, "cost_usd": "@"}).replace(b'"@"', b"1e999"))
        made.dead("timestamp_invalid", "agent_events", line({**texts, "timestamp": new("a timestamp")}))
        made.dead("record_oversized", "agent_events", line({**texts, "event_id": new("an id too long") + "x" * 600}))
        made.dead("nesting_too_deep", "agent_events", line({"input_data": json.loads("[" * 80 + json.dumps(new("deep down")) + "]" * 80)}))
        made.event("agent_events", {"event_id": f"twice-{writing}", "timestamp": TIME_MS, "input_data": new("the first of two")}, key=b"twice")
        conflict = {"event_id": f"twice-{writing}", "input_data": new("the second of two")}
        made.dead("id_conflict", "agent_events", line(conflict), key=b"twice")


def malformed_on_kafka(made: Planted) -> None:
    """Adds what only Kafka can carry: Avro, record timestamps, schema ids."""
    text = json.loads(avro.text("agent_event"))
    schema = fastavro.parse_schema(text)
    for writing in WRITINGS:
        whole = {
            "event_id": f"avro-{writing}",
            "event_type": "agent.executed",
            "timestamp": TIME_MS,
            "agent_id": made.new(writing, "agent_id in Avro"),
        }
        whole["input_data"] = made.new(writing, "input_data in Avro")
        body = io.BytesIO()
        fastavro.schemaless_writer(body, schema, whole)
        made.records.append(Record("agent_events", b"\0" + (1).to_bytes(4, "big") + body.getvalue()))
        made.dead("bytes_invalid", "agent_events", b"\0" + (1).to_bytes(4, "big") + b"\xff" + made.new(writing, "bytes that are no Avro").encode())
        made.dead("schema_unknown", "agent_events", b"\0" + (4_000_000).to_bytes(4, "big") + made.new(writing, "Avro of no known schema").encode())
        body = io.BytesIO()
        fastavro.schemaless_writer(body, schema, {**whole, "event_id": made.new(writing, "id beside NaN"), "cost_usd": float("nan")})
        made.dead("number_not_finite", "agent_events", b"\0" + (1).to_bytes(4, "big") + body.getvalue())
        early = {**EXAMPLES["agent_events"], "timestamp": TIME_MS + 3_600_000, "agent_id": made.new(writing, "agent_id of the future")}
        made.dead("event_time_in_future", "agent_events", json.dumps(early).encode())


def bytes_below(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Gives every file below a folder; buckets of state also unpacked, for they are compressed."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            yield str(path.relative_to(folder)), data
            for number, part in enumerate(data.split(b"HRSB")[1:]):
                yield f"{path.relative_to(folder)} bucket {number}", repr(pl.read_ipc_stream(io.BytesIO(part[4:])).rows()).encode()
