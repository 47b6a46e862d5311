"""A database that restarts, is read-only or full, holds locks or ends deadlocks: the pipeline waits for it, and each row is there once."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from streams.embedded.kafka import KafkaBroker
from streams.embedded.ports import free_ports
from streams.embedded.postgres import PostgresServer
from tests.chaos.delivered import Leaks
from tests.chaos.load import known_canaries
from tests.chaos.scene import under_load
from tests.chaos.small_disk import small_disk
from tests.chaos.test_kills import SETTINGS
from tests.fixtures.deployment import make_deployment
from tests.fixtures.probes import eventually
from tests.integration.pipeline.test_faults import not_ready

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900)]

_LOCKED_S = 3.0


@contextmanager
def restarted(server: PostgresServer, _folder: Path) -> Iterator[str]:
    server.restart()
    yield ""


@contextmanager
def killed(server: PostgresServer, _folder: Path) -> Iterator[str]:
    server.kill()
    yield "timescale"
    server.restart()


@contextmanager
def read_only(server: PostgresServer, _folder: Path) -> Iterator[str]:
    _do(server, "alter system set default_transaction_read_only = on", "select pg_reload_conf()")
    yield "25006"
    _do(server, "set default_transaction_read_only = off", "alter system reset default_transaction_read_only", "select pg_reload_conf()")


@contextmanager
def out_of_disk(server: PostgresServer, _folder: Path) -> Iterator[str]:
    """The tables lie on a small file system, which somebody fills."""
    home = Path(tempfile.mkdtemp(prefix="headrace-space-", dir="/var/tmp"))
    home.chmod(0o711)  # the server runs as a user who may not look into a test's own folder
    with small_disk(home / "space", 256) as disk:
        place = disk.path / "tables"
        place.mkdir()
        owner = (server.home / "data").stat()
        os.chown(place, owner.st_uid, owner.st_gid)
        _do(server, f"create tablespace small location '{place}'")
        tables = ("metric_windows", "guardrail_decisions", "alerts", "audit_records", "audit_links")
        for table in tables:
            _do(server, f"alter table {table} set tablespace small")
        with disk.full():
            yield "53100"
        for table in tables:
            _do(server, f"alter table {table} set tablespace pg_default")
        _do(server, "drop tablespace small")
    shutil.rmtree(home)


@contextmanager
def locked(server: PostgresServer, _folder: Path) -> Iterator[str]:
    with psycopg.connect(server.dsn) as connection:
        connection.execute("lock table metric_windows in access exclusive mode")
        time.sleep(_LOCKED_S)
        yield ""


#: A backend of the pipeline that waits for a table that we hold, and a table that it holds itself.
_WAITING = """
select c.relname from pg_locks w join pg_locks h using (pid) join pg_class c on c.oid = h.relation
where not w.granted and h.granted and h.mode = 'RowExclusiveLock' and c.relname in ('metric_windows', 'guardrail_decisions', 'alerts') limit 1
"""


@contextmanager
def deadlocked(server: PostgresServer, _folder: Path) -> Iterator[str]:
    """Holds what a write takes last, and asks for what the write that waits for it has taken."""
    end = time.monotonic() + 120
    while _deadlocks(server) < 2:
        assert time.monotonic() < end, "no deadlock came about"
        with psycopg.connect(server.dsn) as connection:
            connection.execute("lock table audit_records, dead_letters in share row exclusive mode")
            for _ in range(100):
                found = connection.execute(_WAITING).fetchone()
                if found is not None:
                    with suppress(psycopg.errors.DeadlockDetected):
                        connection.execute(f"lock table {found[0]} in share row exclusive mode")  # type: ignore[arg-type]
                    connection.rollback()
                    break
                time.sleep(0.01)
    yield ""


def _deadlocks(server: PostgresServer) -> int:
    with psycopg.connect(server.dsn) as connection:
        row = connection.execute("select deadlocks from pg_stat_database where datname = current_database()").fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("fault", [restarted, killed, read_only, out_of_disk, locked, deadlocked])
def test_a_database_that_fails_costs_nothing(fault, kafka: KafkaBroker, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (port,) = free_ports(1)
    with PostgresServer(fsync=False, settings={"deadlock_timeout": "100ms"}) as server:
        deployment = make_deployment(kafka, server.dsn, tmp_path)
        deployment.settings = {**SETTINGS, "http": {"port": port}, "sink": {"deadline_ms": 2_000}}
        with under_load(deployment, fault.__name__) as (life, leaks), fault(server, tmp_path) as says:
            if says:
                eventually(lambda: says in not_ready(port) or says in life.said, f"a run that says {says}", 60)
                leaks.look([("page", not_ready(port).encode())])
        log = Leaks(one.value for one in known_canaries()[::6])
        log.look([("log of the database", server.log.read_bytes())])
        log.assert_none()


def _do(server: PostgresServer, *statements: str) -> None:
    with psycopg.connect(server.dsn, autocommit=True, options="-c default_transaction_read_only=off") as connection:
        for statement in statements:
            connection.execute(statement)  # type: ignore[arg-type]
