"""Small streams of events from small ranges: few agents, few ids, times around window borders, several partitions with watermarks of their own."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
from hypothesis import strategies as st

from operators.windows.watermark import Partition, merge, row_watermarks
from schemas.coordinates import event_uid
from schemas.events import COORDINATES, DECIDED, EVENT, INSPECTED, KIND_BY_TOPIC, MASKED, NAMED, RAW, ROW_WATERMARK, SCORED, SHARED

TOPICS = ("agent_events", "tool_executions")
AGENTS = ("ada", "bob", "cyd")
TIMES = (-11, -1, 0, 1, 9, 10, 11, 19, 20, 29, 30, 31, 39, 40, 41, 55, 70, 95)
FULL = pl.Schema({**EVENT, **ROW_WATERMARK, **NAMED, **MASKED, **SCORED, **INSPECTED, **DECIDED, **SHARED})
#: A watermark that ends every window and every time to live.
END = 100_000

#: What an event is like beyond its key and time: drawn as one number, so that examples stay small.
FLAVOURS: tuple[dict[str, Any], ...] = (
    {"event_type": "agent.executed", "latency_us": 0, "status": "ok", "verdict": "allow", "action": "pass"},
    {"event_type": "agent.executed", "latency_us": 99, "input_tokens": 3, "cost_nano_usd": 7, "verdict": "allow", "action": "pass"},
    {"event_type": "agent.failed", "latency_us": None, "confidence_ppm": 1_000_000, "hits": ["size.input"], "verdict": "warn", "action": "pass"},
    {
        "event_type": "tool.executed",
        "tool_name": "search",
        "latency_us": 100,
        "output": '"mail ada@example.com"',
        "names": "[[1,0,5,8,0,900000]]",
        "verdict": "modify",
        "action": "redact",
    },
    {"event_type": "tool.executed", "tool_name": "", "latency_us": 5_000_000, "hits": ["tools.denied"], "verdict": "deny", "action": "quarantine"},
    {
        "event_type": "tool.executed",
        "tool_name": None,
        "status": "TIMEOUT",
        "error": '{"code": 5, "by": "Ada"}',
        "injection_ppm": 950_000,
        "verdict": "allow",
        "action": "pass",
    },
    {"event_type": "agent.executed", "cost_nano_usd": 6, "hits": ["limit.rate"], "verdict": "deny", "action": "throttle"},
    {"event_type": "agent.executed", "input_tokens": 9, "hits": ["limit.loop"], "verdict": "deny", "action": "pause_agent"},
)
POLICY = {"policy_id": "p", "policy_version": "1"}
#: Bytes that decode must refuse, each for another reason, and one tombstone.
BROKEN: tuple[bytes | None, ...] = (
    None,
    b"\xff\xfe",
    b"[1, 2]",
    b"{}",
    b'{"event_id": 1e999}',
    b"[" * 90 + b"]" * 90,
    b'"' + b"x" * 500 + b'"',
    b"\x00\x00",
)


@dataclass(frozen=True, slots=True)
class Case:
    """One drawn example.

    Attributes:
        rows: A frame of FULL in one interleaving of its partitions, offsets ascending in each.
        raw: The same records as RAW, some of them broken.
        cuts: Where the rows are cut into batches, ascending; a cut that comes twice makes an empty batch.
        crash: After which batch the run dies.
        picks: How the partitions are interleaved anew.
        lag_ms: How far the merged watermark that the step is shown lags behind the true one.
    """

    rows: pl.DataFrame
    raw: pl.DataFrame
    cuts: tuple[int, ...]
    crash: int
    picks: tuple[int, ...]
    lag_ms: int

    def marks(self) -> list[int | None]:
        """Gives the merged watermark before the first row and after each."""
        partitions: list[Partition] = self.rows.select("topic", "partition").unique().rows()
        board: dict[Partition, int | None] = dict.fromkeys(partitions)
        marks: list[int | None] = [None]
        for topic, partition, mark, time in self.rows.select("topic", "partition", "row_watermark", "event_time").iter_rows():
            board[topic, partition] = time if mark is None else max(mark, time)
            merged = merge(board)
            marks.append(None if merged is None else merged - self.lag_ms)
        return marks

    def reinterleaved(self) -> Case:
        """Gives the case with its partitions interleaved in another way; each keeps its own order."""
        queues = [part.rows() for part in self.rows.partition_by("topic", "partition", maintain_order=True)]
        rows = []
        for pick in self.picks:
            queues = [queue for queue in queues if queue]
            if not queues:
                break
            rows.append(queues[pick % len(queues)].pop(0))
        rows.extend(row for queue in queues for row in queue)
        return replace(self, rows=pl.DataFrame(rows, schema=self.rows.schema, orient="row"))

    def alone(self) -> list[Case]:
        """Gives a case for each partition, as if the others did not exist."""
        return [replace(self, rows=part) for part in self.rows.partition_by("topic", "partition", maintain_order=True)]

    def without_repetitions(self) -> Case:
        """Gives the case with the first row of each event only, as deduplicate leaves it."""
        return replace(self, rows=self.rows.unique("event_uid", keep="first", maintain_order=True))


_DRAWN = st.tuples(
    st.integers(0, len(TOPICS) - 1),
    st.integers(0, len(AGENTS) - 1),
    st.integers(0, 2),
    st.sampled_from(TIMES),
    st.integers(0, len(FLAVOURS) - 1),
    st.booleans(),
)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    drawn = draw(st.lists(_DRAWN, max_size=12))
    size = len(drawn)
    floors = {("agent_events", 0): draw(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(TIMES)), max_size=1))}
    rows = row_watermarks(_rows(drawn), {}, floors)[0].select(FULL.names())
    cuts = tuple(sorted(draw(st.lists(st.integers(0, size), max_size=4))))
    broken = draw(st.lists(st.integers(0, 3 * len(BROKEN)), min_size=size, max_size=size))
    picks = tuple(draw(st.lists(st.integers(0, 3), min_size=size, max_size=size)))
    return Case(rows, _raw(rows, broken), cuts, draw(st.integers(0, len(cuts))), picks, draw(st.sampled_from((0, 0, 6, 25))))


def _rows(drawn: list[tuple[int, int, int, int, int, bool]]) -> pl.DataFrame:
    """Gives the drawn events as rows; an agent's records lie in one partition of each topic, as producers that key by agent put them."""
    offsets: dict[Partition, int] = {}
    rows = []
    for topic_at, agent_at, name, time, flavour, changed in drawn:
        topic, partition, agent, kind = TOPICS[topic_at], agent_at % 2, AGENTS[agent_at], KIND_BY_TOPIC[TOPICS[topic_at]]
        offset = offsets[topic, partition] = offsets.get((topic, partition), -1) + 1
        record = {"topic": topic, "partition": partition, "offset": offset, "kafka_time": 1_000 + offset, "kind": kind, "agent_id": agent}
        ids = {"event_id": f"e{name}", "event_uid": event_uid(kind, agent, f"e{name}"), "content_digest": int(changed), "event_time": time}
        ids |= {"session_id": f"s{flavour % 2}", "execution_id": f"x{name}" if flavour else None, "parent_id": f"e{name - 1}" if name else None}
        # The scope is the user's; a kind or topic has no part in it, so that one key is counted over several partitions.
        ids |= {"scope": "user", "scope_key": f"u{flavour % 2}", "failures": 0, "tokens": 0, "execution_time_us": 0, "cost_nano_usd": 0}
        rows.append(
            {**record, **ids, "input": '"in"', "value_bytes": 9, "masked_count": 0, "policy_id": "p", "policy_version": "1", **FLAVOURS[flavour]}
        )
    return pl.DataFrame(rows, schema=pl.Schema({name: kind for name, kind in FULL.items() if name != "row_watermark"}))


def _raw(rows: pl.DataFrame, broken: list[int]) -> pl.DataFrame:
    """Gives the rows as raw JSON records; a quarter of them broken."""
    records = rows.select(*COORDINATES, "kafka_time", "event_id", "agent_id", "event_type", "event_time", "tool_name").to_dicts()
    values = []
    for record, flaw in zip(records, broken, strict=True):
        value = {name: record[name] for name in ("event_id", "agent_id", "event_type", "tool_name") if record[name] is not None}
        values.append(BROKEN[flaw] if flaw < len(BROKEN) else json.dumps({**value, "timestamp": max(record["event_time"], 0)}).encode())
    columns = {name: [record[name] for record in records] for name in (*COORDINATES, "kafka_time")}
    return pl.DataFrame({**columns, "key": [None] * len(values), "value": values, "traceparent": [None] * len(values)}, schema=RAW)
