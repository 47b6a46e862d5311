"""The audit table on a real server: every row is linked whoever inserts it, nothing is changed quietly, and what was changed is found."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import psycopg
import pytest

from governance.audit_chain import Flaw, follow, genesis
from sinks.audit_table import Connection, append, entries, parts_of, save_anchors, table_head
from sinks.migrate import migrate
from sinks.timescale import TimescaleSink
from streams.audit_check import anchors_of, check_table
from tests.fixtures.outputs import START_MS, records

pytestmark = pytest.mark.integration

KEY = b"a key for the marks of anchors"
#: Takes entries away together with their links.
GONE = (
    "g AS (DELETE FROM audit_links WHERE seq {} RETURNING audit_uid), h AS (DELETE FROM audit_records WHERE audit_uid IN (SELECT audit_uid FROM g))"
)


@pytest.fixture
def dsn(database: str) -> str:
    migrate(database)
    return database


def write(dsn: str, begin: int, end: int) -> None:
    lane = TimescaleSink(dsn).open_lane(0, 1, b"")
    lane.write({"audit_log": records("audit_log", end - begin, first=begin)}, 10)
    lane.close()


def flaws(connection: Connection) -> list[Flaw]:
    return [finding.flaw for finding in check_table(connection, anchors_of(connection, KEY)).findings]


def forced(connection: Connection, statement: str) -> None:
    """Does what the owner of the tables can do."""
    for table in ("audit_records", "audit_links", "audit_anchors"):
        connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL".encode())
    connection.execute(statement.encode())


def test_rows_are_linked_once_and_a_replay_adds_none(dsn: str) -> None:
    write(dsn, 0, 20)
    write(dsn, 10, 30)
    with psycopg.connect(dsn) as connection:
        report = check_table(connection, [])
        assert report.findings == []
        assert report.entries == 30
        assert table_head(connection) == report.head


def test_the_database_computes_the_chain_as_the_code_does(dsn: str) -> None:
    entry = {
        "audit_uid": "é",
        "event_time": START_MS + 1,
        "what": "reveal",
        "service": "cli",
        "agent_id": "headrace",
        "result": "done",
        "rules": ["a", "b"],
    }
    with psycopg.connect(dsn) as connection:
        append(connection, entry)
        append(connection, entry)  # the same again adds nothing
        (found,) = entries(connection)
        assert found.stated is not None
        assert found.stated.link == follow(genesis("table"), parts_of(entry))


def test_writers_at_once_make_one_line(dsn: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: [write(dsn, 100 * number + 10 * part, 100 * number + 10 * part + 10) for part in range(4)], range(4)))
    with psycopg.connect(dsn) as connection:
        report = check_table(connection, [])
        assert (report.findings, report.entries) == ([], 160)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_records SET result = 'allow'",
        "DELETE FROM audit_records",
        "TRUNCATE audit_links",
        "UPDATE audit_anchors SET seq = 0",
        "DELETE FROM audit_links",
    ],
)
def test_rows_are_added_and_never_changed(dsn: str, statement: str) -> None:
    write(dsn, 0, 3)
    with psycopg.connect(dsn) as connection, pytest.raises(psycopg.errors.RaiseException, match="append-only"):
        connection.execute(statement.encode())


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT 1", set()),
        ("UPDATE audit_records SET result = 'other' WHERE audit_uid LIKE '%04'", {Flaw.EDITED}),
        ("UPDATE audit_records SET person = NULL, detail = 'x' WHERE audit_uid LIKE '%04'", {Flaw.EDITED}),
        ("DELETE FROM audit_records WHERE audit_uid LIKE '%04'", {Flaw.EDITED}),
        (
            f"WITH {GONE.format('> 6')} UPDATE audit_heads SET seq = 6, hash = (SELECT hash FROM audit_links WHERE seq = 6)",
            {Flaw.TRUNCATED},
        ),
        ("UPDATE audit_anchors SET seq = 4", {Flaw.FORGED_ANCHOR}),
    ],
)
def test_what_is_done_to_the_table_is_found(dsn: str, statement: str, expected: set[Flaw]) -> None:
    write(dsn, 0, 10)
    with psycopg.connect(dsn) as connection:
        save_anchors(connection, {"table": table_head(connection)}, KEY, datetime.now(UTC))
        forced(connection, statement)
        assert set(flaws(connection)) == expected
