"""What became of each event of a case, read from what the pipeline put out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import polars as pl

from schemas.coordinates import record_uid
from schemas.frames import output_schema
from sinks.files import EMBEDDED

#: What a case may say of an event: a fate, or any field of its enriched event.
OUTCOME_KEYS: Final = (
    "dead",  # code of its dead letter
    "left_out",  # reason for which it was filtered
    "decision",  # fields of its guardrail decision; null where there is none
    "alerts",  # its alerts, in the order of the rules
    "masked",  # what was masked where: masked_spans of its enriched event
    *(name for name in output_schema("enriched_events").names() if name != "masked_spans"),
)

Record = dict[str, Any]


def records_of(frames: Mapping[str, Sequence[pl.DataFrame]]) -> dict[str, list[Record]]:
    """Gives the records of each topic, with the JSON that stands in columns as values."""
    return {topic: [_opened(row) for frame in parts for row in frame.iter_rows(named=True)] for topic, parts in frames.items()}


def outcome_of(place: tuple[str, int, int], records: Mapping[str, Sequence[Record]], left_out: str | None) -> Record:
    """Gives what became of one record.

    Args:
        place: Its topic, partition and offset.
        records: What the pipeline put out, by topic.
        left_out: Why it was filtered; None where it was not.
    """
    dead = [one for one in records.get("dead_letters", ()) if one["record_uid"] == record_uid(*place)]
    enriched = [one for one in records.get("enriched_events", ()) if _place(one) == place]
    outcome: Record = dict(enriched[0]) if enriched else {}
    uid = outcome.get("event_uid")
    decisions = [one for one in records.get("guardrail_decisions", ()) if _place(one) == place]
    outcome["dead"] = dead[0]["code"] if dead else None
    outcome["left_out"] = left_out
    outcome["decision"] = decisions[0] if decisions else None
    outcome["alerts"] = [one for one in records.get("alerts", ()) if uid is not None and one["event_uid"] == uid]
    if enriched:
        outcome["hits"] = sorted(outcome.get("hits") or [])
        outcome["masked"] = outcome.pop("masked_spans") or []
    return outcome


def _place(record: Mapping[str, Any]) -> tuple[str, int, int]:
    return record["topic"], record["partition"], record["offset"]


def _opened(row: Record) -> Record:
    for name in EMBEDDED:
        if isinstance(row.get(name), str):
            row[name] = json.loads(row[name])
    return row
