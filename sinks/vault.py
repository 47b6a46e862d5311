"""The sink to the vault: what tokens in masked texts stand for, in PostgreSQL and nowhere else.

A value arrives sealed under the key ring (``operators.pii.seal``) and is sealed once more under the key of its person: both keys are needed to read
it, and to destroy the person's is to shred it. It is never opened on the way: no raw value is in this process. A write is one transaction, and
rows are upserted by (token, person), so a replay changes nothing. Values of a person who was erased are left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import Final

import polars as pl
import psycopg

from governance.key_ring import KeyRing
from operators.pii.seal import sealed_bytes
from schemas.errors import FatalError
from schemas.vault import VAULT_TOKENS
from sinks.bounded_connection import BoundedConnection, check_dsn, connect
from sinks.contract import OutputBatch, Receipt
from sinks.errors import SinkError, postgres_failure
from sinks.person_keys import NOBODY, Connection, PersonKey, PersonKeys, destroy_keys

#: Stands for the person of a token behind which nobody is left.
ERASED: Final = "erased"
#: Why a row is left out.
OF_ERASED: Final = "person_erased"

_DEADLINE_S: Final = 10.0
_TABLES: Final = ("vault.person_keys", "vault.tokens")
_UPSERT: Final = """
INSERT INTO vault.tokens AS kept (token, person, entity, seal_kid, ciphertext, first_seen, last_seen)
SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::bytea[], %s::date[], %s::date[])
ON CONFLICT (token, person) DO UPDATE
SET first_seen = least(kept.first_seen, excluded.first_seen), last_seen = greatest(kept.last_seen, excluded.last_seen)
WHERE excluded.first_seen < kept.first_seen OR excluded.last_seen > kept.last_seen
"""
_FORGET: Final = """
WITH gone AS (DELETE FROM vault.tokens WHERE person = ANY(%s) RETURNING *)
INSERT INTO vault.tokens (token, person, entity, seal_kid, first_seen, last_seen)
SELECT DISTINCT ON (token) token, %s, entity, seal_kid, first_seen, last_seen FROM gone ORDER BY token
ON CONFLICT DO NOTHING
"""


class VaultSink:
    """What tokens stand for, in PostgreSQL.

    Args:
        dsn: Connection string, with what it needs to log in: kept, never shown.
        ring: Has a key of the use ``wrap``.
        connect_deadline_s: Seconds that opening a lane may take.

    Raises:
        ConfigError: The connection string is not one, or the ring has no such key.

    Example:
        >>> from governance.key_ring import Key, KeyRing, KeyUse
        >>> VaultSink("postgresql://headrace@127.0.0.1/headrace", KeyRing((Key(KeyUse.WRAP, "abcdef", bytes(32)),))).topics
        frozenset({'vault_tokens'})
    """

    name = "vault"
    topics = frozenset({VAULT_TOKENS})
    rows_max = 5_000

    def __init__(self, dsn: str, ring: KeyRing, *, connect_deadline_s: float = _DEADLINE_S) -> None:
        self._dsn = check_dsn(dsn, "vault")
        self._keys = PersonKeys(ring)
        self._connect_deadline_s = connect_deadline_s

    def begin(self) -> bytes:
        """Gives an empty position: upserts by id need none."""
        return b""

    def open_lane(self, lane: int, lane_count: int, position: bytes) -> VaultLane:
        """Connects, and checks that the tables are there.

        Raises:
            RetryableError: The server is away.
            FatalError: A table is missing, or the login is refused.
        """
        opened = VaultLane(self._dsn, self._keys, f"vault lane {lane}")
        opened.connect(self._connect_deadline_s)
        return opened


class VaultLane:
    """One connection; opened again by the next write after any failure."""

    def __init__(self, dsn: str, keys: PersonKeys, where: str) -> None:
        self._dsn = dsn
        self._keys = keys
        self._where = where
        self._connection: BoundedConnection | None = None

    def connect(self, deadline_s: float) -> None:
        """Connects and checks the tables; raises as ``VaultSink.open_lane`` says."""
        self._guarded(deadline_s, self._check_tables)

    def write(self, batch: OutputBatch, deadline_s: float) -> Receipt:
        """Seals the values under their persons' keys and upserts them, in one transaction.

        Returns:
            ``written``: rows that are new or were seen on another day. ``left_out``: rows of persons who were erased.

        Raises:
            RetryableError: Nothing counts as written; writing it again skips what is there.
            FatalError: The server refuses the rows, or a key is missing.
        """
        frame = batch.get(VAULT_TOKENS)
        if frame is None or frame.is_empty():
            return Receipt({}, {})
        receipts: list[Receipt] = []
        self._guarded(deadline_s, lambda connection: receipts.append(self._written(connection, frame, deadline_s)))
        return receipts[0]

    def position(self) -> bytes:
        """Gives an empty position: upserts by id need none."""
        return b""

    def close(self) -> None:
        """Drops the connection; a transaction that is open on it is rolled back by the server."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _guarded(self, deadline_s: float, call: Callable[[BoundedConnection], None]) -> None:
        """Does what is to be done on a connection; after any failure the connection is gone."""
        failure: SinkError | None = None
        ends_at = time.monotonic() + deadline_s
        try:
            if self._connection is None:
                self._connection = connect(self._dsn, self._where, ends_at)
            self._connection.ends_at = ends_at
            call(self._connection)
        except psycopg.Error as error:
            failure = postgres_failure(error, self._where)
        except BaseException:
            self.close()
            raise
        if failure is not None:
            self.close()
            raise failure

    def _written(self, connection: BoundedConnection, frame: pl.DataFrame, deadline_s: float) -> Receipt:
        rows = distinct(frame)
        with connection.transaction():
            connection.execute(f"SET LOCAL statement_timeout = {max(1, int(deadline_s * 1000))}".encode())
            keys = self._keys.of(connection, rows["person"].unique().to_list())
            kept = rows.filter(pl.col("person").is_in([person for person, key in keys.items() if key is not None]))
            written = connection.execute(_UPSERT, _columns(kept, keys)).rowcount if kept.height else 0
        erased = frame.height - frame.filter(pl.col("person").fill_null(NOBODY).is_in(kept["person"].implode())).height
        left_out = {VAULT_TOKENS: {OF_ERASED: erased}} if erased else {}
        return Receipt({VAULT_TOKENS: written}, {VAULT_TOKENS: frame.height - written - erased}, left_out)

    def _check_tables(self, connection: BoundedConnection) -> None:
        missing = [name for name in _TABLES if connection.execute("SELECT to_regclass(%s)", (name,)).fetchone() == (None,)]
        if missing:
            raise FatalError(f"{self._where}: {', '.join(missing)} not there: run `headrace migrate`")


def distinct(frame: pl.DataFrame) -> pl.DataFrame:
    """Gives one row for each token and person, in that order, with the days on which it was seen first and last."""
    day = pl.from_epoch("event_time", time_unit="ms").dt.date()
    return (
        frame.with_columns(pl.col("person").fill_null(NOBODY))
        .group_by("token", "person")
        .agg(pl.col("entity", "kid", "sealed").first(), day.min().alias("first_seen"), day.max().alias("last_seen"))
        .sort("token", "person")
    )


def vault_context(token: str, person: str) -> bytes:
    """Gives what a ciphertext of the vault is bound to: moved to another row it does not open."""
    return f"headrace vault\0{token}\0{person}".encode()


def _columns(rows: pl.DataFrame, keys: Mapping[str, PersonKey | None]) -> list[list[object]]:
    sealed: list[object] = []
    for token, person, inner in rows.select("token", "person", "sealed").iter_rows():
        key = keys[person]
        assert key is not None, "rows of erased persons were left out"
        sealed.append(key.seal(sealed_bytes(inner), vault_context(token, person)))
    names = ("token", "person", "entity", "kid")
    return [*(rows[name].to_list() for name in names), sealed, rows["first_seen"].to_list(), rows["last_seen"].to_list()]


def forget(connection: Connection, persons: Collection[str]) -> int:
    """Erases persons from the vault, in the caller's transaction, and gives how many rows of tokens they had.

    Their keys are destroyed, their rows go, and an empty row stays for their tokens, so that a reveal can say why it has no
    answer. A token that another person's row still opens goes on to be revealed: the value is that person's too.
    """
    destroy_keys(connection, persons)
    rows = connection.execute("SELECT count(*) FROM vault.tokens WHERE person = ANY(%s)", (sorted(set(persons)),)).fetchone()
    connection.execute(_FORGET, (sorted(set(persons)), ERASED))
    return 0 if rows is None else int(rows[0])
