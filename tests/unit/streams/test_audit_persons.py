"""Persons in the audit log: an HMAC under a key of their own, or nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import polars as pl

from schemas.frames import output_schema
from sinks.files import FilesSink
from streams.audit_persons import mark_of, seal, sealed


class Keys:
    """Keys in memory, of which one was destroyed."""

    def keys_of(self, persons: Collection[str]) -> Mapping[str, bytes]:
        return {person: person.encode() * 8 for person in persons if person != "erased"}


def batch(*persons: str | None) -> dict[str, pl.DataFrame]:
    schema = output_schema("audit_log")
    return {"audit_log": pl.DataFrame([dict.fromkeys(schema) | {"person": person} for person in persons], schema=schema)}


def test_each_person_becomes_an_hmac_under_a_key_of_its_own() -> None:
    found = sealed(batch("u1", None, "u2", "u1"), Keys())["audit_log"]["person"].to_list()
    assert found == [mark_of("u1", b"u1" * 8), None, mark_of("u2", b"u2" * 8), mark_of("u1", b"u1" * 8)]
    assert mark_of("u1", b"x" * 16) != mark_of("u1", b"y" * 16)


def test_a_person_whose_key_was_destroyed_is_named_no_more() -> None:
    assert sealed(batch("erased", "u1"), Keys())["audit_log"]["person"].to_list() == [None, mark_of("u1", b"u1" * 8)]


def test_without_keys_nobody_is_named(tmp_path: Path) -> None:
    assert sealed(batch("u1", None), None)["audit_log"]["person"].to_list() == [None, None]
    sink = FilesSink(tmp_path)
    lane = seal(sink, None).open_lane(0, 1, sink.begin())
    lane.write(batch("u1"), 10)
    lane.close()
    sink.publish()
    assert "u1" not in (tmp_path / "audit_log.jsonl").read_text()
