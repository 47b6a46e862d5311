"""Each stage alone, in this process, on the frames that the stage before it makes of a frozen corpus: events per CPU-second of the whole process.

The front stages see batches as the source cuts them, keyed stages as a lane sees them with one lane. Sinks write to a real broker and a real
database; their rows are CPU-seconds of this process, and wall time beside them because they wait. Median of several passes over the same frames;
a stage with state or memory starts each pass anew, except where the row says so.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

import fastavro
import polars as pl

from benchmarks.result import Row, Table, save
from governance.parse import default_policy
from operators.contract import EMPTY_STATE, KeyedStep, Outcome, State
from operators.decode import Decode
from operators.deduplicate import Deduplicate
from operators.enrich import Enrich
from operators.guardrails.decide import Decide
from operators.guardrails.inspect import Inspect
from operators.pii.step import Mask
from operators.windows.measure import Measure
from operators.windows.watermark import row_watermarks
from schemas import avro
from schemas.codec.avro import encode_avro
from schemas.codec.decode import DecodeSettings
from schemas.events import RAW
from schemas.limits import Limits
from schemas.topics import INPUTS, OUTPUTS
from sinks.contract import OutputBatch, Sink
from sinks.kafka import KafkaSink
from sinks.migrate import migrate
from sinks.timescale import TimescaleSink
from streams.embedded.kafka import KafkaBroker
from streams.embedded.postgres import PostgresServer
from streams.fleet.corpora import corpus

BATCH_ROWS: Final = (256, 1_024, 4_096)
CORPORA: Final = ("fleet", "distinct")
PARTITIONS: Final = 4
PER_SECOND: Final = 10_000.0
_KEY: Final = b"benchmark key 16"
_START_MS: Final = 1_767_225_600_000
_WRITE_DEADLINE_S: Final = 30.0
#: Ids that the deduplicating state holds in the row "large state".
_LARGE_STATE: Final = 2_000_000

Frames = list[pl.DataFrame]
#: Makes what is timed: a call for each pass, given fresh, over all frames.
Pass = Callable[[], Callable[[pl.DataFrame], object]]


@dataclass(frozen=True, slots=True)
class Rate:
    """Rates of one stage, one value a pass."""

    cpu: list[float]
    wall: list[float]


def raw_frames(name: str, events: int, rows: int, values: Callable[[str, bytes], bytes] = lambda _topic, value: value) -> Frames:
    """Gives a corpus as polled batches of one topic each, partition by the agent's number."""
    offsets: dict[tuple[str, int], int] = {}
    records: dict[str, list[tuple[Any, ...]]] = {}
    batches: Frames = []
    for index, record in enumerate(islice(corpus(name).records(_START_MS, PER_SECOND), events)):
        partition = int(record.key.rpartition(b"-")[2]) % PARTITIONS
        offset = offsets[record.topic, partition] = offsets.get((record.topic, partition), -1) + 1
        stamp = _START_MS + int(index * 1_000 / PER_SECOND)
        waiting = records.setdefault(record.topic, [])
        waiting.append((record.topic, partition, offset, stamp, record.key, values(record.topic, record.value), None))
        if len(waiting) == rows:
            batches.append(pl.DataFrame(waiting, schema=RAW, orient="row"))
            waiting.clear()
    return batches


class OneSchemaEach:
    """A registry that holds the input schemas under their place in the list of input topics."""

    def schema(self, schema_id: int) -> str:
        """Gives a schema's text."""
        return avro.text(list(INPUTS.values())[schema_id].schema)


def as_avro(topic: str, value: bytes) -> bytes:
    """Gives a record as an Avro producer would send it, content as JSON text."""
    number = list(INPUTS).index(topic)
    parsed: Any = fastavro.parse_schema(json.loads(OneSchemaEach().schema(number)))
    fields = {field["name"] for field in parsed["fields"]}
    event = {key: json.dumps(item) if isinstance(item, dict | list) and key != "depends_on" else item for key, item in json.loads(value).items()}
    buffer = io.BytesIO(b"\x00" + number.to_bytes(4, "big"))
    buffer.seek(0, io.SEEK_END)
    fastavro.schemaless_writer(buffer, parsed, {key: item for key, item in event.items() if key in fields})
    return buffer.getvalue()


def timed(frames: Frames, make: Pass, passes: int) -> Rate:
    """Times passes over the frames; what ``make`` does before it returns is not timed."""
    rows = sum(frame.height for frame in frames)
    rate = Rate([], [])
    for _ in range(passes):
        step = make()
        cpu, wall = time.process_time(), time.perf_counter()
        for frame in frames:
            step(frame)
        rate.cpu.append(rows / (time.process_time() - cpu))
        rate.wall.append(rows / (time.perf_counter() - wall))
    return rate


def folding(step: KeyedStep, state: State = EMPTY_STATE) -> Callable[[pl.DataFrame], Outcome]:
    """Gives a call that folds frames into the state of a keyed step; the watermark follows the rows."""
    held = [state]

    def fold(frame: pl.DataFrame) -> Outcome:
        newest = frame["row_watermark"].max()
        held[0], outcome = step.apply(held[0], frame, newest if isinstance(newest, int) else None)
        return outcome

    return fold


def large_state(step: Deduplicate, like: pl.DataFrame) -> State:
    """Gives the state after two million other ids."""
    state: State = EMPTY_STATE
    rows = 100_000
    for number in range(_LARGE_STATE // rows):
        wide = pl.concat([like] * (rows // like.height + 1)).head(rows)
        ids = pl.Series("event_uid", [f"{(number * rows + row) * 0x9E3779B97F4A7C15 % 2**64:016x}{0:016x}" for row in range(rows)])
        state, _ = step.apply(state, wide.with_columns(ids), None)
    return state


@dataclass(frozen=True, slots=True)
class Chain:
    """The frames that each stage is given, for one corpus and batch size."""

    raw: Frames
    decoded: Frames
    masked: Frames
    inspected: Frames
    unique: Frames
    decided: Frames
    measured: Frames
    outputs: list[OutputBatch]


def chain(name: str, events: int, rows: int) -> Chain:
    """Runs the stages one after the other and keeps what each gives."""
    policy = default_policy()
    decode, mask, inspect, enrich = Decode(decode_settings()), Mask(policy, _KEY), Inspect(policy), Enrich()
    raw = raw_frames(name, events, rows)
    decoded = [decode(frame).batch for frame in raw]
    masked = [mask(frame).batch for frame in watermarked(decoded)]
    inspected = [inspect(frame).batch for frame in masked]
    unique = [outcome.batch for outcome in map(folding(Deduplicate()), inspected)]
    deciding = [Decide(policy)(frame) for frame in unique]
    measuring = list(map(folding(Measure()), [outcome.batch for outcome in deciding]))
    enriching = [enrich(outcome.batch) for outcome in measuring]
    outputs: list[OutputBatch] = [
        {**one.outputs, **two.outputs, **three.outputs} for one, two, three in zip(deciding, measuring, enriching, strict=True)
    ]
    decided, measured = [outcome.batch for outcome in deciding], [outcome.batch for outcome in measuring]
    return Chain(raw, decoded, masked, inspected, unique, decided, measured, outputs)


def decode_settings() -> DecodeSettings:
    """Gives decoding of all input topics, JSON and Avro."""
    return DecodeSettings(Limits(), _KEY, OneSchemaEach(), tuple(INPUTS))


def watermarked(frames: Frames) -> Frames:
    """Gives the frames with each row's watermark, as the source adds it."""
    marks: dict[tuple[str, int], int] = {}
    made = []
    for frame in frames:
        with_marks, marks = row_watermarks(frame, marks, {})
        made.append(with_marks)
    return made


def step_cases(name: str, events: int, rows: int, links: Chain) -> Iterator[tuple[str, Frames, Pass]]:
    """Gives each pure stage: its name, the frames it is given, and how it is made."""
    policy = default_policy()
    avro_frames = raw_frames(name, min(events, 20_000), rows, as_avro)
    yield "decode JSON", links.raw, lambda: Decode(decode_settings())
    yield "decode Avro", avro_frames, lambda: Decode(decode_settings())
    yield "mask, memory empty", watermarked(links.decoded), lambda: Mask(policy, _KEY)
    warm = Mask(policy, _KEY)
    for frame in watermarked(links.decoded):
        warm(frame)
    yield "mask, all seen before", watermarked(links.decoded), lambda: warm
    yield "inspect", links.masked, lambda: Inspect(policy)
    yield "deduplicate", links.inspected, lambda: folding(Deduplicate())
    full = large_state(Deduplicate(), links.inspected[0])
    yield f"deduplicate, {_LARGE_STATE:,} ids held", links.inspected, lambda: folding(Deduplicate(), full)
    yield "decide", links.unique, lambda: Decide(policy)
    yield "measure", links.decided, lambda: folding(Measure())
    yield "enrich", links.measured, lambda: Enrich()
    enriched = [outputs["enriched_events"] for outputs in links.outputs]
    yield "encode Avro, enriched events", enriched, lambda: partial(encode_avro, schema="enriched_event", schema_id=1)


def sink_cases(links: Chain, sinks: Mapping[str, Sink]) -> Iterator[tuple[str, Frames, Pass]]:
    """Gives each sink: a write of all outputs of a batch, one transaction each."""
    by_frame = {id(frame): outputs for frame, outputs in zip(links.measured, links.outputs, strict=True)}
    for label, sink in sinks.items():

        def make(sink: Sink = sink) -> Callable[[pl.DataFrame], object]:
            lane = sink.open_lane(0, 1, sink.begin())
            return lambda frame: lane.write(by_frame[id(frame)], _WRITE_DEADLINE_S)

        yield label, links.measured, make


def rows_of(given: argparse.Namespace, sinks: Mapping[str, Sink]) -> Iterator[Row]:
    """Measures every stage."""
    for name in CORPORA:
        for rows in given.batches:
            links = chain(name, given.events, rows)
            for stage, frames, make in (*step_cases(name, given.events, rows, links), *sink_cases(links, sinks)):
                rate = timed(frames, make, given.runs)
                print(f"{name} {rows} {stage}: {sorted(rate.cpu)[len(rate.cpu) // 2]:,.0f} events/CPU-s", file=sys.stderr)
                yield Row({"corpus": name, "stage": stage, "batch": f"{rows:,}"}, {"events/CPU-s": rate.cpu, "events/s": rate.wall})


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=61_440, help="events of each corpus")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--batches", type=int, nargs="*", default=BATCH_ROWS, help="rows of a batch")
    parser.add_argument("--quick", action="store_true", help="fewer events, three passes")
    given = parser.parse_args(arguments)
    if given.quick:
        given.events, given.runs, given.batches = 16_384, 3, (256, 4_096)
    with tempfile.TemporaryDirectory(prefix="headrace-stages-") as folder, KafkaBroker(Path(folder) / "kafka") as kafka, PostgresServer() as postgres:
        kafka.create_topics(dict.fromkeys(OUTPUTS, PARTITIONS))
        dsn = postgres.create_database("stages")
        migrate(dsn)
        client = {"bootstrap.servers": kafka.bootstrap}
        to_kafka = KafkaSink("stages", client, dict.fromkeys(OUTPUTS, PARTITIONS), lambda topic, frame: encode_avro(frame, OUTPUTS[topic].schema, 1))
        rows = list(rows_of(given, {"write to Kafka, encoding included": to_kafka, "write to PostgreSQL": TimescaleSink(dsn)}))
    notes = (
        "events/CPU-s counts user and system time of this process with all its threads; events/s is wall time and matters where a stage waits.",
        "A write to Kafka is one transaction a batch with the decisions, windows and enriched events of the batch; a write to PostgreSQL is one "
        "transaction too, rows of later passes being replays of the first.",
    )
    print(save(Table("stages", "Each stage alone", rows, notes, given.quick)))


if __name__ == "__main__":
    main()
