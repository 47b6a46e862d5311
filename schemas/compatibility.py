"""Whether records of one Avro schema can be read with another: the rules of evolution, for shipped versions and for producers' schemas.

- backward: the new schema reads what the old one wrote. Consumers go first.
- forward: the old schema reads what the new one wrote. Producers go first.
- full: both. ``*_transitive``: against every earlier version, not just the last.

Source: Avro 1.12 specification, "Schema Resolution", by the ``avro`` package's ``SchemaCompatibility``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.errors import AvroException
from avro.schema import Schema, UnionSchema, parse


def problems(*, reader: str, writer: str) -> tuple[str, ...]:
    """Gives why ``reader`` cannot read what ``writer`` wrote, empty where it can.

    A problem is a kind and, where it concerns one, the name of a field of the reader: never text of the writer, which may come from anyone.
    """
    try:
        written = _parse(writer)
    except (AvroException, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return ("no Avro schema",)
    if isinstance(written, UnionSchema) and not written.schemas:
        return ("no Avro schema",)
    if _has_empty_items(json.loads(writer)):
        # A few bytes could then stand for any number of items.
        return ("an array or map of items that take no bytes",)
    ours = _parse(reader)
    checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]
    result = checker.get_compatibility(ours, written)
    if result.compatibility is SchemaCompatibilityType.compatible:
        return ()
    kinds = {kind.name for kind in result.incompatibilities}
    places = {name for location in result.locations if (name := _field_at(json.loads(reader), str(location)))}
    return (*sorted(kinds), *(f"field {name}" for name in sorted(places))) or ("incompatible types",)


def _field_at(reader: dict[str, Any], location: str) -> str | None:
    """Gives the name of the reader's field that a location such as ``/fields/3/type`` points at."""
    parts = location.split("/")
    return str(reader["fields"][int(parts[2])]["name"]) if parts[1:2] == ["fields"] else None


def can_read(*, reader: str, writer: str) -> bool:
    """Tells whether ``reader`` reads everything that ``writer`` wrote."""
    return not problems(reader=reader, writer=writer)


def backward_transitive(new: str, olds: Sequence[str]) -> tuple[str, ...]:
    """Gives why a new version cannot read what earlier versions wrote, empty where it can read all."""
    return tuple(f"version {index}: {problem}" for index, old in enumerate(olds, 1) for problem in problems(reader=new, writer=old))


def forward_transitive(new: str, olds: Sequence[str]) -> tuple[str, ...]:
    """Gives why earlier versions cannot read what a new version writes, empty where all can."""
    return tuple(f"version {index}: {problem}" for index, old in enumerate(olds, 1) for problem in problems(reader=old, writer=new))


def full_transitive(new: str, olds: Sequence[str]) -> tuple[str, ...]:
    """Gives why a new version and earlier ones cannot read each other, empty where they can."""
    return backward_transitive(new, olds) + forward_transitive(new, olds)


def _parse(text: str) -> Schema:
    return parse(text)


def _has_empty_items(declared: Any) -> bool:
    if isinstance(declared, list):
        return any(_has_empty_items(branch) for branch in declared)
    if not isinstance(declared, dict):
        return False
    inner = declared.get("items", declared.get("values"))
    if inner is not None and _takes_no_bytes(inner):
        return True
    children = [inner, declared.get("type"), *(field.get("type") for field in declared.get("fields", []))]
    return any(_has_empty_items(child) for child in children if child is not None)


def _takes_no_bytes(declared: Any) -> bool:
    if declared == "null":
        return True
    if not isinstance(declared, dict):
        return False
    if declared.get("type") == "record":
        return all(_takes_no_bytes(field.get("type")) for field in declared.get("fields", []))
    return declared.get("type") == "null" or (declared.get("type") == "fixed" and declared.get("size") == 0)
