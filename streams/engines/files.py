"""The file engine: the same topology over a finite input, in this process. For debugging, golden tests, policy cases and replays.

Each line of a JSONL file is one event: a JSON object with the key ``topic``, or without it one of the three shapes (told by its fields). The record's
coordinates are (topic, 0, number of the line within its topic). Windows are closed at the end of the input.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import polars as pl

from schemas.errors import ConfigError
from schemas.events import RAW
from schemas.topics import INPUTS
from sinks.contract import Receipt, Sink
from streams.audit_persons import seal
from streams.batch import Partition
from streams.intake import Board, Intake
from streams.lane import Lane
from streams.log import log
from streams.patience import Patience
from streams.stop import Stop
from streams.summary import RunSummary, summary_of
from streams.telemetry import Telemetry
from streams.topology import Topology

_BATCH_ROWS_MAX: Final = 2_048
_DEADLINE_S: Final = 60.0

#: A field that only one shape has tells the topic of a line that does not name one.
_TOPIC_BY_FIELD: Final = (("tool_name", "tool_executions"), ("step_type", "reasoning_traces"), ("step_number", "reasoning_traces"))
_Object = dict[str, msgspec.Raw]
_DECODE: Final = msgspec.json.Decoder(_Object).decode
_ENCODE: Final = msgspec.json.Encoder().encode


def run_files(topology: Topology, input_path: Path, sink: Sink, telemetry: Telemetry, batch_rows_max: int = _BATCH_ROWS_MAX) -> RunSummary:
    """Runs a JSONL file through the topology and gives the counts.

    Args:
        topology: The pipeline.
        input_path: The JSONL file.
        sink: Where outputs go.
        telemetry: Counts.
        batch_rows_max: Lines of one batch at most. Changes nothing but how often a window is revised on the way.

    Raises:
        ConfigError: The input cannot be read, or a line does not tell its topic.
    """
    partitions: list[Partition] = [(topic, 0) for topic in topology.inputs]
    return run_frames(topology, partitions, batches_of(input_path, topology.inputs, batch_rows_max), sink, telemetry)


def run_frames(
    topology: Topology,
    partitions: Sequence[Partition],
    frames: Iterable[pl.DataFrame],
    sink: Sink,
    telemetry: Telemetry,
    waits: bool = True,
) -> RunSummary:
    """Runs RAW frames through the topology, closes every window behind the last of them, and gives the counts.

    Args:
        topology: The pipeline.
        partitions: Every partition of which rows can come.
        frames: Each partition's rows in the order of its log.
        sink: Where outputs go.
        telemetry: Counts.
        waits: Whether to wait for a model that is away where policy says so; else RetryableError leaves the call.
    """
    intake = Intake(topology, partitions, Board(partitions), {}, lambda _marks: None, telemetry)
    lanes = [Lane(topology, partitions, telemetry, number=number) for number in range(topology.lanes)]
    sealed = seal(sink, None)
    writers = [sealed.open_lane(number, topology.lanes, sink.begin()) for number in range(topology.lanes)]
    try:
        for raw in frames:
            take = partial(intake.take, raw)
            batches = Patience().persist(take, Stop(), lambda error: log().warning("file.waiting", problem=str(error))) if waits else take()
            for lane, writer, batch in zip(lanes, writers, batches, strict=True):
                _count(telemetry, sink.name, writer.write(lane.apply([batch]), _DEADLINE_S))
        for lane, writer in zip(lanes, writers, strict=True):
            _count(telemetry, sink.name, writer.write(lane.finish(), _DEADLINE_S))
    finally:
        for writer in writers:
            writer.close()
    return summary_of(telemetry, sink.name)


def batches_of(path: Path, topics: Sequence[str], batch_rows_max: int = _BATCH_ROWS_MAX) -> Iterator[pl.DataFrame]:
    """Gives a JSONL file as RAW frames.

    Args:
        path: The file.
        topics: Input topics that a line may name.
        batch_rows_max: Rows of one frame at most.

    Raises:
        ConfigError: The file cannot be read, or a line names another topic.
    """
    if not path.is_file():
        raise ConfigError(f"--input {path}: no such file")
    offsets = dict.fromkeys(topics, 0)
    rows: list[tuple[str, int, int, None, None, bytes, None]] = []
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            value = line.strip()
            if not value:
                continue
            topic, value = _topic_of(value, f"{path}:{number}", offsets)
            rows.append((topic, 0, offsets[topic], None, None, value, None))
            offsets[topic] += 1
            if len(rows) == batch_rows_max:
                yield pl.DataFrame(rows, schema=RAW, orient="row")
                rows = []
    if rows:
        yield pl.DataFrame(rows, schema=RAW, orient="row")


def _topic_of(line: bytes, where: str, known: dict[str, int]) -> tuple[str, bytes]:
    """Gives the topic of a line, and the event without its ``topic`` key. A line that is no object is left to ``decode``, under the first topic."""
    try:
        fields = _DECODE(line)
    except msgspec.MsgspecError:
        return next(iter(known)), line
    named = fields.pop("topic", None)
    if named is None:
        return topic_of_fields(fields), line
    topic = bytes(named).strip(b'"').decode("utf-8", "replace")
    if topic not in known:
        near = ", ".join(known)
        raise ConfigError(
            f"{where}: topic must be one of {near}; came {'another input topic' if topic in INPUTS else 'a name that is no input topic'}"
        )
    return topic, _ENCODE(fields)


def topic_of_fields(fields: Container[str]) -> str:
    """Gives the topic of an event that does not name one, by a field that only one shape has."""
    return next((topic for field, topic in _TOPIC_BY_FIELD if field in fields), "agent_events")


def _count(telemetry: Telemetry, sink: str, receipt: Receipt) -> None:
    for topic, rows in receipt.written.items():
        telemetry.sink_written(sink, topic, rows, receipt.skipped[topic])
