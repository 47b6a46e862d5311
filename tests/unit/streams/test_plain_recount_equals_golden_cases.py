"""The second implementation of ``headrace verify`` gives what the golden cases say: the same fates, events and windows."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from schemas import avro
from schemas.topics import INPUTS
from streams.engines.files import batches_of
from streams.verify.plain.event import Place, Record
from streams.verify.plain.fates import Facts, Fate, Judged, Times, Walk
from streams.verify.plain.ids import event_id
from streams.verify.plain.read import Bounds, read
from streams.verify.plain.shapes import shape_of
from streams.verify.plain.windows import Counted, differing, recount, window_id

ROOT = Path(__file__).parents[2] / "golden" / "cases"
CASES = sorted(path.parent.name for path in ROOT.glob("*/input.jsonl"))
BOUNDS = Bounds(1_048_576, 64, 300_000)
WINDOW_MS = 10_000
Json = dict[str, Any]


def expected(case: str, topic: str) -> list[Json]:
    """Gives the records of a golden file: objects one after the other."""
    path = ROOT / case / "expected" / f"{topic}.json"
    text, found, at = path.read_text(encoding="utf-8") if path.exists() else "", [], 0
    while at < len(text):
        one, end = json.JSONDecoder().raw_decode(text, at)
        found.append(one)
        at = end + 1
    return found


def judged(case: str, events: list[Json], letters: list[Json]) -> list[Judged]:
    shapes = {topic: shape_of(topic, json.loads(avro.text(INPUTS[topic].schema))["fields"]) for topic in INPUTS}
    records = [
        Record((topic, partition, offset), time_ms, value, None)
        for raw in batches_of(ROOT / case / "input.jsonl", tuple(INPUTS))
        for topic, partition, offset, time_ms, value in raw.select("topic", "partition", "offset", "kafka_time", "value").iter_rows()
    ]
    facts = Facts(
        published={place(event): event.get("row_watermark") for event in events}, dead={place(letter): letter["code"] for letter in letters}
    )
    walk = Walk(Times(WINDOW_MS, 60_000, 600_000), facts)
    by_partition: dict[tuple[str, int], list[Record]] = {}
    for record in records:
        by_partition.setdefault(record.place[:2], []).append(record)
    found = [
        one for name, its in by_partition.items() for one in walk.partition(name, ((r.place, read(r, shapes[name[0]], BOUNDS, None)) for r in its))
    ]
    assert walk.raised == 0
    return found


def place(record: Json) -> Place:
    return record["topic"], record["partition"], record["offset"]


@pytest.mark.parametrize("case", CASES)
def test_fates_events_and_windows_are_those_of_the_case(case: str) -> None:
    events, letters = expected(case, "enriched_events"), expected(case, "dead_letters")
    (summary,) = expected(case, "summary")
    found = judged(case, events, letters)
    assert len(found) == summary["in"]
    assert {one.place for one in found if one.fates == {Fate.PASSED}} == {place(event) for event in events}
    assert sum(one.fates == {Fate.DUPLICATE} for one in found) == summary["filtered"].get("duplicate", 0)
    codes = {place(letter): letter["code"] for letter in letters}
    dead = {one.place: one.codes for one in found if one.fates == {Fate.DEAD}}
    assert dead.keys() == codes.keys()
    assert {at: code for at, code in codes.items() if code not in dead[at]} == {}
    assert Counter(codes.values()) == summary["dead"]
    by_place = {one.place: one for one in found}
    for event in events:
        one = by_place[place(event)]
        assert one.event is not None
        assert (one.event.time_ms, one.event.size, one.late) == (event["event_time"], event["value_bytes"], event["late"])
        assert one.watermark == event.get("row_watermark")
        assert event["event_uid"] == event_id(event["kind"], event["agent_id"], event["event_id"])
        wanted = {name: number for name, number in one.event.numbers.items() if number is not None}
        assert {name: event.get(name) for name in wanted} == wanted


@pytest.mark.parametrize("case", CASES)
def test_windows_are_those_of_the_case(case: str) -> None:
    events, letters = expected(case, "enriched_events"), expected(case, "dead_letters")
    names = {place(event): event for event in events}
    counted = []
    for one in judged(case, events, letters):
        if not one.counted:
            continue
        assert one.event is not None
        told = names.get(one.place, one.event.names)
        parts = (told["agent_id"], told["event_type"], told.get("tool_name"), told.get("status"))
        counted.append(Counted(one.event.kind, one.event.time_ms, *parts, one.event.content.get("error") is not None, one.event.numbers))
    windows = recount(counted, WINDOW_MS)
    published = {window["window_uid"]: window for window in expected(case, "agent_metrics")}
    assert {window_id(key, WINDOW_MS) for key in windows} == published.keys()
    for key, window in windows.items():
        row = published[window_id(key, WINDOW_MS)]
        whole = {name: row.get(name) for name in (*window.values(), *window.quantiles())}
        assert differing(whole, window) == [], row["window_uid"]
        assert differing({**whole, "events": whole["events"] + 1}, window) == ["events"]
