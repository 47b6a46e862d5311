"""The file registry: the same ids everywhere, versions that never break a reader, writers that do not lose each other's work."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

from schemas import avro
from schemas.errors import ConfigError, SchemaUnknown
from schemas.registry import FileRegistry, format_versions, next_version, parse_versions, shipped_versions, subject_of


def record(name: str, *fields: str) -> str:
    declared = [{"name": field, "type": ["null", "string"], "default": None} for field in fields]
    return json.dumps({"type": "record", "name": name, "fields": declared})


def test_shipped_schemas_have_ids_without_a_file() -> None:
    registry = FileRegistry()
    for name in avro.names():
        assert json.loads(registry.schema(registry.id_of(name))) == json.loads(avro.text(name))
        assert registry.latest(subject_of(name)).id == registry.id_of(name)
    with pytest.raises(ConfigError, match="read only"):
        registry.register("colours-value", record("colour"))


def test_ids_in_a_new_file_are_the_shipped_ones_and_survive(tmp_path: Path) -> None:
    registry = FileRegistry(tmp_path / "folder")
    added = registry.register("colours-value", record("colour", "a"))
    again = FileRegistry(tmp_path / "folder" / "registry.json")
    assert again.register("colours-value", record("colour", "a")) == added
    assert [again.id_of(name) for name in avro.names()] == [FileRegistry().id_of(name) for name in avro.names()]
    assert added > max(version.id for version in shipped_versions())


def test_a_new_version_must_read_and_be_read_by_all_earlier_ones(tmp_path: Path) -> None:
    registry = FileRegistry(tmp_path)
    first = registry.register("colours-value", record("colour", "a"))
    second = registry.register("colours-value", record("colour", "a", "b"))
    assert (registry.latest("colours-value").version, registry.latest("colours-value").id) == (2, second)
    with pytest.raises(ConfigError, match="fully compatible"):
        registry.register("colours-value", '{"type": "record", "name": "colour", "fields": [{"name": "c", "type": "long"}]}')
    assert first != second


def test_a_reader_sees_what_another_process_registers(tmp_path: Path) -> None:
    reader, writer = FileRegistry(tmp_path), FileRegistry(tmp_path)
    with pytest.raises(SchemaUnknown, match="schema id 9999"):
        reader.schema(9999)
    with pytest.raises(SchemaUnknown, match="subject colours-value"):
        reader.latest("colours-value")
    text = record("colour", "a")
    assert json.loads(reader.schema(writer.register("colours-value", text))) == json.loads(text)


def _register_many(path: Path, own: int) -> None:
    registry = FileRegistry(path)
    for index in range(10):
        registry.register(f"subject-{own}-{index}", record("one"))


def test_processes_that_register_at_once_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_register_many, args=(tmp_path, own), daemon=True) for own in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    versions = parse_versions((tmp_path / "registry.json").read_text())
    assert len(versions) == len(shipped_versions()) + 30
    assert len({version.id for version in versions}) == len(versions)


@pytest.mark.parametrize("text", ["", "[]", '{"schemas": [{"id": 1}]}', '{"schemas": 5}'])
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "registry.json").write_text(text)
    with pytest.raises(ConfigError, match=r"registry\.json"):
        FileRegistry(tmp_path)


def test_versions_come_back_from_their_file_text() -> None:
    versions = (*shipped_versions(), next_version(shipped_versions(), "colours-value", record("colour")))
    assert parse_versions(format_versions(versions)) == versions
    with pytest.raises(ValueError, match="twice"):
        parse_versions(format_versions((*versions, versions[0])))
