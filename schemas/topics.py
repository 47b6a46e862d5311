"""The topics: which schema each carries, what its messages are keyed by, and what makes an output message unique.

Values on output topics are Avro records of ``schemas/avro/<schema>.avsc`` in Confluent wire format. An output frame has exactly the fields of its
schema as columns. Every output message carries its id in the header ``headrace-id``: the values of ``id_columns`` joined by ``:``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ID_HEADER: Final = "headrace-id"
TRACE_HEADER: Final = "traceparent"
#: On a record that was redriven: the offset of the original in the same topic and partition, in decimal digits.
REDRIVEN_HEADER: Final = "headrace-redriven-from"
#: Place of a message in the hash chain of its partition (``governance.audit_chain``).
CHAIN_HEADER: Final = "headrace-chain"


@dataclass(frozen=True, slots=True)
class InputTopic:
    """A topic that producers write."""

    name: str
    schema: str
    kind: str


@dataclass(frozen=True, slots=True)
class OutputTopic:
    """A topic that headrace writes.

    Attributes:
        key_column: Message key, and what the output partition is chosen by.
        id_columns: Columns whose values, joined by ``:``, identify a message: a replay writes each id once.
        time_column: Column with the time of the record in ms.
        revision_column: Where set, rows share the id's first column and the highest revision is the valid one.
        chained: Whether each message holds the hash of the one before it in its partition; such a topic is append-only and kept for ever.
    """

    name: str
    schema: str
    key_column: str
    id_columns: tuple[str, ...]
    time_column: str
    revision_column: str | None = None
    chained: bool = False


@dataclass(frozen=True, slots=True)
class ControlTopic:
    """A compacted topic of one partition that commands write, and that a start reads whole.

    Attributes:
        key_column: Message key; the last message of a key is the valid one.
    """

    name: str
    schema: str
    key_column: str


INPUTS: Final = {
    topic.name: topic
    for topic in (
        InputTopic("agent_events", "agent_event", "agent"),
        InputTopic("tool_executions", "tool_execution", "tool"),
        InputTopic("reasoning_traces", "reasoning_trace", "reasoning"),
        InputTopic("workflow_events", "workflow_event", "workflow"),
        InputTopic("system_events", "system_event", "system"),
    )
}

OUTPUTS: Final = {
    topic.name: topic
    for topic in (
        OutputTopic("enriched_events", "enriched_event", "agent_id", ("event_uid",), "event_time"),
        OutputTopic("agent_metrics", "metric_window", "agent_id", ("window_uid", "revision"), "window_start", "revision"),
        OutputTopic("guardrail_decisions", "guardrail_decision", "agent_id", ("event_uid",), "event_time"),
        OutputTopic("alerts", "alert", "agent_id", ("alert_uid",), "event_time"),
        OutputTopic("reviews", "review", "agent_id", ("review_uid", "revision"), "event_time", "revision"),
        OutputTopic("agent_control", "control_command", "target", ("control_uid",), "issued_at"),
        OutputTopic("audit_log", "audit_record", "agent_id", ("audit_uid",), "event_time", chained=True),
        OutputTopic("dead_letters", "dead_letter", "record_uid", ("record_uid",), "kafka_time"),
    )
}

CONTROLS: Final = {
    topic.name: topic
    for topic in (ControlTopic("erasures", "erasure", "person"), ControlTopic("dead_letter_marks", "dead_letter_mark", "record_uid"))
}
#: What commands of headrace write beside the pipeline.
REPORTS: Final = {topic.name: topic for topic in (OutputTopic("contract_results", "contract_result", "about", ("result_uid",), "window_start"),)}

#: Topic and the name of its schema.
SCHEMAS: Final = {
    **{topic.name: topic.schema for topic in INPUTS.values()},
    **{topic.name: topic.schema for topic in OUTPUTS.values()},
    **{topic.name: topic.schema for topic in CONTROLS.values()},
    **{topic.name: topic.schema for topic in REPORTS.values()},
}
