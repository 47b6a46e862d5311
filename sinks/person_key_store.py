"""Keys of persons for those who have no transaction of their own: a connection that is opened again after any failure."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import Final, TypeVar

import psycopg

from governance.key_ring import KeyRing
from sinks.bounded_connection import BoundedConnection, check_dsn, connect
from sinks.errors import SinkError, postgres_failure
from sinks.person_keys import PersonKeys

_R = TypeVar("_R")
_WHERE: Final = "keys of persons"


class PersonKeyStore:
    """The keys of persons in a database; may be used by several threads.

    Args:
        dsn: Connection string: kept, never shown.
        ring: Has a key of the use ``wrap``.
        deadline_s: Seconds that one call may take.

    Raises:
        ConfigError: The connection string is not one, or the ring has no such key.
    """

    def __init__(self, dsn: str, ring: KeyRing, deadline_s: float = 10.0) -> None:
        self._dsn = check_dsn(dsn, _WHERE)
        self._keys = PersonKeys(ring)
        self._deadline_s = deadline_s
        self._lock = threading.Lock()
        self._connection: BoundedConnection | None = None

    def keys_of(self, persons: Collection[str]) -> Mapping[str, bytes]:
        """Gives the secret of each person, made where there was none; a person who was erased is left out.

        Raises:
            RetryableError: The database is away.
            FatalError: It refuses, or a wrapping key is not in the ring.
        """
        found = self._done(lambda connection: self._keys.of(connection, persons))
        return {person: key.secret for person, key in found.items() if key is not None}

    def rewrap(self) -> int:
        """Wraps every key under the active key of the ring, and gives how many were wrapped under another; raises as ``keys_of``."""
        return self._done(self._keys.rewrap)

    def close(self) -> None:
        """Drops the connection."""
        with self._lock:
            self._drop()

    def _done(self, call: Callable[[BoundedConnection], _R]) -> _R:
        failure: SinkError | None = None
        with self._lock:
            try:
                ends_at = time.monotonic() + self._deadline_s
                if self._connection is None:
                    self._connection = connect(self._dsn, _WHERE, ends_at)
                self._connection.ends_at = ends_at
                with self._connection.transaction():
                    return call(self._connection)
            except psycopg.Error as error:
                failure = postgres_failure(error, _WHERE)
            except BaseException:
                self._drop()
                raise
            self._drop()
        raise failure

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
