"""Audit: what policy did not plainly allow is written down once, with who, what, policy and result."""

from __future__ import annotations

import polars as pl

from operators.audit import Audit
from schemas.coordinates import audit_uid
from schemas.events import DECIDED, EVENT, INSPECTED, MASKED, ROW_WATERMARK, SCORED

SCHEMA = pl.Schema({**EVENT, **ROW_WATERMARK, **MASKED, **SCORED, **INSPECTED, **DECIDED})


def decided(**rows: str) -> pl.DataFrame:
    made = [
        {
            "topic": "agent_events",
            "partition": 1,
            "offset": number,
            "event_uid": uid,
            "event_time": 5,
            "agent_id": "a",
            "user_id": "u",
            "hits": ["r1"] if verdict != "allow" else None,
            "verdict": verdict,
            "action": "pass",
            "policy_id": "p",
            "policy_version": "3",
        }
        for number, (uid, verdict) in enumerate(rows.items())
    ]
    return pl.DataFrame(made, schema=SCHEMA)


def test_every_verdict_but_allow_becomes_one_entry() -> None:
    rows = decided(e1="allow", e2="deny", e3="warn")
    outcome = Audit()(rows)
    assert outcome.batch is rows
    entries = outcome.outputs["audit_log"]
    assert entries.select("audit_uid", "result").rows() == [(audit_uid("decision", "e2"), "deny"), (audit_uid("decision", "e3"), "warn")]
    assert entries.row(0, named=True) == {
        "audit_uid": audit_uid("decision", "e2"),
        "event_time": 5,
        "what": "decision",
        "service": "decide",
        "agent_id": "a",
        "person": "u",
        "event_uid": "e2",
        "topic": "agent_events",
        "partition": 1,
        "offset": 1,
        "rules": ["r1"],
        "result": "deny",
        "action": "pass",
        "policy_id": "p",
        "policy_version": "3",
        "detail": None,
    }


def test_nothing_is_put_out_where_all_was_allowed() -> None:
    assert Audit()(decided(e1="allow")).outputs == {}
