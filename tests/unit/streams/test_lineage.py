"""Lineage: events that the specification's classes accept, in order, with schemas and data classes; a catalogue that is away holds nothing up."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from schemas.errors import FatalError
from schemas.frames import fields
from schemas.topics import INPUTS, OUTPUTS
from sinks.tables import stored_tables
from streams.cli.main import status_of
from streams.config import Config, load_config
from streams.lineage import told

SPECIFICATION = Path(__file__).parents[2] / "external" / "openlineage"
DSN = "postgresql://u:geheim@127.0.0.1:5432/db"


def config(**lineage: str) -> Config:
    found: dict[str, object] = {f"lineage.{name}": value for name, value in lineage.items()}
    return load_config(None, {}, {"kafka.bootstrap": "127.0.0.1:9", "kafka.topic_prefix": "t.", "timescale.dsn": DSN, **found})


def events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_is_told_from_its_start_to_its_end(tmp_path: Path) -> None:
    with told(config(type="file", path=str(tmp_path / "events"))):
        pass
    start, complete = events(tmp_path / "events")
    assert [one["eventType"] for one in (start, complete)] == ["START", "COMPLETE"]
    assert start["run"]["runId"] == complete["run"]["runId"] == str(uuid.UUID(start["run"]["runId"]))
    assert start["schemaURL"].startswith("https://openlineage.io/spec/2-0-2/OpenLineage.json")
    assert datetime.fromisoformat(start["eventTime"]).tzinfo is not None
    assert {one["name"] for one in start["inputs"]} == {f"t.{name}" for name in INPUTS}
    assert {one["name"] for one in start["outputs"]} == {f"t.{name}" for name in OUTPUTS} | {f"db.public.{t.name}" for t in stored_tables().values()}
    assert "geheim" not in json.dumps(start)


def test_datasets_say_their_fields_with_data_classes_and_where_columns_come_from(tmp_path: Path) -> None:
    with told(config(type="file", path=str(tmp_path / "events"))):
        pass
    enriched = next(one for one in events(tmp_path / "events")[0]["outputs"] if one["name"] == "t.enriched_events")
    named = enriched["facets"]["schema"]["fields"]
    assert [field["name"] for field in named] == [field["name"] for field in fields("enriched_event")]
    assert all("Data class: " in field["description"] for field in named)
    columns = enriched["facets"]["columnLineage"]["fields"]
    assert columns["user_id"]["transformationType"] == "MASKED"
    assert columns["session_id"]["transformationType"] == "IDENTITY"
    assert {one["field"] for one in columns["session_id"]["inputFields"]} == {"session_id"}


def test_a_run_that_fails_says_why_without_the_text_of_a_foreign_error(tmp_path: Path) -> None:
    for error, words in ((FatalError("fenced"), "fenced"), (ValueError("mia.li@example.com"), "ValueError")):
        path = tmp_path / words
        with pytest.raises(type(error)), told(config(type="file", path=str(path))):
            raise error
        last = events(path)[-1]
        assert (last["eventType"], last["run"]["facets"]["errorMessage"]["message"]) == ("FAIL", words)


def test_a_catalogue_that_is_away_holds_nothing_up() -> None:
    begin = time.monotonic()
    with told(config(type="http", url="http://127.0.0.1:9")):
        inside = time.monotonic() - begin
    assert inside < 1.0


def official(url: str) -> jsonschema_rs.Validator:
    """What validates against a schema of the specification by its address; nothing is fetched, and formats count."""
    resources = [json.loads(path.read_text()) for path in SPECIFICATION.glob("*.json")]
    registry = jsonschema_rs.Registry([(one["$id"], one) for one in resources])
    return jsonschema_rs.validator_for({"$ref": url}, registry=registry, validate_formats=True, offline=True)


def facets(value: Any) -> Iterator[dict[str, Any]]:
    """Every facet that stands in an event."""
    if isinstance(value, dict):
        if "_schemaURL" in value:
            yield value
        for inner in value.values():
            yield from facets(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from facets(inner)


def test_events_and_their_facets_keep_to_the_schemas_of_the_specification(tmp_path: Path) -> None:
    path = tmp_path / "events"
    with pytest.raises(FatalError), told(config(type="file", path=str(path))):
        raise FatalError("fenced")
    found = events(path)
    assert [event["eventType"] for event in found] == ["START", "FAIL"]
    seen = set[str]()
    for event in found:
        official(event["schemaURL"]).validate(event)
        official(event["schemaURL"].partition("#")[0]).validate(event)
        for facet in facets(event):
            official(facet["_schemaURL"]).validate(facet)
            seen.add(facet["_schemaURL"].rpartition("/")[2])
    assert seen == {"SchemaDatasetFacet", "ColumnLineageDatasetFacet", "JobTypeJobFacet", "ErrorMessageRunFacet", "TagsRunFacet"}


def test_the_schemas_of_the_specification_find_what_is_wrong(tmp_path: Path) -> None:
    with told(config(type="file", path=str(tmp_path / "events"))):
        pass
    event = events(tmp_path / "events")[0]
    schema = official(event["schemaURL"])
    for wrong in ({"eventType": "BEGIN"}, {"eventTime": "yesterday"}, {"run": {"runId": "7"}}, {"job": {"name": "x"}}):
        assert not schema.is_valid(event | wrong), wrong
    facet = next(one for one in facets(event) if one["_schemaURL"].endswith("/SchemaDatasetFacet"))
    assert not official(facet["_schemaURL"]).is_valid(facet | {"fields": [{"type": "string"}]})


def test_the_datasets_and_columns_of_a_configuration_are_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "headrace.yaml"
    path.write_text(f"kafka: {{bootstrap: '127.0.0.1:9', topic_prefix: t.}}\ntimescale: {{dsn: '{DSN}'}}\n")
    assert status_of(["lineage", "--config", str(path)]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"t\.agent_events\s+│ kafka://127\.0\.0\.1:9\s+│ read\s+│\s+\d+", printed)
    assert "db.public.reviews" in printed
    assert "geheim" not in printed
    assert status_of(["lineage", "--config", str(path), "--columns"]) == 0
    assert re.search(r"t\.enriched_events\.user_id\s+│ MASKED\s+│ .*t\.agent_events\.user_id", capsys.readouterr().out)
