"""How the fields of each input schema fill the columns of the event frame: one table for JSON and Avro alike."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from functools import cache
from typing import Any, Final

from schemas.frames import fields, value_type
from schemas.topics import INPUTS


class Role(Enum):
    """What a field is to the decoder."""

    TEXT = auto()  # an id or a name: one string
    TIME = auto()  # ISO 8601 or milliseconds
    DURATION_MS = auto()  # float ms -> whole us
    USD = auto()  # float -> whole nano-dollars
    RATIO = auto()  # float 0..1 -> whole ppm
    COUNT = auto()  # integer >= 0
    NUMBERS = auto()  # list of integers >= 0
    CONTENT = auto()  # any JSON value -> JSON text
    METADATA = auto()  # JSON object: ids in it fill their columns, the rest goes to attributes
    ATTRIBUTES = auto()  # JSON object: as METADATA, wins over it
    KEPT_TEXT = auto()  # a string without a column of its own: goes to attributes
    KEPT_NUMBER = auto()  # a float without a column of its own: goes to attributes


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an input schema.

    Attributes:
        name: Its name in JSON and Avro.
        column: Column of the event frame that it fills, None where it goes to ``attributes``.
        required: Whether a record without it is rejected.
    """

    name: str
    column: str | None
    role: Role
    required: bool


@dataclass(frozen=True, slots=True)
class Shape:
    """One input schema as the decoder sees it.

    Attributes:
        agent_field: The field that fills ``agent_id``: what the topic is keyed by.
    """

    topic: str
    schema: str
    kind: str
    fields: tuple[Field, ...]
    agent_field: str

    def of_role(self, *roles: Role) -> tuple[Field, ...]:
        """Gives the fields of some roles, in the order of the schema."""
        return tuple(field for field in self.fields if field.role in roles)


#: Ids and names that fill their column from metadata, attributes or an unknown top-level key where the schema's own field is absent. ``user_id``
#: is among them so that no user id stays behind in attributes, where only patterns would be masked.
LINKS: Final = (
    "session_id",
    "execution_id",
    "user_id",
    "workflow_id",
    "step_id",
    "parent_id",
    "trace_id",
    "span_id",
    "tool_call_id",
    "tool_name",
    "model",
)

_AGENT_FIELD: Final = {"workflow": "workflow_id", "system": "service"}
_CONTENT_COLUMN: Final = {
    "input_data": "input",
    "arguments": "input",
    "data": "input",
    "output_data": "output",
    "result": "output",
    "content": "output",
    "message": "output",
    "error": "error",
}
_NUMBER: Final = {
    "execution_time_ms": ("latency_us", Role.DURATION_MS),
    "latency_ms": ("latency_us", Role.DURATION_MS),
    "cost_usd": ("cost_nano_usd", Role.USD),
    "confidence": ("confidence_ppm", Role.RATIO),
}
#: Fields of a kind that have no column: a workflow event is about its workflow, a system event about its service.
_KEPT: Final = {("workflow", "agent_id"): Role.KEPT_TEXT, ("system", "host"): Role.KEPT_TEXT, ("system", "value"): Role.KEPT_NUMBER}


@cache
def shape_of(topic: str) -> Shape:
    """Gives the shape of an input topic; KeyError where it is none."""
    source = INPUTS[topic]
    agent_field = _AGENT_FIELD.get(source.kind, "agent_id")
    declared = tuple(_field(source.kind, agent_field, field) for field in fields(source.schema))
    return Shape(topic, source.schema, source.kind, declared, agent_field)


def _field(kind: str, agent_field: str, declared: dict[str, Any]) -> Field:
    name: str = declared["name"]
    required = "default" not in declared
    if (kind, name) in _KEPT:
        return Field(name, None, _KEPT[kind, name], required)
    if name in _NUMBER:
        column, role = _NUMBER[name]
        return Field(name, column, role, required)
    if name in _CONTENT_COLUMN:
        return Field(name, _CONTENT_COLUMN[name], Role.CONTENT, required)
    if name == "timestamp":
        return Field(name, "event_time", Role.TIME, required)
    if name in ("metadata", "attributes"):
        return Field(name, None, Role[name.upper()], required)
    if name == agent_field:
        return Field(name, "agent_id", Role.TEXT, required)
    if name == "severity":
        return Field(name, "status", Role.TEXT, required)
    return Field(name, name, _plain_role(declared["type"]), required)


def _plain_role(declared: Any) -> Role:
    kind, _ = value_type(declared)
    if kind == "long":
        return Role.COUNT
    if isinstance(kind, dict) and kind["type"] == "array":
        return Role.NUMBERS
    return Role.TEXT
