"""Polars schemas and data classes of the topics, derived from their Avro schemas.

A frame of ``output_schema(topic)`` is what operators emit: one column per Avro field, in the same order. Nullable unions become nullable
columns, enums ``String``, arrays ``List``; times stay ``Int64`` milliseconds, as everywhere in the pipe. Avro knows which columns may be null;
Polars does not, so ``required_columns`` says which must not be.
"""

from __future__ import annotations

import json
from enum import StrEnum
from functools import cache
from typing import Any, Final

import polars as pl

from schemas import avro
from schemas.topics import OUTPUTS

_PRIMITIVES: Final[dict[str, pl.DataType]] = {
    "string": pl.String(),
    "boolean": pl.Boolean(),
    "int": pl.Int32(),
    "long": pl.Int64(),
    "float": pl.Float32(),
    "double": pl.Float64(),
    "bytes": pl.Binary(),
}


class DataClass(StrEnum):
    """How much harm a field can do when it leaves the house; each class includes the care owed to the ones before it."""

    PUBLIC = "public"
    INTERNAL = "internal"
    PERSONAL = "personal"
    SECRET = "secret"


@cache
def fields(schema: str) -> tuple[dict[str, Any], ...]:
    """Gives the fields of a shipped schema as Avro declares them."""
    return tuple(json.loads(avro.text(schema))["fields"])


def value_type(declared: Any) -> tuple[Any, bool]:
    """Gives the type of a field without its null branch, and whether it had one.

    Raises:
        ValueError: The union has more than one branch that is not null; no shipped schema has such a field.
    """
    if not isinstance(declared, list):
        return declared, False
    branches = [branch for branch in declared if branch != "null"]
    if len(branches) != 1:
        raise ValueError(f"a union of {len(branches)} types has no column type; want null and one other type")
    return branches[0], len(branches) < len(declared)


def column_type(declared: Any) -> pl.DataType:
    """Gives the Polars type of an Avro type (nullable or not)."""
    kind, _ = value_type(declared)
    if isinstance(kind, str):
        return _PRIMITIVES[kind]
    if kind["type"] == "array":
        return pl.List(column_type(kind["items"]))
    if kind["type"] == "record":
        return pl.Struct({field["name"]: column_type(field["type"]) for field in kind["fields"]})
    if kind["type"] == "enum":
        return pl.String()
    return _PRIMITIVES[kind["type"]]


@cache
def frame_schema(schema: str) -> pl.Schema:
    """Gives the Polars schema of a shipped Avro schema, by its name."""
    return pl.Schema({field["name"]: column_type(field["type"]) for field in fields(schema)})


def output_schema(topic: str) -> pl.Schema:
    """Gives the schema of the frames that an operator emits for an output topic."""
    return frame_schema(OUTPUTS[topic].schema)


@cache
def required_columns(schema: str) -> tuple[str, ...]:
    """Gives the columns of a shipped schema that must hold no null."""
    return tuple(field["name"] for field in fields(schema) if not value_type(field["type"])[1])


@cache
def enum_symbols(schema: str, field: str) -> tuple[str, ...] | None:
    """Gives the symbols that an enum field may hold, None where the field is no enum."""
    kind, _ = value_type(_field(schema, field)["type"])
    return tuple(kind["symbols"]) if isinstance(kind, dict) and kind["type"] == "enum" else None


def data_class(schema: str, field: str) -> DataClass:
    """Gives the data class that a schema declares for a field; KeyError where the schema has no such field."""
    return DataClass(_field(schema, field)["data_class"])


def _field(schema: str, field: str) -> dict[str, Any]:
    for candidate in fields(schema):
        if candidate["name"] == field:
            return candidate
    raise KeyError(f"schema {schema} has no field {field}")
