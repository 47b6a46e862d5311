"""JSON Schemas that stand in a policy."""

from __future__ import annotations

import json

import jsonschema_rs
import yaml

from governance.nodes import NodeReader


def read_json_schema(reader: NodeReader, node: yaml.Node | None, path: str) -> str | None:
    """Gives a schema as canonical JSON text. What does not compile is a problem: unknown types, references out of it, look-around in patterns."""
    schema = reader.json_value(node, path)
    if node is None or schema is None:
        return None
    if not isinstance(schema, dict):
        reader.problem(node, path, "must be a JSON Schema, which is a mapping")
        return None
    try:
        jsonschema_rs.validator_for(schema, pattern_options=jsonschema_rs.RegexOptions(), offline=True)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        reader.problem(node, path, f"no JSON Schema that can be checked in linear time without fetching anything: {str(error).splitlines()[0]}")
        return None
    return json.dumps(schema, sort_keys=True, separators=(",", ":"))
