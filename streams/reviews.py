"""Reviews: what a person says about held events, and the release of what was approved.

Approving is one transaction in PostgreSQL: the history gets a row, the review is closed, and an outbox remembers from where in the output topics a
release must look for itself. Releasing comes after it and may be cut off anywhere: it fences whoever released before (one transactional id), reads
the topics from that place, and writes only what is not there, in one Kafka transaction. Only then the outbox is told. So a release happens once.
"""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import polars as pl
import psycopg
from psycopg.rows import DictRow, dict_row

from governance.limits import Command
from governance.verdict import Action
from schemas.coordinates import control_uid, release_uid
from schemas.errors import ConfigError
from schemas.frames import output_schema
from sinks.errors import postgres_failure
from sinks.kafka import KafkaSink
from streams.failpoints import Failpoints

Connection = psycopg.Connection[DictRow]

#: Topics that a release writes; the sink of a release looks at no other.
RELEASED: Final = ("agent_control", "enriched_events", "reviews")
STATES: Final = ("open", "approved", "denied", "expired")

_DEADLINE_S: Final = 30.0
_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtext('headrace review release'))"
_COLUMNS: Final = "review_uid, state, agent_id, kind, tool_name, event_time, expires_at, rules, action, policy_id, policy_version"
_CLOSED: Final = "UPDATE reviews SET state = %(state)s, revision = 2 WHERE review_uid = %(review_uid)s"
_HISTORY: Final = "INSERT INTO review_history (review_uid, state, operator, why) VALUES (%(review_uid)s, %(state)s, %(operator)s, %(why)s)"
_LOOKED: Final = "SELECT headrace_audit_look(%s, %s, %s, %s)"
_WAITING: Final = """
SELECT r.*, o.position FROM review_releases o JOIN reviews r USING (review_uid) WHERE o.released_at IS NULL ORDER BY r.review_uid
"""


@contextmanager
def review_database(dsn: str) -> Iterator[Connection]:
    """Within the body: a connection without an open transaction.

    Raises:
        RetryableError: The database is away.
        FatalError: It refuses the login, the role may not do this, or the tables are not there.
    """
    failure = None
    try:
        with psycopg.connect(dsn, connect_timeout=10, autocommit=True, row_factory=dict_row, application_name="headrace review") as connection:
            yield connection
    except psycopg.Error as error:
        failure = postgres_failure(error, "review")
    if failure is not None:
        raise failure


def expire(connection: Connection) -> int:
    """Closes the open reviews whose time has passed; gives their number."""
    with connection.transaction():
        due = connection.execute("SELECT review_uid FROM reviews WHERE state = 'open' AND expires_at <= now() FOR UPDATE").fetchall()
        for row in due:
            _close(connection, row["review_uid"], "expired", "policy", "nobody decided in time")
    return len(due)


def listed(connection: Connection, state: str | None) -> list[dict[str, Any]]:
    """Gives the reviews in a state, or all, the oldest first; who asked is in the audit log before they are given."""
    where = "" if state is None else "WHERE state = %(state)s "
    found = connection.execute(f"SELECT {_COLUMNS} FROM reviews {where}ORDER BY event_time, review_uid".encode(), {"state": state}).fetchall()
    connection.execute(_LOOKED, (getpass.getuser(), "listed", state or "all", len(found)))
    return found


def shown(connection: Connection, review_uid: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Gives a review and its history; who asked is in the audit log before they are given.

    Raises:
        ConfigError: There is no such review.
    """
    found = _found(connection, review_uid), connection.execute("SELECT * FROM review_history WHERE review_uid = %s", (review_uid,)).fetchall()
    connection.execute(_LOOKED, (getpass.getuser(), "shown", review_uid, 1))
    return found


def deny(connection: Connection, review_uid: str, why: str, operator: str | None = None) -> None:
    """Closes a review; what was held stays held.

    Raises:
        ConfigError: There is no such review, or it is closed.
    """
    with connection.transaction():
        _open(connection, review_uid)
        _close(connection, review_uid, "denied", operator or getpass.getuser(), why)


def approve(connection: Connection, review_uid: str, why: str, position: bytes, operator: str | None = None) -> None:
    """Closes a review and wants its event released; ``release`` does it.

    Args:
        connection: To the database.
        review_uid: The review.
        why: What the reviewer says.
        position: ``begin()`` of the sink that releases, taken before.
        operator: Who says so; None takes the name of the user of this process.

    Raises:
        ConfigError: There is no such review, or it is closed.
    """
    with connection.transaction():
        _open(connection, review_uid)
        _close(connection, review_uid, "approved", operator or getpass.getuser(), why)
        connection.execute("INSERT INTO review_releases (review_uid, position) VALUES (%s, %s)", (review_uid, position))


def release(connection: Connection, sink: KafkaSink, failpoints: Failpoints) -> int:
    """Releases what was approved and is not released; gives the number of events. May be called again after any failure."""
    with connection.transaction():
        connection.execute(_LOCK)
        waiting = connection.execute(_WAITING).fetchall()
        for review in waiting:
            lane = sink.open_lane(0, 1, bytes(review["position"]))
            try:
                lane.write(released(review), _DEADLINE_S)
            finally:
                lane.close()
            failpoints.hit("after_release")
            connection.execute("UPDATE review_releases SET released_at = now() WHERE review_uid = %s", (review["review_uid"],))
    return len(waiting)


def released(review: Mapping[str, Any]) -> dict[str, pl.DataFrame]:
    """Gives the records that go out when a review was approved: the event, the closed review, and ``resume`` where the event paused its agent."""
    event = {"masked_spans": None, "redriven_from": None} | json.loads(review["held"])  # held by an earlier version: it told them as text
    times = {name: int(review[name].timestamp() * 1000) for name in ("event_time", "expires_at")}
    out = {
        "enriched_events": event | {"event_uid": release_uid(event["event_uid"]), "released_from": event["event_uid"], "action": Action.PASS.value},
        "reviews": {**review, **times, "state": "approved", "revision": 2, "held": None},
    }
    if review["action"] in (Action.PAUSE_AGENT, Action.STOP_AGENT):
        out["agent_control"] = {
            **event,
            "control_uid": control_uid(review["review_uid"], Command.RESUME),
            "target_kind": "agent",
            "target": event["agent_id"],
            "command": Command.RESUME.value,
            "issued_at": event["event_time"],
            "until": None,
            "reasons": review["rules"],
        }
    return {topic: _frame(topic, record) for topic, record in out.items()}


def _frame(topic: str, record: Mapping[str, Any]) -> pl.DataFrame:
    schema = output_schema(topic)
    return pl.DataFrame([[record[name] for name in schema]], schema=schema, orient="row")


def _found(connection: Connection, review_uid: str, lock: str = "") -> dict[str, Any]:
    found = connection.execute(f"SELECT * FROM reviews WHERE review_uid = %s {lock}".encode(), (review_uid,)).fetchone()
    if found is None:
        raise ConfigError(f"review {review_uid}: there is none of this id; `headrace review list` shows them")
    return found


def _open(connection: Connection, review_uid: str) -> None:
    state = _found(connection, review_uid, "FOR UPDATE")["state"]
    if state != "open":
        raise ConfigError(f"review {review_uid}: must be open, is {state}; a review is closed once")


def _close(connection: Connection, review_uid: str, state: str, operator: str, why: str) -> None:
    values = {"review_uid": review_uid, "state": state, "operator": operator, "why": why}
    connection.execute(_HISTORY, values)
    connection.execute(_CLOSED, values)
