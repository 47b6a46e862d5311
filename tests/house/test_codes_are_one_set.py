"""The codes of dead letters are the same in the error tree, the Avro schema, the docs and the metrics."""

from __future__ import annotations

import json
import re
from typing import Any

import polars as pl

from schemas.errors import RecordError, record_error_codes
from schemas.events import DEAD
from streams.telemetry import Telemetry

from source_tree import read


def symbols(schema: dict[str, Any], field: str) -> list[str]:
    """Gives the symbols of an enum field."""
    declared = next(entry["type"] for entry in schema["fields"] if entry["name"] == field)
    return list(declared["symbols"])


def drawn(docstring: str) -> list[tuple[str, str]]:
    """Gives (class, code) for each leaf below RecordError in the drawn tree."""
    return re.findall(r"[├└]── (\w+) +([a-z_]+) {2,}\S", docstring)


def test_the_avro_enum_has_the_codes_of_the_tree() -> None:
    assert symbols(json.loads(read("schemas/avro/dead_letter.avsc")), "code") == list(record_error_codes())


def test_the_docs_have_a_heading_a_code() -> None:
    assert re.findall(r"^## `([a-z_]+)`$", read("docs/dead-letters.md"), flags=re.MULTILINE) == list(record_error_codes())


def test_the_drawn_tree_is_the_tree() -> None:
    import schemas.errors

    assert drawn(schemas.errors.__doc__ or "") == [(leaf.__name__, leaf.code) for leaf in RecordError.__subclasses__()]


def test_every_code_is_a_metric_label_of_its_own() -> None:
    telemetry = Telemetry()
    codes = record_error_codes()
    rows = {name: [None] * len(codes) for name in DEAD} | {
        "topic": ["agent_events"] * len(codes),
        "disposition": ["dead"] * len(codes),
        "code": codes,
    }
    telemetry.dead(pl.DataFrame(rows, schema=DEAD))
    assert telemetry.snapshot().each("dead_letters_total", "code") == dict.fromkeys(codes, 1)


def test_every_code_is_a_short_stable_word_and_stands_once() -> None:
    codes = record_error_codes()
    assert len(set(codes)) == len(codes) > 0
    assert [code for code in codes if not re.fullmatch(r"[a-z]+(_[a-z]+)+", code)] == []
    assert [leaf.__name__ for leaf in RecordError.__subclasses__() if leaf.__subclasses__()] == [], "a leaf has subclasses"
