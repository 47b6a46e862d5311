"""``headrace produce``: a simulated fleet, or a JSONL file, to Kafka."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any

import typer

from schemas.errors import ConfigError
from schemas.topics import INPUTS
from streams.cli.say import KAFKA_HELP, ConfigOption, tell
from streams.config import load_config

#: What each topic is keyed by.
_KEYS = {"workflow_events": "workflow_id", "system_events": "service"}


@dataclass(frozen=True, slots=True)
class _Line:
    topic: str
    key: bytes
    value: bytes
    due_ms: int


def produce(
    config: ConfigOption = None,
    kafka: Annotated[str | None, typer.Option("--kafka", help=KAFKA_HELP)] = None,
    input: Annotated[Path | None, typer.Option("--input", help="JSONL file; each line has a topic. Default: the simulated fleet.")] = None,
    rate: Annotated[float, typer.Option("--rate", min=0.1, max=1_000_000, help="Records a second.")] = 500.0,
    seconds: Annotated[float | None, typer.Option("--seconds", min=0.1, help="Stop after so long; default: at the end or Ctrl-C.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the simulated fleet.")] = 1,
    agents: Annotated[int, typer.Option("--agents", min=1, max=10_000, help="Agents of the simulated fleet.")] = 24,
    partitions: Annotated[int, typer.Option("--partitions", min=1, max=1024, help="Partitions of topics that have to be created.")] = 4,
) -> None:
    """Produce a simulated fleet, or the lines of a JSONL file, to Kafka at a rate."""
    from streams.fleet import Fleet
    from streams.publish import Publisher, paced
    from streams.topic_setup import create_inputs

    overrides = {} if kafka is None else {"kafka.bootstrap": kafka}
    cluster = load_config(config, overrides=overrides).require_kafka()
    records: Any = Fleet(seed, agents, rate, int(time.time() * 1_000)).records() if input is None else _lines(input, rate)
    if seconds is not None:
        until_ms = seconds * 1_000
        records = takewhile(lambda record: record.due_ms < until_ms, records)
    create_inputs(cluster, partitions)
    publisher = Publisher(cluster.client_settings(), cluster.topic_prefix)
    try:
        for record in paced(records, stop=lambda: False, wait=time.sleep):
            publisher.send(record)
    except KeyboardInterrupt:
        tell("stopping")
    tell(f"{publisher.flush()} records acknowledged")


def _lines(path: Path, rate: float) -> Iterator[_Line]:
    """Gives the lines of a file, spaced by the rate."""
    try:
        with path.open(encoding="utf-8") as file:
            for index, text in enumerate(file):
                if text.strip():
                    yield _line(text, f"{path}, line {index + 1}", int(index * 1_000 / rate))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--input {path}: cannot be read ({type(error).__name__}); it must be a UTF-8 file of JSON lines") from None


def _line(text: str, place: str, due_ms: int) -> _Line:
    try:
        event = json.loads(text)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict) or event.get("topic") not in INPUTS:
        raise ConfigError(f"{place}: must be a JSON object whose topic is one of {', '.join(INPUTS)}")
    topic = event.pop("topic")
    key = event.get(_KEYS.get(topic, "agent_id"))
    return _Line(topic, key.encode() if isinstance(key, str) else b"", json.dumps(event, ensure_ascii=False).encode(), due_ms)
