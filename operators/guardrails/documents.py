"""Rules over whole JSON values as they came: arguments against a JSON Schema, fields against a format."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import jsonschema_rs
import polars as pl

from governance.policy import Policy
from governance.rules import FormatRule, SchemaRule
from operators.guardrails.evidence import Evidence
from operators.guardrails.fold import fold
from operators.guardrails.globs import agents_condition, tools_pattern

#: What failed is named up to here; more says no more.
_FAILURES_MAX: Final = 8


class _Unreadable(ValueError):
    """The text is no JSON."""


class _Ambiguous(_Unreadable):
    """A key stands twice: readers differ on which value counts."""


class _Validator:
    """One compiled schema: linear-time patterns, no references out of it."""

    def __init__(self, schema: str) -> None:
        self._validator = jsonschema_rs.validator_for(
            json.loads(schema), pattern_options=jsonschema_rs.RegexOptions(), validate_formats=True, offline=True, formats={"json": _is_json}
        )

    def failures(self, text: str) -> tuple[str, ...]:
        """Gives keyword and path in the schema of what failed; nothing of the value, not even its keys."""
        try:
            value = _read(text)
            if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
                value = _inner(value)
            failed: set[str] = set()
            for error in self._validator.iter_errors(value):
                failed.add("/" + "/".join(str(part) for part in error.schema_path))
                if len(failed) >= _FAILURES_MAX:
                    break
        except (ValueError, RecursionError, OverflowError):
            return ("unreadable",)
        return tuple(sorted(failed))


class DocumentRules:
    """The rules of a policy that look at whole values; nothing to do where it has none.

    Args:
        policy: Its schema and format rules are compiled.
    """

    def __init__(self, policy: Policy) -> None:
        self._schemas = [
            (rule, agents_condition(rule.agents), [(tools_pattern((glob,)), _Validator(schema)) for glob, schema in rule.schemas])
            for rule in policy.rules
            if isinstance(rule, SchemaRule)
        ]
        self._formats = [(rule, _Validator(_format_schema(rule))) for rule in policy.rules if isinstance(rule, FormatRule)]

    def __call__(self, batch: pl.DataFrame) -> list[tuple[int, Evidence]]:
        """Gives what broke which rule, by row; values that are not there are not looked at."""
        found: list[tuple[int, Evidence]] = []
        for rule, agents, validators in self._schemas:
            known: dict[tuple[int, str], tuple[str, ...]] = {}
            for row, text, tool in _rows(batch, pl.col("kind").is_in(rule.kinds) & agents, rule.column):
                for index in _matching(validators, tool):
                    if (index, text) not in known:
                        known[index, text] = validators[index][1].failures(text)
                    found += [(row, Evidence(rule.id, failure, rule.column)) for failure in known[index, text]]
        for rule_of_format, validator in self._formats:
            for row, text, _ in _rows(batch, pl.col("kind").is_in(rule_of_format.kinds), rule_of_format.column):
                if validator.failures(text):
                    found.append((row, Evidence(rule_of_format.id, " or ".join(rule_of_format.formats), rule_of_format.column)))
        return found


def _rows(batch: pl.DataFrame, condition: pl.Expr, column: str) -> Iterator[tuple[int, str, str | None]]:
    rows = batch.select(pl.int_range(pl.len()).alias("row"), pl.col(column).alias("text"), "tool_name", condition.alias("held"))
    yield from rows.filter(pl.col("held") & pl.col("text").is_not_null()).select("row", "text", "tool_name").iter_rows()


def _matching(validators: list[tuple[Any, _Validator]], tool: str | None) -> list[int]:
    name = fold(tool or "").strip().lower()
    return [index for index, (pattern, _) in enumerate(validators) if pattern.fullmatch(name)]


def _format_schema(rule: FormatRule) -> str:
    """The rule as a JSON Schema: one of the formats at the path, which must be there."""
    choices = [{"type": one} if one in _TYPES else {"type": "string", "format": one} for one in rule.formats]
    schema: dict[str, Any] = {"anyOf": choices}
    for part in reversed([part for part in rule.path.split("/") if part]):
        key = part.replace("~1", "/").replace("~0", "~")
        schema = {"type": "object", "required": [key], "properties": {key: schema}}
    return json.dumps(schema)


_TYPES: Final = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise _Ambiguous
    return made


def _read(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_pairs)
    except _Ambiguous:
        raise
    except ValueError:
        pass
    raise _Unreadable  # outside of the handler: the foreign error holds the text


def _inner(text: str) -> Any:
    """The value of arguments that come as a string of JSON, as they often do; other text as it is."""
    try:
        return _read(text)
    except _Ambiguous:
        raise
    except _Unreadable:
        return text


def _is_json(text: str) -> bool:
    try:
        _read(text)
    except (_Unreadable, RecursionError):
        return False
    return True
