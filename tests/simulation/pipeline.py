"""A small pipeline of real keyed steps, with records that cost nothing to decode: agent, event time, event id, content; or broken."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

import polars as pl

from operators.contract import NO_DEAD, Outcome, dead_rows
from operators.deduplicate import Deduplicate
from operators.windows.measure import Measure
from schemas.events import EVENT, RAW
from streams.topology import Topology

WINDOW_MS: Final = 10
LATENESS_MS: Final = 30
TOPICS: Final = ("enriched_events", "agent_metrics", "dead_letters")
BROKEN: Final = b"broken"
_NOTHING: Final = EVENT.to_frame()


def value_of(agent: int, time: int, event: int, content: int = 0) -> bytes:
    """Gives the value of a record."""
    return f"a{agent}:{time}:{event}:{content}".encode()


@dataclass(frozen=True, slots=True)
class Read:
    """Decodes a record; a broken one is dead."""

    name: str = "read"

    def __call__(self, batch: pl.DataFrame) -> Outcome:
        broken = pl.Series([value == BROKEN for value in batch["value"]], dtype=pl.Boolean)
        ended = batch.filter(broken)
        dead = dead_rows(ended, step=self.name, disposition="dead", code="json_invalid", reason="broken") if ended.height else NO_DEAD
        rows = batch.filter(~broken) if broken.any() else batch
        parts = [value.decode().split(":") for value in rows["value"]]
        known: dict[str, list[object]] = {
            "agent_id": [part[0] for part in parts],
            "event_time": [int(part[1]) for part in parts],
            "event_id": [part[2] for part in parts],
            "event_uid": [hashlib.blake2b(f"{part[0]}/{part[2]}".encode(), digest_size=16).hexdigest() for part in parts],
            "content_digest": [int(part[3]) for part in parts],
            "kind": ["agent"] * len(parts),
            "event_type": ["agent.executed"] * len(parts),
            "value_bytes": [1] * len(parts),
        }
        events = _NOTHING.clear(len(parts))
        for at, (name, dtype) in enumerate(EVENT.items()):
            if name in known or name in RAW:
                events.replace_column(at, pl.Series(name, known[name], dtype=dtype) if name in known else rows[name])
        return Outcome(events, dead=dead)


@dataclass(frozen=True, slots=True)
class Put:
    """Puts every event out, with what tells whether time went right."""

    name: str = "put"

    def __call__(self, batch: pl.DataFrame) -> Outcome:
        return Outcome(batch, {"enriched_events": batch.select("event_uid", "agent_id", "topic", "partition", "offset", "row_watermark", "late")})


def pipeline(lanes: int = 2, shards: int = 4) -> Topology:
    """Gives the topology."""
    # No id outlives its time to live: one that is sent again after it has the id of a message that is there (docs/delivery.md).
    keyed = (Deduplicate(ttl_ms=100_000, bucket_ms=20), Measure(window_ms=WINDOW_MS, lateness_ms=LATENESS_MS), Put())
    return Topology("simulated", ("agent_events",), (Read(),), "agent_id", lanes, shards, WINDOW_MS, keyed, TOPICS)
