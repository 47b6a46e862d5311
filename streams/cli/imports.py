"""``headrace import``: recorded agent runs become events in a file or in Kafka."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from schemas.errors import ConfigError
from streams.cli.say import tell
from streams.config import load_config
from streams.importers.openai_chat import BASE_TIME_MS, Event, events_of, read_runs


class Format(StrEnum):
    """Formats of recorded runs."""

    OPENAI_CHAT = "openai-chat"


@dataclass(frozen=True, slots=True)
class _Record:
    topic: str
    key: bytes
    value: bytes


def import_runs(
    file: Annotated[Path, typer.Argument(help="Recorded runs: JSON or JSON lines.")],
    format: Annotated[Format, typer.Option("--format", help="What the file holds.")] = Format.OPENAI_CHAT,
    output: Annotated[Path | None, typer.Option("--output", help="JSONL file to write; each line has a topic.")] = None,
    kafka: Annotated[str | None, typer.Option("--kafka", help="host:port of the cluster to produce to.")] = None,
    agent: Annotated[str | None, typer.Option("--agent", help="Agent id for all runs; default: the file's name and the trial.")] = None,
    base_time_ms: Annotated[int, typer.Option("--base-time-ms", min=0, help="Event time of the first run, ms since 1970.")] = BASE_TIME_MS,
    partitions: Annotated[int, typer.Option("--partitions", min=1, max=1024, help="Partitions of topics that have to be created.")] = 4,
    config: Annotated[Path | None, typer.Option("--config", help="Configuration with kafka.security for --kafka.")] = None,
) -> None:
    """Turn recorded agent runs into events: to a JSONL file or to Kafka. The same file gives the same events, times included."""
    if (output is None) == (kafka is None):
        raise ConfigError("import: give either --output FILE.jsonl or --kafka HOST:PORT")
    assert format is Format.OPENAI_CHAT
    runs = read_runs(file, agent)
    events = events_of(runs, base_time_ms)
    if output is not None:
        _write(output, events)
    else:
        _produce(events, config, str(kafka), partitions)
    counts = Counter(event["topic"] for event in events)
    tell(f"{len(runs)} runs -> {len(events)} events: " + ", ".join(f"{topic} {count}" for topic, count in sorted(counts.items())))


def _write(path: Path, events: list[Event]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(event, ensure_ascii=False) + "\n" for event in events)
    except OSError as error:
        raise ConfigError(f"--output {path}: cannot be written ({error.strerror}); check the directory") from None


def _produce(events: list[Event], config: Path | None, bootstrap: str, partitions: int) -> None:
    from streams.publish import Publisher
    from streams.topic_setup import create_inputs

    cluster = load_config(config, overrides={"kafka.bootstrap": bootstrap}).require_kafka()
    create_inputs(cluster, partitions)
    publisher = Publisher(cluster.client_settings(), cluster.topic_prefix)
    for event in events:
        value = {key: item for key, item in event.items() if key != "topic"}
        publisher.send(_Record(event["topic"], event["agent_id"].encode(), json.dumps(value, ensure_ascii=False).encode()))
    publisher.flush()
