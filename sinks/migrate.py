"""Brings a PostgreSQL database to the schema of this version: numbered, forward-only migrations from ``sinks/sql``.

A migration is ``NNN_name.sql``, or a pair ``NNN_name.timescale.sql`` and ``NNN_name.plain.sql`` of which one is applied. Each runs in a
transaction of its own and is recorded in ``headrace_migrations`` with the SHA-256 of its text. A session-level advisory lock lets one run
at a time; a second one waits and then finds nothing to do. What was applied stays as it was: a file that changed since, or a number that
would have to go in between, is an error.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from typing import Final

import psycopg

from schemas.errors import ConfigError, FatalError, RetryableError
from sinks.errors import postgres_failure

#: Key of the advisory lock, in the database that is migrated ("headrace" in ASCII).
LOCK_KEY: Final = int.from_bytes(b"headrace", "big")
_CONNECT_S_MIN: Final = 2  # libpq knows no shorter one
_NAME: Final = re.compile(r"(?P<number>\d{3})_[a-z0-9_]+(?:\.(?P<flavour>plain|timescale))?\.sql")

_HISTORY: Final = """
CREATE TABLE IF NOT EXISTS headrace_migrations (
    number     integer     PRIMARY KEY,
    name       text        NOT NULL,
    checksum   text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


class Flavour(StrEnum):
    """Which of a pair of migrations is applied."""

    PLAIN = "plain"
    TIMESCALE = "timescale"


@dataclass(frozen=True, slots=True)
class Migration:
    """One file.

    Attributes:
        number: Its place in the order, from 1 without gaps.
        name: File name.
        flavour: Where it applies; None for everywhere.
        text: SQL statements that can run in one transaction.
    """

    number: int
    name: str
    flavour: Flavour | None
    text: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, 64 hex digits."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def packaged_migrations() -> tuple[Migration, ...]:
    """Gives the migrations of this version, by number."""
    return read_migrations({entry.name: entry.read_text("utf-8") for entry in (files("sinks") / "sql").iterdir() if entry.name.endswith(".sql")})


def read_migrations(texts: dict[str, str]) -> tuple[Migration, ...]:
    """Gives migrations from file names and texts, by number.

    Raises:
        ConfigError: A name has another form, a number is missing, or a number has neither one file nor one for each flavour.
    """
    found: list[Migration] = []
    problems: list[str] = []
    for name, text in sorted(texts.items()):
        match = _NAME.fullmatch(name)
        if match is None:
            problems.append(f"sinks/sql/{name}: a migration is called NNN_name.sql, NNN_name.plain.sql or NNN_name.timescale.sql; rename it")
            continue
        found.append(Migration(int(match["number"]), name, Flavour(match["flavour"]) if match["flavour"] else None, text))
    for number in range(1, max((migration.number for migration in found), default=0) + 1):
        flavours = sorted(str(migration.flavour) for migration in found if migration.number == number)
        if flavours not in (["None"], ["plain", "timescale"]):
            came = ", ".join(flavours) or "no file"
            problems.append(f"sinks/sql/{number:03}: needs one file, or one for plain and one for timescale; found {came}")
    if problems:
        raise ConfigError(*problems)
    return tuple(found)


def migrate(dsn: str, *, flavour: Flavour | None = None, deadline_s: float = 60.0, migrations: Sequence[Migration] | None = None) -> list[str]:
    """Applies what is missing and gives the names of the files applied; an empty list where the database was up to date.

    Args:
        dsn: Connection string of a role that may create tables (and, for TimescaleDB, the extension).
        flavour: Which of a pair to apply; None chooses TimescaleDB where its Community edition is installed or can be.
        deadline_s: Seconds that one statement, or the wait for another run, may take.
        migrations: What to apply; None for the packaged ones.

    Raises:
        ConfigError: A migration was edited after it was applied, the database is newer than this version, or a statement was refused.
        RetryableError: The server is away, or another run holds the lock for longer than the deadline.
    """
    known = packaged_migrations() if migrations is None else tuple(migrations)
    failure: Exception | None = None
    try:
        with psycopg.connect(
            dsn, autocommit=True, connect_timeout=max(_CONNECT_S_MIN, int(deadline_s)), application_name="headrace migrate"
        ) as connection:
            connection.execute("SELECT set_config('statement_timeout', %s, false)", (str(int(deadline_s * 1000)),))
            connection.execute("SELECT pg_advisory_lock(%s)", (LOCK_KEY,))
            connection.execute("SET client_min_messages = warning")
            connection.execute(_HISTORY)
            chosen = flavour or _flavour_of(connection)
            return [_apply(connection, migration) for migration in _missing(connection, known, chosen)]
    except psycopg.Error as error:
        failure = postgres_failure(error, "headrace migrate")
    if isinstance(failure, FatalError):
        raise ConfigError(str(failure))
    raise failure


def _missing(connection: psycopg.Connection, known: Sequence[Migration], flavour: Flavour) -> list[Migration]:
    """Gives what is to be applied, in order; raises ConfigError with everything that is wrong with what was applied."""
    applied = {number: (name, checksum) for number, name, checksum in connection.execute("SELECT number, name, checksum FROM headrace_migrations")}
    by_name = {migration.name: migration for migration in known}
    last = max(applied, default=0)
    problems = []
    for number, (name, checksum) in sorted(applied.items()):
        if name not in by_name:
            problems.append(f"{name} (number {number}) was applied but is not in this version of headrace: run the version that applied it, or newer")
        elif by_name[name].checksum != checksum:
            problems.append(f"sinks/sql/{name} was edited after it was applied: restore it, and put the change into a new migration")
    wanted = [migration for migration in known if migration.flavour in (None, flavour) and migration.number not in applied]
    problems += [
        f"sinks/sql/{migration.name} is numbered below {last:03}, which was applied already: give it the next free number"
        for migration in wanted
        if migration.number < last
    ]
    if problems:
        raise ConfigError(*problems)
    return wanted


def _apply(connection: psycopg.Connection, migration: Migration) -> str:
    refused: psycopg.Error | None = None
    try:
        with connection.transaction():
            connection.execute(migration.text)
            connection.execute(
                "INSERT INTO headrace_migrations (number, name, checksum) VALUES (%s, %s, %s)",
                (migration.number, migration.name, migration.checksum),
            )
    except psycopg.Error as error:
        refused = error
    if refused is None:
        return migration.name
    position = int(refused.diag.statement_position or 0)
    line = f":{migration.text[: position - 1].count(chr(10)) + 1}" if position else ""
    failure = postgres_failure(refused, f"sinks/sql/{migration.name}{line}")
    if isinstance(failure, RetryableError):
        raise failure
    raise ConfigError(f"{failure}; nothing of this migration was applied")


def _flavour_of(connection: psycopg.Connection) -> Flavour:
    """Chooses TimescaleDB where it is there with its Community licence; creates the extension where it is available.

    Raises:
        ConfigError: The extension is available but this role may not create it, or it is not preloaded.
    """
    if connection.execute("SELECT FROM pg_available_extensions WHERE name = 'timescaledb'").fetchone() is None:
        return Flavour.PLAIN
    refused: str | None = None
    try:
        connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
    except psycopg.Error as error:
        refused = error.sqlstate or type(error).__name__
    if refused is not None:
        raise ConfigError(
            f"headrace migrate: TimescaleDB is available on this server but could not be created (SQLSTATE {refused}): "
            "add timescaledb to shared_preload_libraries and run CREATE EXTENSION timescaledb as a role that may, "
            "or ask for plain tables with --flavour plain"
        )
    licence = connection.execute("SELECT current_setting('timescaledb.license', true)").fetchone()
    # Compression, retention and continuous aggregates are not in the Apache edition.
    return Flavour.TIMESCALE if licence == ("timescale",) else Flavour.PLAIN
