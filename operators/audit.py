"""Audit: verdicts that are no plain allow, and commands to agents, as entries of the audit log."""

from __future__ import annotations

from typing import Final

import polars as pl

from governance.verdict import Verdict
from operators.contract import Outcome
from schemas.coordinates import audit_uid
from schemas.events import COORDINATES
from schemas.frames import output_schema

TOPIC: Final = "audit_log"
_SCHEMA: Final = output_schema(TOPIC)
_QUIET: Final = Verdict.ALLOW.value


class Audit:
    """Puts out one entry for each event that policy did not plainly allow: person, agent, rules, verdict, action, policy.

    The entry names the person by the masked id of the event; the shell puts an HMAC under the person's own key in its place before anything is
    written (``streams/audit_persons.py``).

    Shapes: rows with DECIDED; the same rows. Output ``audit_log``.
    """

    name: Final = "audit"

    def __call__(self, batch: pl.DataFrame) -> Outcome:
        """Maps one batch; every row goes on."""
        judged = batch.filter(pl.col("verdict") != _QUIET)
        return Outcome(batch, outputs={TOPIC: _entries(judged)} if judged.height else {})


def _entries(judged: pl.DataFrame) -> pl.DataFrame:
    uids = [audit_uid("decision", uid) for uid in judged["event_uid"]]
    columns: dict[str, pl.Series | pl.Expr] = {
        "audit_uid": pl.Series(uids, dtype=pl.String),
        "event_time": pl.col("event_time"),
        "what": pl.lit("decision"),
        "service": pl.lit("decide"),
        "agent_id": pl.col("agent_id"),
        "person": pl.col("user_id"),
        "event_uid": pl.col("event_uid"),
        **{name: pl.col(name) for name in COORDINATES},
        "rules": pl.col("hits"),
        "result": pl.col("verdict"),
        "action": pl.col("action"),
        "policy_id": pl.col("policy_id"),
        "policy_version": pl.col("policy_version"),
        "detail": pl.lit(None, dtype=pl.String),
    }
    return judged.select(**columns).select(_SCHEMA.names()).cast(_SCHEMA)


def of_commands(commands: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Gives the entries of commands to agents: who is commanded, what, why, under which policy. Nothing where there is no command.

    Args:
        commands: Rows of ``agent_control``. A command about a user names the person, as the entry of a decision does.
    """
    if commands.is_empty():
        return {}
    kind = pl.col("target_kind")
    columns: dict[str, pl.Series | pl.Expr] = {
        "audit_uid": pl.Series([audit_uid("action", uid) for uid in commands["control_uid"]], dtype=pl.String),
        "event_time": pl.col("issued_at"),
        "what": pl.lit("action"),
        "service": pl.lit("agent_control"),
        "agent_id": pl.when(kind == "agent").then(pl.col("target")).otherwise(pl.lit("headrace")),
        "person": pl.when(kind == "user").then(pl.col("target")),
        "event_uid": pl.col("event_uid"),
        "rules": pl.col("reasons"),
        "result": pl.lit("issued"),
        "action": pl.col("command"),
        "policy_id": pl.col("policy_id"),
        "policy_version": pl.col("policy_version"),
        "detail": pl.concat_str(pl.lit('{"target_kind":"'), kind, pl.lit('"}')),
    }
    made = commands.select(**columns)
    absent = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in _SCHEMA.items() if name not in columns]
    return {TOPIC: made.with_columns(absent).select(_SCHEMA.names()).cast(_SCHEMA)}
