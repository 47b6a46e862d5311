"""``headrace verify`` and the vector collection: which events must have a point is told a second time, and a point that is missing is found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from schemas.frames import output_schema
from sinks.step_texts import TextRule, chosen
from sinks.vector_edge import EdgeBackend
from sinks.vectors import StoredStep
from streams.verify.findings import Findings, Kind
from streams.verify.plain.points import Choice, is_chosen, point_id
from streams.verify.points_check import check_points
from streams.verify.published import Published, Row, Sample

CHOICE = Choice({"tool": ("output",), "agent": ("input", "output")}, 16, 40)
CONTENTS: tuple[Any, ...] = (
    None,
    "",
    "short",
    "a text that is long enough",
    "<PERSON> <EMAIL_ADDRESS> <LOCATION>",
    "<PERSON> wrote to somebody about it",
    {"title": "two words", "price": 79, "list": ["and some more", {"deep": "words"}]},
    {"blank": "   ", "number": 5},
    ["x" * 15, "y" * 30],
    "z" * 200,
)


def test_both_choose_the_same_events() -> None:
    rows = [
        {"event_uid": f"{number:032x}", "kind": kind, "input": json.dumps(one), "output": json.dumps(other)}
        for number, (kind, one, other) in enumerate(
            (kind, one, other) for kind in ("tool", "agent", "system") for one in CONTENTS for other in CONTENTS
        )
    ]
    schema = output_schema("enriched_events")
    filled = [{name: row.get(name) for name in schema} for row in rows]
    by_sink = chosen(pl.DataFrame(filled, schema=schema), TextRule(CHOICE.columns, CHOICE.chars_min, CHOICE.chars_max)).payloads
    plain = [row["event_uid"] for row in rows if is_chosen(row["kind"], {name: json.loads(row[name]) for name in ("input", "output")}, CHOICE)]
    assert plain == list(by_sink)
    assert 0 < len(plain) < len(rows)


def test_a_point_that_is_missing_and_one_too_many_are_found(tmp_path: Path) -> None:
    backend = EdgeBackend(tmp_path / "points", "steps")
    backend.prepare(30.0)
    published = Published(Sample(0, 1))
    for number in range(4):
        place = ("agent_events", 0, number)
        values = {"event_uid": f"{number:032x}", "chosen": number < 3}
        published.events[place] = [Row(("enriched_events", 0, 10 + number), values)]
    store = backend.open(30.0)
    # Events 0 and 1 have points, event 2 lacks one, and one point is of no event.
    store.put([StoredStep(point_id(f"{number:032x}"), [1.0] + [0.0] * 383, {}) for number in (0, 1, 9)], 30.0)
    store.close()
    findings = Findings()
    assert check_points(backend, "steps", published, lambda _place: True, frozenset(), True, findings) == {"points": 2}
    assert [(one.kind, one.places) for one in findings.kept] == [
        (Kind.LOST, (("enriched_events", 0, 12), ("agent_events", 0, 2))),
        (Kind.UNEXPECTED, ()),
    ]
