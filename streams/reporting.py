"""The compliance report, from PostgreSQL: what was processed, masked and blocked, how long it is kept and why, who read or erased what."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

import psycopg

from governance.policy import Policy
from governance.retention import Kind
from schemas.topics import OUTPUTS
from sinks.errors import postgres_failure
from sinks.tables import stored_tables
from streams.audit_check import anchors_of, check_table
from streams.retaining import strictest

_PROCESSED: Final = """
SELECT coalesce(sum(events), 0)::bigint, coalesce(sum(errors), 0)::bigint, count(*), count(DISTINCT agent_id)
FROM metric_windows WHERE window_start >= %s AND window_start < %s
"""
_MASKED: Final = """
SELECT entity.key, sum(entity.value::bigint)::bigint FROM audit_records, jsonb_each_text(detail::jsonb -> 'masked') AS entity
WHERE what = 'masks' AND event_time >= %s AND event_time < %s GROUP BY 1 ORDER BY 1
"""
_VERDICTS: Final = """
SELECT verdict || ' ' || enforcement, count(*) FROM guardrail_decisions WHERE event_time >= %s AND event_time < %s GROUP BY 1 ORDER BY 1
"""
_BLOCKED: Final = """
SELECT rule, count(*) FROM guardrail_decisions, unnest(hits) AS rule
WHERE enforcement = 'enforced' AND verdict IN ('modify', 'deny', 'escalate') AND event_time >= %s AND event_time < %s GROUP BY 1 ORDER BY 1
"""
_POLICIES: Final = """
SELECT DISTINCT policy_id || ' ' || policy_version, 1 FROM audit_records
WHERE what IN ('policy', 'decision') AND event_time >= %s AND event_time < %s AND policy_id IS NOT NULL ORDER BY 1
"""
_DEAD: Final = "SELECT code, count(*) FROM dead_letters WHERE kafka_time >= %s AND kafka_time < %s GROUP BY 1 ORDER BY 1"
_ACTS: Final = """
SELECT what, event_time, service, result, detail FROM audit_records
WHERE what IN ('reveal', 'erasure', 'retention', 'review', 'dead_letters') AND event_time >= %s AND event_time < %s ORDER BY event_time, audit_uid
"""

Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class KeptPlace:
    """How long a place is kept, and for which purpose."""

    place: str
    days: int | None
    purpose: str


@dataclass(frozen=True, slots=True)
class Act:
    """Something that a person did."""

    what: str
    at: str
    by: str
    result: str
    detail: str | None


@dataclass(frozen=True, slots=True)
class Report:
    """One report; counts only, no values.

    Attributes:
        begin: First instant, ISO 8601.
        end: First instant after it.
        purpose: What the data may be used for, as the policy says.
        policies: Policies that were in force, id and version.
        processed: Events, errors, windows, agents.
        masked: Spans by entity.
        verdicts: Decisions by verdict and how they took effect.
        blocked: Enforced decisions by rule.
        dead: Records that could not go on, by code.
        kept: Each table, how long and for which purpose.
        acts: Reveals, erasures, retention, reviews and what was done about dead letters.
        audit_entries: Entries of the audit table, of all time.
        audit_head: Number and hash of the last one.
        audit_findings: What is wrong with the chain; empty where it holds.
    """

    begin: str
    end: str
    purpose: str
    policies: tuple[str, ...]
    processed: dict[str, int]
    masked: dict[str, int]
    verdicts: dict[str, int]
    blocked: dict[str, int]
    dead: dict[str, int]
    kept: tuple[KeptPlace, ...]
    acts: tuple[Act, ...]
    audit_entries: int
    audit_head: str
    audit_findings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Gives the report as JSON takes it."""
        return asdict(self)


def report_of(dsn: str, policy: Policy, key: bytes, begin: datetime, end: datetime) -> Report:
    """Gives the report for a time, by event time; of dead letters by the time of their record.

    Args:
        dsn: The database.
        policy: What says how long things are kept, and for which purpose.
        key: Key of the anchors' marks.
        begin: First instant.
        end: First instant after it.

    Raises:
        RetryableError: The database is away.
        FatalError: It refuses, or has not been migrated.
    """
    failure = None
    try:
        with psycopg.connect(dsn, connect_timeout=10, application_name="headrace report") as connection:
            return _report(connection, policy, key, begin, end)
    except psycopg.Error as error:
        failure = postgres_failure(error, "report")
    raise failure


def _report(connection: Connection, policy: Policy, key: bytes, begin: datetime, end: datetime) -> Report:
    def counted(query: str) -> dict[str, int]:
        return {str(name): int(count) for name, count in connection.execute(query.encode(), (begin, end)).fetchall()}

    chain = check_table(connection, anchors_of(connection, key), may_begin_late=True)
    processed = connection.execute(_PROCESSED, (begin, end)).fetchone()
    assert processed is not None
    acts = connection.execute(_ACTS, (begin, end)).fetchall()
    return Report(
        begin=begin.isoformat(),
        end=end.isoformat(),
        purpose=policy.purpose,
        policies=tuple(counted(_POLICIES)),
        processed=dict(zip(("events", "errors", "windows", "agents"), map(int, processed), strict=True)),
        masked=counted(_MASKED),
        verdicts=counted(_VERDICTS),
        blocked=counted(_BLOCKED),
        dead=counted(_DEAD),
        kept=_kept(policy),
        acts=tuple(Act(what, at.isoformat(), service, result, detail) for what, at, service, result, detail in acts),
        audit_entries=chain.entries,
        audit_head=f"{chain.head.seq} {chain.head.hash.hex()}",
        audit_findings=tuple(f"{finding.flaw.value}: {finding.place}: {finding.words}" for finding in chain.findings),
    )


def _kept(policy: Policy) -> tuple[KeptPlace, ...]:
    places = []
    for topic, table in stored_tables().items():
        keep = policy.retention.of(Kind.TABLE, table.name, None if OUTPUTS[topic].chained else strictest(OUTPUTS[topic].schema))
        places.append(KeptPlace(f"table {table.name}", None if keep is None else keep.days, policy.purpose if keep is None else keep.purpose))
    return tuple(places)


def as_markdown(report: Report) -> str:
    """Gives the report for people."""
    lines = [f"# Compliance report, {report.begin} to {report.end}", "", f"Purpose: {report.purpose}", ""]
    lines += [f"Policies in force: {', '.join(report.policies) or 'none recorded'}", ""]
    for title, head, counts in (
        ("Processed", "what", report.processed),
        ("Masked", "entity", report.masked),
        ("Decisions", "verdict", report.verdicts),
        ("Blocked", "rule", report.blocked),
        ("Could not go on", "code", report.dead),
    ):
        lines += [f"## {title}", "", *([f"| {head} | count |", "| --- | --- |"] if counts else ["None."])]
        lines += [f"| {name} | {count} |" for name, count in counts.items()] + [""]
    lines += ["## Kept", "", "| place | days | purpose |", "| --- | --- | --- |"]
    lines += [f"| {one.place} | {'not limited by policy' if one.days is None else one.days} | {one.purpose} |" for one in report.kept]
    lines += ["", "## Reveals, erasures, retention, reviews", ""]
    lines += [f"- {act.at} {act.what} by {act.by}: {act.result}" for act in report.acts] or ["None."]
    state = "whole" if not report.audit_findings else f"NOT whole, {len(report.audit_findings)} findings"
    lines += ["", "## Audit log", "", f"{report.audit_entries} entries, head {report.audit_head}: {state}."]
    lines += [f"- {finding}" for finding in report.audit_findings]
    return "\n".join(lines) + "\n"
