"""The embedded server is a real one: crash safety, a password, loopback only, gone with its parent, never root."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from schemas.errors import ConfigError
from streams.embedded.ports import accepts
from streams.embedded.postgres import PostgresServer
from streams.embedded.postgres_install import find_programs
from tests.fixtures.probes import eventually, exists, listening

pytestmark = pytest.mark.integration


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that every user can reach, as pytest's own under root are not."""
    path = Path(tempfile.mkdtemp(prefix="headrace-test-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


def values(dsn: str) -> list[int]:
    with psycopg.connect(dsn) as connection:
        return [row[0] for row in connection.execute("select value from kept order by value")]


def test_committed_rows_outlive_a_kill_and_a_new_server_on_the_same_directory(open_directory: Path) -> None:
    with PostgresServer(open_directory, fsync=False) as server:
        with psycopg.connect(server.dsn) as connection:
            connection.execute("create table kept (value int)")
            connection.execute("insert into kept values (1)")
        before, killed = server.dsn, server.pid
        interrupted = psycopg.connect(server.dsn)
        interrupted.execute("insert into kept values (99)")
        server.kill()
        interrupted.close()
        assert server.pid is None
        server.restart()
        assert server.dsn == before
        assert server.pid != killed
        assert values(server.dsn) == [1]
    with PostgresServer(open_directory, fsync=False) as successor:
        assert values(successor.dsn) == [1]


def test_the_server_listens_on_the_loopback_address_only(postgres: PostgresServer) -> None:
    assert postgres.pid is not None
    assert listening(postgres.pid) == {("127.0.0.1", postgres.port)}


def test_the_server_never_runs_as_root(postgres: PostgresServer) -> None:
    status = Path(f"/proc/{postgres.pid}/status").read_text().splitlines()
    users = next(line.split()[1:] for line in status if line.startswith("Uid:"))
    assert "0" not in users


def test_a_wrong_password_is_refused_and_the_right_one_is_kept_from_other_users(postgres: PostgresServer) -> None:
    wrong = psycopg.conninfo.make_conninfo(postgres.dsn, password="guess")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)
    kept = (postgres.home / "password").stat()
    assert (stat.S_IMODE(kept.st_mode), kept.st_uid) == (0o600, os.geteuid())


def test_the_server_log_holds_no_value_of_a_refused_statement(postgres: PostgresServer, database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("create table people (name text primary key)")
        connection.execute("insert into people values ('Ada Lovelace')")
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("insert into people values ('Ada Lovelace')")
    text = postgres.log.read_text()
    assert "people_pkey" in text
    assert "Lovelace" not in text


def test_each_test_gets_an_empty_database(database: str) -> None:
    with psycopg.connect(database) as connection:
        count = connection.execute("select count(*) from pg_class where relnamespace = 'public'::regnamespace").fetchone()
    assert count == (0,)


def test_the_server_and_its_backends_die_when_the_parent_is_killed(open_directory: Path, pytestconfig: pytest.Config) -> None:
    program = (
        "import json, signal, sys; from pathlib import Path; from streams.embedded.child import descendants\n"
        "from streams.embedded.postgres import PostgresServer\n"
        "with PostgresServer(Path(sys.argv[1]), fsync=False) as server:\n"
        "    print(json.dumps([server.port, server.pid, *descendants(server.pid)]), flush=True); signal.pause()"
    )
    argv = [sys.executable, "-c", program, str(open_directory)]
    with subprocess.Popen(argv, cwd=pytestconfig.rootpath, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        port, *pids = json.loads(parent.stdout.readline())
        assert len(pids) > 1
        assert accepts(port)
        parent.kill()
    eventually(lambda: not any(map(exists, pids)) and not accepts(port), "server gone and its port closed")


def test_data_asked_for_in_a_closed_directory_are_found_again_where_the_server_can_reach_them(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    wanted = closed / "postgres"
    home = None
    try:
        with PostgresServer(wanted, fsync=False) as server:
            home = server.home
            assert (home == wanted) == (os.geteuid() != 0)
            with psycopg.connect(server.dsn) as connection:
                connection.execute("create table kept (value int)")
                connection.execute("insert into kept values (7)")
        with PostgresServer(wanted, fsync=False) as server:
            assert server.home == home
            assert values(server.dsn) == [7]
    finally:
        if home is not None and home != wanted:
            shutil.rmtree(home)


def test_programs_in_a_closed_directory_are_run_from_a_copy(tmp_path: Path) -> None:
    installed = find_programs().parents[1]
    closed = tmp_path / "closed" / installed.name
    shutil.copytree(installed, closed, symlinks=True)
    if (libraries := installed.with_name(f"{installed.name}.libs")).is_dir():
        shutil.copytree(libraries, closed.with_name(libraries.name), symlinks=True)
    closed.parent.chmod(0o700)
    programs = closed / find_programs().parent.name / "bin"
    with PostgresServer(fsync=False, programs=programs) as server:
        running = Path(f"/proc/{server.pid}/exe").resolve()
        assert running.is_relative_to(server.home if os.geteuid() == 0 else closed)
        with psycopg.connect(server.dsn) as connection:
            assert connection.execute("select 1").fetchone() == (1,)
        home = server.home
    assert not home.exists()


def test_a_failed_start_is_explained_by_the_servers_own_words_and_leaves_nothing() -> None:
    server = PostgresServer(fsync=False, settings={"max_connections": "many"})
    with pytest.raises(ConfigError, match=r"(?s)PostgreSQL ended with status .*max_connections"):
        server.__enter__()
    assert not server.home.exists()
