"""Windows of a topic, as contracts look at them: rows of fields, without the values of fields that may be raw."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import fastavro

from governance.avro_contracts import unseen_fields
from schemas import avro
from schemas.errors import ConfigError, RecordError
from schemas.registry import SchemaRegistry
from schemas.topics import SCHEMAS

#: Stands for a value that is there and not looked at.
PRESENT: Final = "<present>"
#: Whether a record is a JSON object or fits its Avro schema; a column beside the fields.
READABLE: Final = "record_is_readable"
_MAGIC: Final = 0
_HEADER_BYTES: Final = 5


@dataclass(frozen=True, slots=True)
class Coordinates:
    """Where a record lies; a line of a file has partition 0 and its number, from 0."""

    partition: int
    offset: int


@dataclass(slots=True)
class Window:
    """Records of one topic and one stretch of time.

    Attributes:
        topic: Without a prefix.
        start_ms: Begin, by Kafka timestamps.
        end_ms: End, exclusive.
        rows: Fields of each record; absent ones are absent.
        places: Coordinates of each.
        first: Smallest offset of each partition; of files it is empty.
        is_cut: Whether other windows hold more records of the same time.
    """

    topic: str
    start_ms: int
    end_ms: int
    rows: list[dict[str, Any]] = field(default_factory=list)
    places: list[Coordinates] = field(default_factory=list)
    first: dict[int, int] = field(default_factory=dict)
    is_cut: bool = False


def schema_of(topic: str) -> str:
    """Gives the name of a topic's schema; ConfigError where there is no such topic."""
    if topic not in SCHEMAS:
        raise ConfigError(f"contracts: topic {topic} is not one of {', '.join(SCHEMAS)}")
    return SCHEMAS[topic]


@cache
def fields_of(topic: str) -> tuple[str, ...]:
    """Gives the fields of a topic's schema."""
    return tuple(entry["name"] for entry in json.loads(avro.text(schema_of(topic)))["fields"])


def row_of(topic: str, value: bytes | None, registry: SchemaRegistry) -> dict[str, Any]:
    """Gives the fields of a record as it lies in Kafka; one that cannot be read has none and says so."""
    try:
        found = _decoded(value or b"", registry)
    except (ValueError, LookupError, EOFError, TypeError, RecursionError, ArithmeticError, struct.error, RecordError):
        # Whatever a hostile record makes a decoder raise: the record is not readable, and its bytes go nowhere.
        return {READABLE: False}
    return seen(topic, found) if isinstance(found, dict) else {READABLE: False}


def seen(topic: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """Gives the known fields of a record, those that may be raw as PRESENT."""
    unseen = unseen_fields(schema_of(topic))
    known = {name: PRESENT if name in unseen else record[name] for name in fields_of(topic) if record.get(name) is not None}
    return known | {READABLE: True}


def _decoded(value: bytes, registry: SchemaRegistry) -> Any:
    if value[:1] != bytes([_MAGIC]):
        return json.loads(value)
    return fastavro.schemaless_reader(io.BytesIO(value[_HEADER_BYTES:]), _parsed(registry.schema(int.from_bytes(value[1:_HEADER_BYTES]))), None)


@cache
def _parsed(text: str) -> Any:
    schema = json.loads(text)
    for entry in schema["fields"]:
        _without_logical(entry["type"])
    return fastavro.parse_schema(schema)


def _without_logical(declared: Any) -> None:
    """Drops logical types, so that a time stays a number of milliseconds."""
    for one in declared if isinstance(declared, list) else [declared]:
        if isinstance(one, dict):
            one.pop("logicalType", None)


def windows_of_files(path: Path, rows_max: int) -> Iterator[Window]:
    """Gives windows over a folder of ``<topic>.jsonl`` files, or one file whose lines name their topic; files have no time, so windows go by rows.

    Raises:
        ConfigError: There is nothing to read, or a file is named after no topic.
    """
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise ConfigError(f"contracts: {path} is required to be a JSONL file or a folder of them; name one")
    for file in files:
        yield from _windows_of_file(file, file.stem if path.is_dir() else None, rows_max)


def _windows_of_file(file: Path, topic: str | None, rows_max: int) -> Iterator[Window]:
    open_windows: dict[str, Window] = {}
    with file.open("rb") as lines:
        for number, line in enumerate(lines):
            try:
                record = json.loads(line)
            except ValueError:
                record = None
            about = topic or (str(record.get("topic")) if isinstance(record, dict) else None)
            if about is None or about not in SCHEMAS:
                if topic is not None or about is not None:
                    raise ConfigError(f"contracts: {file}, line {number + 1}: no topic of headrace; known are {', '.join(SCHEMAS)}")
                continue
            window = open_windows.setdefault(about, Window(about, number, number))
            window.rows.append(seen(about, record) if isinstance(record, dict) else {READABLE: False})
            window.places.append(Coordinates(0, number))
            window.end_ms = number + 1
            if len(window.rows) >= rows_max:
                yield open_windows.pop(about)
    yield from open_windows.values()


def merged(windows: Iterable[Window]) -> Iterator[dict[str, Any]]:
    """Gives the rows of windows, one after another."""
    for window in windows:
        yield from window.rows
