"""What is on the output topics, held in a form that fits into memory: rows without texts, digests in their place."""

from __future__ import annotations

import heapq
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final

import fastavro

from schemas import avro
from schemas.registry import SchemaRegistry
from schemas.topics import OUTPUTS
from streams.verify.findings import Findings, Kind
from streams.verify.plain.event import CONTENT, Place
from streams.verify.plain.ids import content_digest
from streams.verify.plain.points import Choice, is_chosen
from streams.verify.topics import Stored

_FRAMING_BYTES: Final = 5
#: Stands for content that is no JSON: equal to nothing that a producer sends.
_NO_JSON: Final = "\ufdd0 no JSON"


@dataclass(slots=True)
class Row:
    """One record of an output topic.

    Attributes:
        place: Where it lies on the output topic.
        values: Its fields; of content only what ``Published`` says.
    """

    place: Place
    values: dict[str, Any]


@dataclass(slots=True)
class Sample:
    """Events whose texts are kept, chosen by a seed: those whose place has the least digest under it.

    Attributes:
        size: How many.
        texts: Content columns of the chosen events, by place of the input record.
    """

    size: int
    seed: int
    texts: dict[Place, dict[str, Any]] = field(default_factory=dict)
    _heap: list[tuple[int, Place]] = field(default_factory=list)

    def offer(self, place: Place, texts: dict[str, Any]) -> None:
        """Takes an event in where it belongs to the sample so far."""
        if self.size < 1 or place in self.texts:
            return
        told = json.dumps([self.seed, *place]).encode()
        rank = -int.from_bytes(blake2b(told, digest_size=8).digest(), "big")
        if len(self._heap) < self.size:
            heapq.heappush(self._heap, (rank, place))
        elif rank > self._heap[0][0]:
            _, gone = heapq.heapreplace(self._heap, (rank, place))
            del self.texts[gone]
        else:
            return
        self.texts[place] = texts


@dataclass(slots=True)
class Published:
    """All output topics.

    Attributes:
        rows: By topic, the first record of each id.
        sample: Events whose texts are kept.
        choice: Which events become points of the vector collection; None where there is none.
    """

    sample: Sample
    choice: Choice | None = None
    rows: dict[str, dict[str, Row]] = field(default_factory=lambda: {topic: {} for topic in OUTPUTS})
    events: dict[Place, list[Row]] = field(default_factory=dict)
    letters: dict[Place, list[Row]] = field(default_factory=dict)
    released: int = 0


class Decoder:
    """Turns values of output topics into rows, with fastavro and the schemas that wrote them."""

    def __init__(self, registry: SchemaRegistry) -> None:
        self._registry = registry
        self._writers: dict[int, Any] = {}
        self._readers = {name: fastavro.parse_schema(json.loads(avro.text(topic.schema))) for name, topic in OUTPUTS.items()}

    def __call__(self, topic: str, value: bytes) -> dict[str, Any] | None:
        """Gives the fields of one value; times in ms. None where it is no record of the topic."""
        if value[:1] != b"\0" or len(value) < _FRAMING_BYTES:
            return None
        schema_id = int.from_bytes(value[1:_FRAMING_BYTES], "big")
        if schema_id not in self._writers:
            self._writers[schema_id] = fastavro.parse_schema(json.loads(self._registry.schema(schema_id)))
        try:
            found: Any = fastavro.schemaless_reader(io.BytesIO(value[_FRAMING_BYTES:]), self._writers[schema_id], self._readers[topic])
        except (EOFError, ValueError, IndexError, KeyError, OverflowError, TypeError):
            return None
        return {name: in_ms(one) for name, one in found.items()}


def in_ms(value: Any) -> Any:
    """Gives a time as milliseconds, anything else as it is."""
    return round(value.timestamp() * 1000) if isinstance(value, datetime) else value


def collect(stored: Iterable[Stored], decode: Decoder, found: Published, findings: Findings) -> Published:
    """Reads output topics, and finds what is wrong with them by themselves: ids twice, ids that do not fit, order."""
    newest: dict[tuple[Any, ...], tuple[int, Place]] = {}
    for one in stored:
        place = one.record.place
        topic = OUTPUTS[place[0]]
        values = None if one.record.value is None else decode(topic.name, one.record.value)
        if values is None:
            findings.add(Kind.UNEXPECTED, topic.name, "a record that is none of its schema", place)
            continue
        own = ":".join(str(values[name]) for name in topic.id_columns)
        if one.id != own:
            findings.add(Kind.DIFFERENT, topic.name, "the id in the header is not that of the record", place)
        row = _row(topic.name, place, values, found)
        rows = found.rows[topic.name]
        if own in rows:
            findings.add(Kind.DUPLICATED, topic.name, f"id {own} is there twice", place, rows[own].place)
            continue
        rows[own] = row
        _index(found, topic.name, row)
        _ordered(newest, topic.name, row, findings)
    return found


def _row(topic: str, place: Place, values: dict[str, Any], found: Published) -> Row:
    if topic == "enriched_events":
        texts = {name: values.pop(name) for name in CONTENT}
        parsed = {name: _parsed(text) for name, text in texts.items() if text is not None}
        values["content"] = {name: content_digest(parsed[name]) if name in parsed else None for name in CONTENT}
        values["chosen"] = found.choice is not None and is_chosen(values["kind"], parsed, found.choice)
        found.sample.offer(_about(values), texts)
    elif topic == "reviews":
        del values["held"]
    return Row(place, values)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return _NO_JSON


def _index(found: Published, topic: str, row: Row) -> None:
    if topic == "enriched_events":
        if row.values["released_from"] is not None:
            found.released += 1
            return
        found.events.setdefault(_about(row.values), []).append(row)
    elif topic == "dead_letters":
        found.letters.setdefault(_about(row.values), []).append(row)


def _about(values: Mapping[str, Any]) -> Place:
    return values["topic"], values["partition"], values["offset"]


def _ordered(newest: dict[tuple[Any, ...], tuple[int, Place]], topic: str, row: Row, findings: Findings) -> None:
    """Holds the order that is promised: an agent's events of one input partition.

    Revisions of a window have none: a replay after a crash may cut batches otherwise and publish one that is lower than those before.
    """
    values = row.values
    if topic != "enriched_events" or values["released_from"] is not None:
        return
    key = (*row.place[:2], values["agent_id"], values["topic"], values["partition"])
    before = newest.get(key)
    if before is not None and values["offset"] < before[0]:
        findings.add(Kind.OUT_OF_ORDER, topic, "an earlier event of its agent and partition comes after it", before[1], row.place)
        return
    newest[key] = (values["offset"], row.place)
