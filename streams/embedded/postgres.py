"""A real PostgreSQL server on the loopback interface, from a wheel's programs or Debian's."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import psycopg
from psycopg import sql

from streams.embedded.child import ChildProcess
from streams.embedded.directory import PartDirectory
from streams.embedded.ports import LOOPBACK, free_ports
from streams.embedded.postgres_install import find_programs, reachable_home, reachable_programs, server_account

START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 20.0
USER = "headrace"
# In postmaster.pid: the process id is on the first line, the state on the eighth.
READY_LINE = 7

# One server on two shared cores with a handful of clients. Values differ from PostgreSQL's defaults for the reason given.
SMALL_SERVER = {
    "listen_addresses": LOOPBACK,
    # Only TCP: a socket file would need a directory that both users can write.
    "unix_socket_directories": "",
    "shared_buffers": "128MB",
    "max_connections": "60",
    # No replica is fed: less to write.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "1GB",
    # Compiling costs more than it saves on small windows.
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # The log says what went wrong, never with which values.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}


class PostgresServer:
    """A PostgreSQL server as a child process; a context manager.

    Started as root, it runs as ``postgres`` or ``nobody``; where that user cannot reach ``directory`` or the programs, the data go to a
    directory under /var/tmp (see ``home``) and the programs are copied there.

    Args:
        directory: Keeps its data, password and log across runs; None for a temporary directory that goes at the end of the ``with``.
        database: Created at the first start.
        fsync: Whether commits survive a power cut of the machine. A kill of the server they survive either way.
        settings: Server settings that replace or extend those of ``SMALL_SERVER``.
        programs: Directory of ``initdb`` and ``postgres``; None for the wheel's or Debian's.

    Attributes:
        home: The directory that it really uses.
        log: The server's log file.
        start_seconds: How long the last start took, without creating the cluster.

    Raises:
        ConfigError: PostgreSQL is missing or did not start (with its log's end).
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        database: str = "headrace",
        fsync: bool = True,
        settings: Mapping[str, str] | None = None,
        programs: Path | None = None,
    ) -> None:
        found = programs or find_programs()
        self._account = server_account()
        self._kept = PartDirectory("postgres", directory)
        if self._kept.temporary:
            self._kept.path.chmod(0o711)
        self.home = reachable_home(self._kept.path, self._account)
        self._programs = reachable_programs(found, self.home, self._account)
        durable = "on" if fsync else "off"
        self._settings = {**SMALL_SERVER, "fsync": durable, "full_page_writes": durable, **(settings or {})}
        self._database = database
        (self._port,) = free_ports(1)
        self._child: ChildProcess | None = None
        self.log = self.home / "postgres.log"
        self.start_seconds = 0.0

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.kill()
            self._remove_if_temporary()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        self._remove_if_temporary()

    @property
    def dsn(self) -> str:
        """Connection string of the database, with the password: do not log it."""
        return self.dsn_of(self._database)

    def dsn_of(self, database: str) -> str:
        """Connection string of another database of this server, with the password: do not log it."""
        return f"postgresql://{USER}:{self._password}@{LOOPBACK}:{self._port}/{database}"

    @property
    def port(self) -> int:
        """TCP port; the same after a restart."""
        return self._port

    @property
    def pid(self) -> int | None:
        """Process id; None while it is down."""
        return self._child.pid if self._child is not None and self._child.alive else None

    def start(self) -> None:
        """Starts it on the data it has, creating them first where there are none. Does nothing when it runs."""
        if self.pid is not None:
            return
        if not self._password_file.exists():
            self._create_cluster()
        began = time.monotonic()
        settings = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        argv: list[str | Path] = [self._programs / "postgres", "-D", self._data, "-p", str(self._port), *settings]
        # SIGINT is the fast shutdown: clients are cut off and a checkpoint is written.
        self._child = self._run(argv, signal.SIGINT)
        self._child.await_ready(self._accepts_connections, START_DEADLINE_S)
        self.start_seconds = time.monotonic() - began
        self.create_database(self._database)

    def stop(self) -> None:
        """Shuts it down in order, cutting clients off; its data stay. Does nothing when it is down."""
        if self._child is not None:
            self._child.stop(signal.SIGINT, within_s=STOP_DEADLINE_S)

    def kill(self) -> None:
        """Kills the server and all its backends at once (SIGKILL); its data stay."""
        if self._child is not None:
            self._child.kill()

    def restart(self) -> None:
        """Starts it again on the same port and data, after stopping it if it runs."""
        self.stop()
        self.start()

    def create_database(self, name: str) -> str:
        """Creates a database where it does not exist and gives its connection string."""
        with psycopg.connect(self.dsn_of("postgres"), autocommit=True) as connection:
            if connection.execute("select from pg_database where datname = %s", (name,)).fetchone() is None:
                connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        return self.dsn_of(name)

    def drop_database(self, name: str) -> None:
        """Drops a database where it exists, cutting its clients off."""
        with psycopg.connect(self.dsn_of("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))

    @property
    def _data(self) -> Path:
        return self.home / "data"

    @property
    def _password_file(self) -> Path:
        """Written last when the cluster is created, so that it marks a complete one; readable only by whoever started the server."""
        return self.home / "password"

    @property
    def _password(self) -> str:
        return self._password_file.read_text()

    def _create_cluster(self) -> None:
        shutil.rmtree(self._data, ignore_errors=True)
        self._data.mkdir(mode=0o700)
        password = secrets.token_urlsafe(24)
        given = self.home / "password.new"
        given.unlink(missing_ok=True)
        given.touch(0o600)
        given.write_text(password)
        if self._account is not None:
            for path in (self._data, given):
                os.chown(path, self._account.uid, self._account.gid)
        argv: list[str | Path] = [self._programs / "initdb", "-D", self._data, "-U", USER, f"--pwfile={given}", "--auth-host=scram-sha-256"]
        argv += ["--auth-local=reject", "--encoding=UTF8", "--locale=C", "--no-instructions", "--no-sync"]
        self._run(argv, signal.SIGKILL).finish(START_DEADLINE_S)
        os.chown(given, os.geteuid(), os.getegid())
        given.rename(self._password_file)

    def _run(self, argv: list[str | Path], death_signal: signal.Signals) -> ChildProcess:
        # A whole environment of its own: PG* variables of the person who started it must not reach the server.
        env = {"LC_ALL": "C", "HOME": str(self._data), "PATH": os.defpath}
        return ChildProcess("PostgreSQL", argv, log=self.log, cwd=Path("/"), env=env, account=self._account, death_signal=death_signal)

    def _accepts_connections(self) -> bool:
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        # The file of a killed server says "ready" too: the process id must be this child's.
        return len(lines) > READY_LINE and lines[0] == str(self.pid) and lines[READY_LINE].strip() == "ready"

    def _remove_if_temporary(self) -> None:
        if self._kept.temporary and self.home != self._kept.path:
            shutil.rmtree(self.home)
        self._kept.remove_if_temporary()
