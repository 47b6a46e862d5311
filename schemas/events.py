"""The canonical frames: the columns with which events travel through the pipe.

Three frames, each a Polars frame with a fixed schema:

- ``RAW``: what a source polled, one row a Kafka record, nothing decoded. Holds raw personal data.
- ``EVENT``: one row a decoded event. Content columns hold JSON text. Raw before ``mask``, masked after it.
- ``DEAD``: one row a record that cannot go on. Codes and coordinates only, never a payload value.

Units: times are milliseconds since 1970 in UTC, latencies whole microseconds, costs whole nano-dollars, confidences whole parts per
million. They are integers so that the order in which partial sums are merged cannot show in a result.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from schemas.vault import SEALED_VALUE

COORDINATES: Final[dict[str, pl.DataType]] = {
    "topic": pl.String(),
    "partition": pl.Int32(),
    "offset": pl.Int64(),
}

RAW: Final = pl.Schema(
    {
        **COORDINATES,
        "kafka_time": pl.Int64(),  # ms; null where the source has no record timestamp (files)
        "key": pl.Binary(),
        "value": pl.Binary(),  # null is a tombstone: rejected as field_missing
        "traceparent": pl.String(),  # W3C header, null where there is none
    }
)

#: Beside RAW where a poll brought a redriven record (``headrace dlq redrive``): offset of the original in the same partition, null for others.
REDRIVEN: Final[dict[str, pl.DataType]] = {"redriven_from": pl.Int64()}

#: Kinds of event, by input topic.
KIND_BY_TOPIC: Final[dict[str, str]] = {
    "agent_events": "agent",
    "tool_executions": "tool",
    "reasoning_traces": "reasoning",
    "workflow_events": "workflow",
    "system_events": "system",
}

#: Columns that hold an identifier chosen by a producer: masked by keyed hash where a recogniser hits inside one.
IDENTIFIERS: Final = (
    "event_id",
    "agent_id",
    "session_id",
    "execution_id",
    "workflow_id",
    "step_id",
    "parent_id",
    "trace_id",
    "span_id",
    "tool_call_id",
)

#: Columns that hold JSON text (any JSON value, compact) which can contain personal data anywhere in it.
CONTENT: Final = ("input", "output", "error", "attributes")

#: Short names chosen by producers from small sets; masked like identifiers, so that nothing personal can hide in them.
NAMES: Final = ("event_type", "tool_name", "model", "status", "step_type")

EVENT: Final = pl.Schema(
    {
        **COORDINATES,
        "kafka_time": pl.Int64(),
        "traceparent": pl.String(),
        # 32 hex digits, schemas.coordinates.event_uid(kind, agent_id, event_id), shared by duplicates. Null before mask, which makes it
        # from the masked ids, so that no unkeyed digest of a personal value ever leaves the pipe.
        "event_uid": pl.String(),
        "content_digest": pl.Int64(),  # keyed 64-bit digest of the record's value bytes: tells a duplicate from a conflict
        "kind": pl.String(),  # agent, tool, reasoning, workflow, system
        "event_id": pl.String(),
        "event_type": pl.String(),
        "event_time": pl.Int64(),  # ms since 1970, UTC
        "agent_id": pl.String(),  # never null: workflow events use workflow_id, system events their service
        "session_id": pl.String(),
        "execution_id": pl.String(),
        "user_id": pl.String(),  # raw before mask; a keyed hash (or what policy says) after it
        "workflow_id": pl.String(),
        "step_id": pl.String(),
        "parent_id": pl.String(),
        "trace_id": pl.String(),
        "span_id": pl.String(),
        "tool_call_id": pl.String(),
        "tool_name": pl.String(),
        "model": pl.String(),
        "status": pl.String(),
        "step_type": pl.String(),  # thought, action, observation
        "step_number": pl.Int64(),
        "depends_on": pl.List(pl.Int64()),
        "latency_us": pl.Int64(),
        "input_tokens": pl.Int64(),
        "output_tokens": pl.Int64(),
        "cost_nano_usd": pl.Int64(),
        "confidence_ppm": pl.Int64(),  # 0..1_000_000
        "input": pl.String(),  # JSON text: agent input_data, tool arguments
        "output": pl.String(),  # JSON text: agent output_data, tool result, reasoning content
        "error": pl.String(),  # JSON text: tool error
        "attributes": pl.String(),  # JSON object text: metadata and keys that the schema does not know
        "value_bytes": pl.Int64(),  # size of the record's value as it came
        **REDRIVEN,
    }
)

#: One piece of a text that was masked; fields of the record ``masked_span`` in ``enriched_event.avsc``. Never the value.
MASKED_SPAN: Final = pl.Struct({"entity": pl.String(), "column": pl.String(), "path": pl.String(), "score": pl.Float64(), "recogniser": pl.String()})

#: Added by ``mask``: what was masked and which raw-value rules hit. Lists are null where nothing was found.
MASKED: Final[dict[str, pl.DataType]] = {
    # What was masked where, with masked paths; null where nothing was
    "masked_spans": pl.List(MASKED_SPAN),
    "masked_count": pl.Int64(),
    # What tokens stand for, sealed, for the vault alone; null where there are none
    "sealed": pl.List(SEALED_VALUE),
    # ids of rules that hit on the raw value inside mask
    "raw_hits": pl.List(pl.String()),
    # JSON text: where and by what they hit (operators.guardrails.evidence); places, never values; null where none did
    "raw_evidence": pl.String(),
    # 32 hex digits: keyed hash of the content columns as they came; equal contents have equal hashes
    "content_hmac": pl.String(),
}

#: Added by ``mask`` as null, filled by the shell where models are asked. Scores are whole parts per million, so that no order can show.
SCORED: Final[dict[str, pl.DataType]] = {
    "injection_ppm": pl.Int64(),  # 0..1_000_000: the largest score over the texts of the event; null where nothing was scored
    "jailbreak_ppm": pl.Int64(),
    "toxicity_ppm": pl.Int64(),
    "scored_by": pl.String(),  # model and version; null where nothing was scored
    "degraded": pl.List(pl.String()),  # models that were away and did without; null otherwise
}

#: Made by the shell before ``mask`` where names are looked for, and gone after it. No value stands in it, only places.
NAMED: Final[dict[str, pl.DataType]] = {
    # JSON text: [[column, leaf, start, end, entity, ppm], ...] by operators.pii.names; null where names were not looked for
    "names": pl.String(),
}

#: Added by ``inspect``: every rule that hit (raw hits included), by rule id.
INSPECTED: Final[dict[str, pl.DataType]] = {"hits": pl.List(pl.String())}

#: Added by ``decide``.
DECIDED: Final[dict[str, pl.DataType]] = {
    "verdict": pl.String(),  # allow, warn, modify, deny, escalate
    "action": pl.String(),  # pass, redact, quarantine, ...
    "policy_id": pl.String(),
    "policy_version": pl.String(),
    # JSON text: what redact takes out of the content, as evidence; null takes out all of it
    "redactions": pl.String(),
}

#: Of MASKED and DECIDED, what only the pipe needs.
INTERNAL: Final = ("sealed", "raw_hits", "raw_evidence", "content_hmac", "redactions")

#: Added by the source: the watermark of the row's own partition as it stood before the row (ms). Alone decides lateness.
ROW_WATERMARK: Final[dict[str, pl.DataType]] = {"row_watermark": pl.Int64()}

#: An event as seen by a quota: one row for each thing that some quota counts by. Made after ``mask`` beside the source, exchanged by ``scope_key``.
SHARED: Final = pl.Schema(
    {
        **COORDINATES,
        "event_uid": pl.String(),  # with the scope in it, so that one event's rows do not pass for duplicates of each other
        "content_digest": pl.Int64(),
        "kind": pl.String(),
        "event_time": pl.Int64(),
        **ROW_WATERMARK,
        "scope": pl.String(),  # agent, user, tool, fleet
        "scope_key": pl.String(),  # masked like the column it comes from
        "failures": pl.Int64(),
        "tokens": pl.Int64(),
        "cost_nano_usd": pl.Int64(),
        "execution_time_us": pl.Int64(),
    }
)

#: A record that cannot go on (disposition "dead") or is left out on purpose (disposition "filtered", e.g. a duplicate).
DEAD: Final = pl.Schema(
    {
        **COORDINATES,
        "kafka_time": pl.Int64(),
        "traceparent": pl.String(),
        "kind": pl.String(),  # null where the record could not be decoded
        "agent_id": pl.String(),  # null before mask: after it, the masked id
        "event_uid": pl.String(),  # null where the record could not be decoded
        "step": pl.String(),  # name of the step that rejected it
        "disposition": pl.String(),  # dead | filtered
        "code": pl.String(),  # a RecordError code, or the reason for filtering (duplicate)
        "reason": pl.String(),  # what was required and what came, without any value
        **REDRIVEN,
    }
)
