"""JSON Schemas that stand in a policy."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import yaml

from governance.nodes import NodeReader


def schema_problem(schema: Any) -> str | None:
    """Gives why a value is no schema that can be used: unknown types, references out of it, look-around in patterns; None where it is one."""
    if not isinstance(schema, dict):
        return "must be a JSON Schema, which is a mapping"
    try:
        jsonschema_rs.validator_for(schema, pattern_options=jsonschema_rs.RegexOptions(), offline=True)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        return f"no JSON Schema that can be checked in linear time without fetching anything: {str(error).splitlines()[0]}"
    return None


def read_json_schema(reader: NodeReader, node: yaml.Node | None, path: str) -> str | None:
    """Gives a schema as canonical JSON text; what is no schema that can be used is a problem."""
    schema = reader.json_value(node, path)
    if node is None or schema is None:
        return None
    problem = schema_problem(schema)
    if problem is not None:
        reader.problem(node, path, problem)
        return None
    return json.dumps(schema, sort_keys=True, separators=(",", ":"))
