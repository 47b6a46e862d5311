"""The audit entries of policies: which one judges from a start on, and which one took over where."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from typing import Final

import polars as pl

from governance.policy import Policy
from operators.audit import TOPIC
from schemas.coordinates import audit_uid
from schemas.frames import output_schema
from sinks.contract import OutputBatch
from streams.policy_marks import PolicyMark

#: Message key of the entry.
POLICY_KEY: Final = "headrace"


def _now_ms(_uid: str) -> int:
    return time.time_ns() // 1_000_000


def policy_in_force(pipeline: str, policy: Policy, resumed: str | None, began_at: Callable[[str], int] = _now_ms) -> OutputBatch:
    """Gives the entry that says which policy judges.

    Args:
        pipeline: Name of the pipeline.
        policy: The policy.
        resumed: The snapshot that is resumed from; None at a first start. A start that dies before its first snapshot and the one after it resume
            from the same, so that there is one entry of both.
        began_at: Gives the time of an entry, ms: the same whenever it is asked for the same id, also by another life. A table keys rows by both.
            The clock will do where what a dead life wrote is never seen.
    """
    schema = output_schema(TOPIC)
    snapshot = "none" if resumed is None else hashlib.sha256(resumed.encode()).hexdigest()[:32]
    uid = audit_uid("policy", pipeline, policy.digest, snapshot)
    entry = {
        "audit_uid": uid,
        "event_time": began_at(uid),
        "what": "policy",
        "service": "run",
        "agent_id": POLICY_KEY,
        "result": "in_force",
        "policy_id": policy.id,
        "policy_version": policy.version,
        "detail": json.dumps({"pipeline": pipeline, "policy_digest": policy.digest}, sort_keys=True),
    }
    return {TOPIC: pl.DataFrame([{name: entry.get(name) for name in schema}], schema=schema)}


def policies_took_over(pipeline: str, marks: Sequence[tuple[PolicyMark, Policy, int]]) -> pl.DataFrame:
    """Gives the entries that say from which offset on another policy judges. They are of the records: a replay gives the same ids.

    Args:
        pipeline: Name of the pipeline.
        marks: The recorded marks, each with its policy and the time of the first record that it judged.
    """
    schema = output_schema(TOPIC)
    rows = [
        dict.fromkeys(schema)
        | {
            "audit_uid": audit_uid("policy", pipeline, mark.digest, mark.topic, str(mark.partition), str(mark.offset)),
            "event_time": at_ms,
            "what": "policy",
            "service": "reload",
            "agent_id": "headrace",
            "topic": mark.topic,
            "partition": mark.partition,
            "offset": mark.offset,
            "result": "in_force",
            "policy_id": policy.id,
            "policy_version": policy.version,
            "detail": json.dumps({"pipeline": pipeline, "policy_digest": mark.digest}, sort_keys=True),
        }
        for mark, policy, at_ms in marks
    ]
    return pl.DataFrame(rows, schema=schema)
