"""JSON Schemas that stand in files beside a policy, written into its text: from there on one text is the whole policy.

So what changes in such a file changes the policy.

A rule of type ``schema`` names a file where a schema may stand: ``refund.json``, or a part of it, ``tools.json#/refund/inputSchema``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

from governance.parse_json_schema import schema_problem
from schemas.errors import ConfigError

#: Whether a text can hold a rule of type schema at all: reading YAML is slow.
_HAS_RULE: Final = re.compile(r"type[\"']?\s*:\s*[\"']?schema\b")
#: What may stand before a value and is no part of it: an anchor, a tag.
_PROPERTIES: Final = re.compile(r"(?:[&!]\S*\s+)*")
_UNPRINTED: Final = re.compile(r"[^ -~]")


@dataclass(frozen=True, slots=True)
class SchemaFile:
    """A place in a policy where the name of a file stands.

    Attributes:
        path: Of the place, e.g. ``rules[3].tools.refund_*``.
        file: The name, relative to the policy's folder.
        pointer: JSON pointer into the file; empty for the whole.
        start: Index of the first character of the value in the policy's text.
        end: Index behind its last.
        line: Line of the place, from 1.
        column: Column of the place, from 1.
    """

    path: str
    file: str
    pointer: str
    start: int
    end: int
    line: int
    column: int


def schema_files(text: str) -> tuple[SchemaFile, ...]:
    """Gives the places of a policy where the name of a schema's file stands; none where the text is no YAML, which whoever parses it tells."""
    if not _HAS_RULE.search(text):
        return ()
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return ()
    found: dict[int, SchemaFile] = {}
    for index, rule in enumerate(_items(_values(root).get("rules"))):
        values = _values(rule)
        if not isinstance(kind := values.get("type"), yaml.ScalarNode) or kind.value != "schema":
            continue
        places = [("schema", values.get("schema")), *((f"tools.{glob}", node) for glob, node in _values(values.get("tools")).items())]
        for key, node in places:
            if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:str":
                file, _, pointer = node.value.partition("#")
                mark = node.start_mark
                properties = _PROPERTIES.match(text[mark.index : node.end_mark.index])
                start = mark.index + (properties.end() if properties is not None else 0)
                # An alias is the node that it stands for.
                found.setdefault(
                    start, SchemaFile(f"rules[{index}].{key}", file, pointer, start, node.end_mark.index, mark.line + 1, mark.column + 1)
                )
    return tuple(found[start] for start in sorted(found))


def with_schemas(text: str, name: str, read: Callable[[str], str]) -> tuple[str, list[str]]:
    """Gives a policy's text with the schemas in the place of the names of their files, and what is wrong with them, with line and column.

    Lines stay as they are. A schema that cannot be used is replaced by an empty one, so that the rest can be checked.

    Args:
        text: The policy.
        name: Name of its file, as it stands in messages.
        read: Gives the text of a file by its name; raises ConfigError where it cannot.
    """
    problems, parts, at = [], [], 0
    for place in schema_files(text):
        try:
            schema = _part(_parsed(read(place.file)), place.pointer)
            problem = schema_problem(schema)
            if problem is not None:
                raise ConfigError(problem)
        except ConfigError as error:
            schema = {}
            problems += [f"{name}:{place.line}:{place.column}: {place.path}: {place.file}: {one}" for one in error.problems]
        parts += [text[at : place.start], _UNPRINTED.sub(_escaped, json.dumps(schema, ensure_ascii=False))]
        at = place.end
    return "".join([*parts, text[at:]]), problems


def _parsed(text: str) -> Any:
    def pairs(listed: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(listed)) < len(listed):
            raise ConfigError("a key stands twice in an object; leave one")
        return dict(listed)

    problem = "not JSON"
    try:
        return json.loads(text, object_pairs_hook=pairs)
    except json.JSONDecodeError as error:
        problem = f"not JSON: line {error.lineno}, column {error.colno}: {error.msg}"
    except RecursionError:
        problem = "nested too deeply; a schema of that depth cannot be checked"
    raise ConfigError(problem)


def _part(schema: Any, pointer: str) -> Any:
    if pointer and not pointer.startswith("/"):
        raise ConfigError("what stands after '#' must be a JSON pointer, which begins with '/'")
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(schema, dict) and key in schema:
            schema = schema[key]
        elif isinstance(schema, list) and key.isdecimal() and int(key) < len(schema):
            schema = schema[int(key)]
        else:
            raise ConfigError(f"there is nothing at #{pointer}; check the JSON pointer")
    return schema


def _escaped(found: re.Match[str]) -> str:
    """A character as YAML can hold it in quotes."""
    return f"\\U{ord(found[0]):08x}"


def _values(node: yaml.Node | None) -> dict[str, yaml.Node]:
    if not isinstance(node, yaml.MappingNode):
        return {}
    return {key.value: value for key, value in node.value if isinstance(key, yaml.ScalarNode)}


def _items(node: yaml.Node | None) -> Iterator[yaml.Node]:
    yield from node.value if isinstance(node, yaml.SequenceNode) else ()
