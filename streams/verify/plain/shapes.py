"""How fields of input schemas fill the columns of an event, told a second time and in its own words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

KIND_OF: Final = {
    "agent_events": "agent",
    "tool_executions": "tool",
    "reasoning_traces": "reasoning",
    "workflow_events": "workflow",
    "system_events": "system",
}
#: The field that says whom a record is about.
OWNER_OF: Final = {"agent": "agent_id", "tool": "agent_id", "reasoning": "agent_id", "workflow": "workflow_id", "system": "service"}
CONTENT_OF: Final = {
    "input_data": "input",
    "arguments": "input",
    "data": "input",
    "output_data": "output",
    "result": "output",
    "content": "output",
    "message": "output",
    "error": "error",
}
#: Field, its column, and how many of the column's units one of the field's has.
SCALED: Final = {
    "execution_time_ms": ("latency_us", 1_000.0),
    "latency_ms": ("latency_us", 1_000.0),
    "cost_usd": ("cost_nano_usd", 1_000_000_000.0),
    "confidence": ("confidence_ppm", 1_000_000.0),
}
#: Fields without a column, which end in ``attributes``.
KEPT: Final = {"workflow": {"agent_id": "text"}, "system": {"host": "text", "value": "number"}}
#: Ids that may also stand in metadata, in attributes, or beside the fields of the schema.
ROAMING: Final = (
    *("session_id", "execution_id", "user_id", "workflow_id", "step_id", "parent_id", "trace_id", "span_id", "tool_call_id", "tool_name", "model"),
)


@dataclass(frozen=True, slots=True)
class Shape:
    """The fields of one input topic.

    Attributes:
        fields: Name to its Avro type, without null.
        required: Fields that a record must have.
    """

    topic: str
    kind: str
    owner: str
    fields: Mapping[str, Any]
    required: frozenset[str]


def shape_of(topic: str, declared: Sequence[Mapping[str, Any]]) -> Shape:
    """Gives the shape of a topic whose Avro schema declares these fields."""
    kind = KIND_OF[topic]
    types = {str(one["name"]): _without_null(one["type"]) for one in declared}
    return Shape(topic, kind, OWNER_OF[kind], types, frozenset(str(one["name"]) for one in declared if "default" not in one))


def _without_null(declared: Any) -> Any:
    return next(one for one in declared if one != "null") if isinstance(declared, list) else declared
