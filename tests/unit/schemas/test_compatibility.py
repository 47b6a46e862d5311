"""The rules of evolution, by example in both directions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schemas.compatibility import backward_transitive, can_read, forward_transitive, full_transitive, problems


def record(*fields: dict[str, Any]) -> str:
    return json.dumps({"type": "record", "name": "r", "namespace": "headrace", "fields": list(fields)})


ID: dict[str, Any] = {"name": "id", "type": "string"}
WITH_DEFAULT: dict[str, Any] = {"name": "more", "type": ["null", "long"], "default": None}
WITHOUT: dict[str, Any] = {"name": "more", "type": "long"}


def enum(symbols: list[str], **more: Any) -> dict[str, Any]:
    return {"name": "code", "type": {"type": "enum", "name": "codes", "symbols": symbols, **more}}


def test_a_field_with_a_default_may_come_and_go() -> None:
    assert full_transitive(record(ID, WITH_DEFAULT), [record(ID)]) == ()
    assert full_transitive(record(ID), [record(ID, WITH_DEFAULT)]) == ()


def test_a_field_without_a_default_breaks_readers_that_lack_it_in_what_they_read() -> None:
    assert backward_transitive(record(ID, WITHOUT), [record(ID)]) != ()
    assert forward_transitive(record(ID, WITHOUT), [record(ID)]) == ()
    assert "field more" in problems(reader=record(ID, WITHOUT), writer=record(ID))


def test_numbers_may_grow_for_the_reader_only() -> None:
    small, large = record({"name": "n", "type": "int"}), record({"name": "n", "type": "long"})
    assert can_read(reader=large, writer=small)
    assert not can_read(reader=small, writer=large)


def test_a_new_symbol_needs_a_default_in_the_old_reader() -> None:
    assert full_transitive(record(enum(["a", "b"])), [record(enum(["a"]))]) != ()
    assert full_transitive(record(enum(["a", "b"], default="a")), [record(enum(["a"], default="a"))]) == ()


def test_transitive_means_every_earlier_version() -> None:
    first, second = record(ID, {"name": "more", "type": "string"}), record(ID)
    third = record(ID, WITH_DEFAULT)
    assert backward_transitive(third, [second]) == ()
    assert [problem.split(":")[0] for problem in backward_transitive(third, [first, second])] == ["version 1"] * len(
        problems(reader=third, writer=first)
    )


@pytest.mark.parametrize("writer", ["", "{", "[]", '{"type": "recrod"}', '{"type": "record", "name": "secret value", "fields": []}'])
def test_what_is_no_schema_is_a_problem_that_quotes_nothing(writer: str) -> None:
    found = problems(reader=record(ID), writer=writer)
    assert found
    assert "secret" not in " ".join(found)
    assert "recrod" not in " ".join(found)
