"""Measures the decode stage alone: records per CPU-second, JSON and Avro, median of five runs.

Input: agent events, tool executions and reasoning steps made from a fixed seed, batches of 4,096. Run: ``python benchmarks/stage_decode.py``.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import polars as pl

from schemas import avro
from schemas.codec.decode import DecodeSettings, RecordDecoder
from schemas.events import RAW
from schemas.limits import Limits

BATCH_ROWS = 4_096
START_MS = 1_735_689_600_000
WORDS = ["please", "book", "the", "flight", "from", "Boston", "to", "Denver", "for", "two", "people", "and", "send", "ticket", "today", "again"]


def sentence(rng: random.Random) -> str:
    """Gives twelve words."""
    return " ".join(rng.choices(WORDS, k=12))


def agent_event(rng: random.Random, index: int) -> dict[str, Any]:
    """Gives one agent event of about 500 bytes of JSON."""
    return {
        "event_id": f"evt-{index:08d}",
        "event_type": "agent.executed",
        "timestamp": f"2025-01-01T00:{index // 60 % 60:02d}:{index % 60:02d}.123Z",
        "agent_id": f"agent-{rng.randrange(200)}",
        "execution_id": f"exec-{index // 5}",
        "user_id": f"user-{rng.randrange(50)}",
        "session_id": f"sess-{index // 20}",
        "input_data": {"messages": [{"role": "user", "content": sentence(rng)}]},
        "output_data": {"text": sentence(rng)},
        "execution_time_ms": rng.randrange(1, 5_000_000) / 1_000,
        "status": "ok",
        "model": "gpt-4o",
        "input_tokens": rng.randrange(2_000),
        "output_tokens": rng.randrange(500),
        "cost_usd": rng.randrange(100_000) / 10_000_000,
        "metadata": {"workflow_id": f"wf-{index // 100}", "step_id": f"s-{index % 7}", "region": "eu"},
    }


def tool_execution(rng: random.Random, index: int) -> dict[str, Any]:
    """Gives one tool execution of about 400 bytes of JSON."""
    return {
        "event_id": f"evt-{index:08d}",
        "event_type": "tool.executed",
        "timestamp": START_MS + index,
        "agent_id": f"agent-{rng.randrange(200)}",
        "session_id": f"sess-{index // 20}",
        "tool_call_id": f"call-{index}",
        "tool_name": "search_flights",
        "arguments": {"from": "BOS", "to": "DEN", "note": sentence(rng)},
        "result": {"flights": [{"id": f"F{rng.randrange(999)}", "price": rng.randrange(900)} for _ in range(3)]},
        "latency_ms": rng.randrange(1, 900_000) / 1_000,
        "status": "ok",
    }


def as_avro(record: dict[str, Any]) -> dict[str, Any]:
    """Gives the record as an Avro producer would send it: content as text, time as milliseconds."""
    flat = {key: json.dumps(value, separators=(",", ":")) if isinstance(value, dict) else value for key, value in record.items()}
    flat["timestamp"] = START_MS
    return flat


def raw_frame(values: list[bytes], topic: str) -> pl.DataFrame:
    """Gives a raw batch of one partition."""
    count = len(values)
    columns: dict[str, Any] = {"topic": [topic] * count, "partition": [0] * count, "offset": list(range(count)), "kafka_time": [None] * count}
    return pl.DataFrame({**columns, "key": [None] * count, "value": values, "traceparent": [None] * count}, schema=RAW)


class OneSchema:
    """A registry of one schema."""

    def __init__(self, text: str) -> None:
        self._text = text

    def schema(self, schema_id: int) -> str:
        """Gives its text for any id."""
        return self._text


def avro_values(records: list[dict[str, Any]], schema: str) -> list[bytes]:
    """Gives the records in wire format, written by fastavro."""
    import io

    import fastavro

    parsed = fastavro.parse_schema(json.loads(avro.text(schema)))
    values = []
    for record in records:
        buffer = io.BytesIO(b"\x00\x00\x00\x00\x01")
        buffer.seek(5)
        fastavro.schemaless_writer(buffer, parsed, as_avro(record))
        values.append(buffer.getvalue())
    return values


def rate(name: str, decoder: RecordDecoder, batches: list[pl.DataFrame]) -> None:
    """Prints records per CPU-second, median of five, and the bytes per record."""
    rows = sum(batch.height for batch in batches)
    size = sum(int(batch["value"].bin.size().sum()) for batch in batches) / rows
    rates = []
    for _ in range(5):
        start = time.process_time()
        decoded = [decoder(batch) for batch in batches]
        rates.append(rows / (time.process_time() - start))
        assert sum(one.events.height for one in decoded) == rows
    print(f"{name:32s} {statistics.median(rates):>10,.0f} records/CPU-s   {size:5.0f} B/record   (min {min(rates):,.0f}, max {max(rates):,.0f})")


def main() -> None:
    """Runs all cases."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--batches", type=int, default=12, help="batches of 4,096 records per case")
    count = options.parse_args().batches * BATCH_ROWS
    cases: list[tuple[str, str, Callable[[random.Random, int], dict[str, Any]]]] = [
        ("agent_events", "agent_event", agent_event),
        ("tool_executions", "tool_execution", tool_execution),
    ]
    for topic, schema, make in cases:
        rng = random.Random(7)
        records = [make(rng, index) for index in range(count)]
        unknown = [{**record, "region_code": 7} for record in records]
        decoder = RecordDecoder(DecodeSettings(Limits(), b"benchmark key 16", OneSchema(avro.text(schema)), (topic,)))
        forms = {
            "json": [json.dumps(record, separators=(",", ":")).encode() for record in records],
            "json, spaced": [json.dumps(record).encode() for record in records],
            "json, unknown key": [json.dumps(record, separators=(",", ":")).encode() for record in unknown],
            "avro": avro_values(records, schema),
        }
        for form, values in forms.items():
            batches = [raw_frame(values[start : start + BATCH_ROWS], topic) for start in range(0, count, BATCH_ROWS)]
            rate(f"{topic} {form}", decoder, batches)


if __name__ == "__main__":
    main()
