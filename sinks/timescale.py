"""The sink to PostgreSQL, with or without TimescaleDB.

A lane is one connection. A write is one transaction: each topic's rows are copied (binary COPY) into a temporary staging table and moved
from there into the topic's table by id. Of a metric window the highest (generation, revision) stays, in whatever order revisions come;
of everything else the first row stays, because rows of one id are equal. So a replay changes nothing, a lane needs no position, and a
predecessor that is still alive does no harm and is not fenced.

Deadlines hold on both sides: the client stops waiting and drops the connection, also when the server hangs or the network swallows
packets; the server cancels the statement by ``statement_timeout`` and notices the dropped client within a second, so that locks go.
"""

from __future__ import annotations

import time
from typing import Final

import polars as pl
import psycopg

from schemas.errors import FatalError
from sinks.bounded_connection import BoundedConnection, check_dsn, connect
from sinks.contract import OutputBatch, Receipt
from sinks.copy_format import encode
from sinks.errors import SinkError, postgres_failure
from sinks.tables import Table, stored_tables

CONNECT_DEADLINE_S: Final = 10.0
_COLUMNS_OF: Final = """
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped
"""


class TimescaleSink:
    """Metric windows, decisions, alerts and dead letters in PostgreSQL.

    Args:
        dsn: Connection string, with what it needs to log in: kept, never shown.
        connect_deadline_s: Seconds that opening a lane may take. libpq cannot wait for less than 2 s to connect.

    Raises:
        ConfigError: The connection string is not one.

    Example:
        >>> TimescaleSink("postgresql://headrace@127.0.0.1/headrace").name
        'timescale'
    """

    name = "timescale"
    rows_max = None

    def __init__(self, dsn: str, *, connect_deadline_s: float = CONNECT_DEADLINE_S) -> None:
        self._dsn = check_dsn(dsn, "timescale")
        self._connect_deadline_s = connect_deadline_s
        self._tables = stored_tables()

    @property
    def topics(self) -> frozenset[str]:
        """Topics that have a table."""
        return frozenset(self._tables)

    def begin(self) -> bytes:
        """Gives an empty position: upserts by id need none."""
        return b""

    def open_lane(self, lane: int, lane_count: int, position: bytes) -> TimescaleLane:
        """Connects, and checks that the tables are there as this version needs them.

        Raises:
            RetryableError: The server is away.
            FatalError: A table or column is missing or has another type, or the login is refused.
        """
        opened = TimescaleLane(self._dsn, self._tables, f"timescale lane {lane}")
        opened.connect(self._connect_deadline_s)
        return opened


class TimescaleLane:
    """One connection; opened again by the next write after any failure."""

    def __init__(self, dsn: str, tables: dict[str, Table], where: str) -> None:
        self._dsn = dsn
        self._tables = tables
        self._where = where
        self._connection: BoundedConnection | None = None
        self._staged: set[str] = set()

    def connect(self, deadline_s: float) -> None:
        """Connects and checks the tables; raises as ``TimescaleSink.open_lane`` says."""
        failure: SinkError | None = None
        try:
            self._check_tables(self._connected(time.monotonic() + deadline_s))
        except psycopg.Error as error:
            failure = postgres_failure(error, self._where)
        except BaseException:
            self.close()
            raise
        if failure is not None:
            self.close()
            raise failure

    def write(self, batch: OutputBatch, deadline_s: float) -> Receipt:
        """Upserts the rows of every topic that has a table, in one transaction.

        Args:
            batch: Records by topic; topics without a table are ignored.
            deadline_s: Seconds from now after which the call gives up; connecting again takes at most that, but never less than 2 s.

        Returns:
            ``written``: rows that changed a table. ``skipped``: rows whose id was there with an equal or higher version, in the table or later
            in this batch.

        Raises:
            RetryableError: Nothing counts as written. When the answer to the commit was lost the rows may be there: writing them again skips them.
            FatalError: The server refuses the rows.
        """
        frames = {topic: batch[topic] for topic in self._tables if topic in batch and not batch[topic].is_empty()}
        if not frames:
            return Receipt({}, {})
        failure: SinkError | None = None
        try:
            return self._write(frames, time.monotonic() + deadline_s)
        except psycopg.Error as error:
            failure = postgres_failure(error, self._where)
        except BaseException:
            self.close()
            raise
        # Whatever state the connection is in, a new one is sure to be in none.
        self.close()
        raise failure

    def position(self) -> bytes:
        """Gives an empty position: upserts by id need none."""
        return b""

    def close(self) -> None:
        """Drops the connection; a transaction that is open on it is rolled back by the server."""
        connection, self._connection = self._connection, None
        self._staged.clear()
        if connection is not None:
            connection.close()

    def _write(self, frames: dict[str, pl.DataFrame], ends_at: float) -> Receipt:
        streams = [(self._tables[topic], encode(frame, self._tables[topic])) for topic, frame in frames.items()]
        connection = self._connected(ends_at)
        left_ms = max(1, int((ends_at - time.monotonic()) * 1000))
        connection.execute(f"BEGIN; SET LOCAL statement_timeout = {left_ms}".encode())
        written = {table.topic: self._upsert(connection, table, stream) for table, stream in streams}
        connection.execute("COMMIT")
        return Receipt(written, {topic: frame.height - written[topic] for topic, frame in frames.items()})

    def _upsert(self, connection: BoundedConnection, table: Table, stream: bytes) -> int:
        if table.name not in self._staged:
            connection.execute(table.create_stage())
            self._staged.add(table.name)
        with connection.cursor() as cursor:
            with cursor.copy(table.copy()) as copy:
                copy.write(stream)
            cursor.execute(table.upsert())
            return cursor.rowcount

    def _connected(self, ends_at: float) -> BoundedConnection:
        """Gives the connection, made anew where there is none, with nothing awaited on it past ``ends_at``."""
        if self._connection is None:
            self._connection = connect(self._dsn, self._where, ends_at)
        self._connection.ends_at = ends_at
        return self._connection

    def _check_tables(self, connection: BoundedConnection) -> None:
        problems = []
        for table in self._tables.values():
            there = dict(connection.execute(_COLUMNS_OF, (table.name,)).fetchall())
            if not there:
                problems.append(f"table {table.name} is not there")
                continue
            problems += [
                f"column {table.name}.{column.name} must be {column.sql_type}, it is {there.get(column.name, 'not there')}"
                for column in table.columns
                if there.get(column.name) != column.sql_type
            ]
        if problems:
            raise FatalError(f"{self._where}: {'; '.join(problems)}: run `headrace migrate`")
