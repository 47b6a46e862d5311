"""Two frozen corpora for benchmarks, replayed from memory.

A pool of events is made once; replay only fills in the id, the time and, in each text leaf that shall differ, three words that name a case. So
the load generator costs little beside what it loads. Facts of each corpus stand in ``CORPORA`` and are held by a test over the bytes.

- ``fleet``: system prompts, tool results and short values repeat; what people and models say differs. Shaped after recorded airline runs,
  where 15 % of leaves (33 % of those with 20 characters or more) differ.
- ``distinct``: nearly every text leaf differs.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from itertools import islice
from typing import Any, Final

from streams.fleet.people import WORDS, people
from streams.fleet.session import Draft, sessions

#: Columns of the topics' JSON that hold free text.
CONTENT_FIELDS: Final = ("input_data", "output_data", "arguments", "result", "content", "error", "metadata", "message")
_SEED: Final = 20_240_515
_POOL: Final = 4_096
_AGENTS: Final = 64
_TOPICS: Final = frozenset({"agent_events", "tool_executions", "reasoning_traces"})
_ID: Final = "@@ID@@"
_TIME: Final = "@@TIME@@"
_CASE: Final = "@@CASE@@"


@dataclass(frozen=True, slots=True)
class CorpusFacts:
    """What a corpus is like, over its first 20,000 records.

    Attributes:
        leaves_per_event: String leaves in free-text fields, mean.
        bytes_per_event: Size of a JSON value in bytes, mean.
        distinct_share: Distinct leaves over leaves.
        digest: 16 hex digits of BLAKE2b over the values at time 0.
    """

    leaves_per_event: float
    bytes_per_event: float
    distinct_share: float
    digest: str


@dataclass(frozen=True, slots=True)
class CorpusRecord:
    """A record to replay."""

    topic: str
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class _Template:
    topic: str
    key: bytes
    before_id: str
    before_time: str
    after: tuple[str, ...]  # text between the places where the case's name goes


class Corpus:
    """A frozen corpus."""

    def __init__(self, name: str, every_leaf_differs: bool) -> None:
        self.name = name
        self._every = every_leaf_differs

    @cached_property
    def _pool(self) -> list[_Template]:
        crowd = people(_SEED, 400)
        rng = random.Random(_SEED)
        agents = [sessions(f"agent-{n:03d}", crowd, random.Random(f"{_SEED}-{n}")) for n in range(_AGENTS)]
        drafts = (next(rng.choice(agents)) for _ in iter(int, 1))
        return [self._template(draft, at) for at, draft in enumerate(islice((d for d in drafts if d.topic in _TOPICS), _POOL))]

    def _template(self, draft: Draft, at: int) -> _Template:
        """Cuts an event's JSON at the places to fill. In ``fleet``, tool executions and every second other event repeat as they are."""
        fields = draft.fields
        if self._every or (at % 2 and draft.topic != "tool_executions"):
            fields = {key: self._marked(value) if key in CONTENT_FIELDS else value for key, value in fields.items()}
        text = json.dumps({"event_id": _ID, "timestamp": _TIME, **fields}, ensure_ascii=False, separators=(",", ":"))
        before_id, _, rest = text.partition(_ID)
        before_time, _, after = rest.partition(f'"{_TIME}"')
        return _Template(draft.topic, draft.key.encode(), before_id, before_time, tuple(after.split(_CASE)))

    def _marked(self, value: Any) -> Any:
        """Puts a case's name into the leaves that shall differ: all, or only what is said in a conversation."""
        if isinstance(value, dict):
            said = value.get("role") != "system"
            return {key: self._marked(item) if self._every or (said and key == "content") else item for key, item in value.items()}
        if isinstance(value, list):
            return [self._marked(item) for item in value]
        if not isinstance(value, str):
            return value
        return _inside(value) if value.startswith("{") else f"{value} (case {_CASE})"

    def records(self, start_ms: int = 0, per_second: float = 10_000.0, first: int = 0) -> Iterator[CorpusRecord]:
        """Gives records without end.

        Args:
            start_ms: Event time of record 0, ms since 1970.
            per_second: How many records share a second of event time.
            first: Index of the first record, to go on where another replay ended.
        """
        pool = self._pool
        count = len(WORDS)
        step_ms = 1_000 / per_second
        index = first
        while True:
            template = pool[index % _POOL]
            case = f"{WORDS[index % count]} {WORDS[index // count % count]} {WORDS[index // (count * count) % count]}"
            value = f"{template.before_id}e{index}{template.before_time}{start_ms + int(index * step_ms)}{case.join(template.after)}"
            yield CorpusRecord(template.topic, template.key, value.encode())
            index += 1


def _inside(text: str) -> str:
    """Marks the leaves of JSON that stands in a string."""
    return json.dumps(_each_leaf(json.loads(text)), ensure_ascii=False)


def _each_leaf(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _each_leaf(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_each_leaf(item) for item in value]
    return f"{value} (case {_CASE})" if isinstance(value, str) else value


def corpus(name: str) -> Corpus:
    """Gives a corpus by its name: fleet or distinct."""
    return Corpus(name, every_leaf_differs={"fleet": False, "distinct": True}[name])


#: Measured by ``measure``; a test holds them, so that figures of benchmarks stay comparable.
CORPORA: Final[Mapping[str, CorpusFacts]] = {
    "fleet": CorpusFacts(leaves_per_event=3.02, bytes_per_event=531, distinct_share=0.18, digest="7c802edec12b794a"),
    "distinct": CorpusFacts(leaves_per_event=3.02, bytes_per_event=600, distinct_share=0.95, digest="64d8caf4ee05f7b4"),
}
_MEASURED: Final = 20_000


def measure(records: Iterable[CorpusRecord]) -> CorpusFacts:
    """Gives the facts of the first 20,000 records."""
    first = list(islice(records, _MEASURED))
    leaves = [leaf for record in first for name, value in json.loads(record.value).items() if name in CONTENT_FIELDS for leaf in _leaves(value)]
    return CorpusFacts(
        leaves_per_event=round(len(leaves) / len(first), 2),
        bytes_per_event=round(sum(len(record.value) for record in first) / len(first)),
        distinct_share=round(len(set(leaves)) / len(leaves), 2),
        digest=blake2b(b"".join(record.value for record in first), digest_size=8).hexdigest(),
    )


def _leaves(value: Any) -> Iterator[str]:
    """Gives the string leaves of a value, those of JSON inside a string instead of that string."""
    if isinstance(value, str):
        if value.startswith("{"):
            yield from _leaves(json.loads(value))
        else:
            yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item)
