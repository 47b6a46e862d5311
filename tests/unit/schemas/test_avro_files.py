"""The shipped schemas: complete, of one voice with the code, and never changed behind a reader's back."""

from __future__ import annotations

import json

import avro.schema
import fastavro
import polars as pl
import pyruhvro
import pytest

from schemas import avro as shipped
from schemas.compatibility import full_transitive
from schemas.errors import record_error_codes
from schemas.events import COORDINATES, DEAD, DECIDED, EVENT, IDENTIFIERS, INSPECTED, INTERNAL
from schemas.frames import DataClass, column_type, data_class, enum_symbols, fields, frame_schema, output_schema, required_columns
from schemas.registry import shipped_versions, subject_of
from schemas.topics import INPUTS, OUTPUTS, SCHEMAS

NAMES = shipped.names()


def test_every_topic_has_its_schema_and_every_schema_its_topic() -> None:
    assert sorted(NAMES) == sorted(SCHEMAS.values())


@pytest.mark.parametrize("name", NAMES)
def test_every_field_says_what_it_is_and_how_much_care_it_needs(name: str) -> None:
    for field in fields(name):
        assert field["doc"].endswith("."), field["name"]
        assert data_class(name, field["name"]) in DataClass
        if field["name"].endswith(("_ms", "_us", "_usd", "_ppm", "_time", "_tokens", "_bytes")):
            assert field["unit"], field["name"]


@pytest.mark.parametrize("name", NAMES)
def test_three_avro_libraries_read_every_schema(name: str) -> None:
    text = shipped.text(name)
    avro.schema.parse(text)
    fastavro.parse_schema(json.loads(text))
    assert pyruhvro.avro_to_arrow_schema(text).names == [field["name"] for field in fields(name)]


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_schema_is_published_as_a_compatible_version(name: str) -> None:
    """An avsc file and the latest version in registry.json are one; every version reads every other, in both directions."""
    versions = sorted((version for version in shipped_versions() if version.subject == subject_of(name)), key=lambda version: version.version)
    assert [version.version for version in versions] == list(range(1, len(versions) + 1))
    assert json.loads(versions[-1].text) == json.loads(shipped.text(name)), f"publish it: FileRegistry(Path('schemas/avro')).id_of({name!r})"
    for index, version in enumerate(versions):
        assert full_transitive(version.text, [earlier.text for earlier in versions[:index]]) == ()


def test_dead_letter_codes_are_the_error_tree() -> None:
    assert enum_symbols("dead_letter", "code") == record_error_codes()


def test_a_dead_letter_has_the_columns_of_the_dead_frame_and_its_id() -> None:
    assert dict(output_schema("dead_letters")) == {"record_uid": pl.String(), **DEAD}
    assert all(data_class("dead_letter", field["name"]) is DataClass.INTERNAL for field in fields("dead_letter"))


def test_an_enriched_event_has_every_event_column_but_the_digest() -> None:
    enriched = output_schema("enriched_events")
    for name, dtype in (EVENT | COORDINATES | INSPECTED | DECIDED).items():
        assert name in ("content_digest", *INTERNAL) or enriched[name] == dtype, name
    assert "content_digest" not in enriched


def test_ids_and_keys_of_output_topics_are_columns_that_hold_no_null() -> None:
    for topic in OUTPUTS.values():
        assert {topic.key_column, *topic.id_columns} <= set(required_columns(topic.schema))
        assert topic.time_column in output_schema(topic.name)


def test_a_user_id_is_personal_until_it_is_hashed() -> None:
    for topic in INPUTS.values():
        assert data_class(topic.schema, "user_id") is DataClass.PERSONAL
    assert data_class("enriched_event", "user_id") is DataClass.INTERNAL
    assert "user_id" not in IDENTIFIERS


def test_types_of_columns_follow_the_avro_types() -> None:
    assert column_type(["null", {"type": "array", "items": "long"}]) == pl.List(pl.Int64())
    assert frame_schema("metric_window")["generation"] == pl.Int32()
    with pytest.raises(ValueError, match="2 types"):
        column_type(["string", "long"])
    with pytest.raises(KeyError, match="no field colour"):
        data_class("alert", "colour")
