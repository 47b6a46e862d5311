"""The roles of the database: a writer's login runs the whole job, and none of the roles may do more than its work needs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from streams.embedded.postgres import PostgresServer
from streams.fleet.book import Book
from streams.fleet.fleet import Fleet
from tests.fixtures.deployment import Deployment

pytestmark = pytest.mark.integration

PASSWORD = "a-password-for-tests"
LOGINS = {"viewer": "dashboard_login", "writer": "pipeline_login", "revealer": "privacy_login"}


@pytest.fixture
def logins(deployment: Deployment, postgres: PostgresServer) -> Iterator[dict[str, str]]:
    """Gives a connection string a role, on the deployment's database."""
    with psycopg.connect(deployment.dsn, autocommit=True) as connection:
        for role, login in LOGINS.items():
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(login), sql.Literal(PASSWORD)))
            connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(f"headrace_{role}"), sql.Identifier(login)))
    database = deployment.dsn.rpartition("/")[2]
    yield {role: f"postgresql://{login}:{PASSWORD}@127.0.0.1:{postgres.port}/{database}" for role, login in LOGINS.items()}
    with psycopg.connect(deployment.dsn, autocommit=True) as connection:
        for login in LOGINS.values():
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(login)))


def may(dsn: str, statement: str) -> bool:
    with psycopg.connect(dsn, autocommit=True) as connection:
        try:
            connection.execute(statement)  # type: ignore[arg-type]
        except psycopg.errors.InsufficientPrivilege:
            return False
    return True


def test_a_writers_login_runs_the_whole_job(deployment: Deployment, logins: dict[str, str]) -> None:
    records = list(itertools.islice(Fleet(seed=3, agents=8, rate=200.0, base_time_ms=1_700_000_000_000).records(), 300))
    book = Book(window_ms=10_000)
    for record in records:
        book.add(record)
    deployment.publish(records)
    owner, deployment.dsn = deployment.dsn, logins["writer"]
    done = deployment.headrace("run", "--until-end")
    assert done.returncode == 0, done.stderr[-3000:]
    deployment.dsn = owner
    assert len(deployment.topic("enriched_events")) == book.passed.total()
    for topic, table in (("guardrail_decisions", "guardrail_decisions"), ("audit_log", "audit_records"), ("dead_letters", "dead_letters")):
        rows = len(deployment.topic(topic))
        assert len(deployment.table(table, ["policy_version" if table != "dead_letters" else "code"])) == rows > 0, table


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        ("SELECT count(*) FROM guardrail_decisions", {"viewer", "writer"}),
        ("SELECT count(*) FROM audit_records", {"viewer", "writer"}),
        ("UPDATE metric_windows SET revision = revision WHERE false", {"writer"}),
        ("SELECT count(*) FROM vault.person_keys", {"writer"}),
        ("SELECT count(*) FROM vault.tokens", {"writer"}),
        ("SELECT count(*) FROM vault.reveals", set()),
        ("SELECT vault.ask('mia', 'a token', 'a purpose', 'a policy', '1')", {"revealer"}),
        ("DELETE FROM vault.tokens WHERE false", set()),
        ("UPDATE vault.reveals SET token = token WHERE false", set()),
        ("DELETE FROM guardrail_decisions WHERE false", set()),
        ("TRUNCATE alerts", set()),
        ("UPDATE audit_records SET what = what WHERE false", set()),
        ("DELETE FROM audit_links WHERE false", set()),
        ("UPDATE audit_anchors SET seq = seq WHERE false", set()),
        ("DELETE FROM vault.person_keys WHERE false", set()),
        ("ALTER TABLE alerts ADD COLUMN more text", set()),
        ("CREATE TABLE mine (x int)", set()),
        ("INSERT INTO headrace_migrations VALUES (999, 'x', 'x')", set()),
    ],
)
def test_each_role_may_what_its_work_needs(logins: dict[str, str], statement: str, allowed: set[str]) -> None:
    assert {role for role, dsn in logins.items() if may(dsn, statement)} == allowed


def test_what_a_later_migration_adds_is_readable_by_the_viewer(deployment: Deployment, logins: dict[str, str]) -> None:
    with psycopg.connect(deployment.dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE later (x int)")
    assert {role for role, dsn in logins.items() if may(dsn, "SELECT * FROM later")} == {"viewer", "writer"}
