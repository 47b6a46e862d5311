"""A PostgreSQL connection on which nothing is awaited past a deadline."""

from __future__ import annotations

import math
import time
from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import PQGen

from schemas.errors import ConfigError

_R = TypeVar("_R")

_CONNECT_S_MIN: Final = 2  # libpq knows no shorter one
_WAIT_INTERVAL_S: Final = 0.1  # psycopg's own: how often a wait looks at signals

#: A peer whose host vanished is noticed after 10 + 3 x 5 s; unacknowledged data after 20 s.
_TCP: Final[dict[str, Any]] = {"keepalives": 1, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 20_000}

#: The check interval makes a server notice, during a statement, that this client is gone.
_SESSION: Final = """
SET TIME ZONE 'UTC';
SET client_connection_check_interval = '1s';
SET idle_in_transaction_session_timeout = '60s';
SET client_min_messages = 'warning'
"""


class BoundedConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection on which nothing is awaited past ``ends_at`` (on the monotonic clock)."""

    ends_at = math.inf

    def wait(self, gen: PQGen[_R], interval: float = _WAIT_INTERVAL_S, timeout: float | None = None) -> _R:
        """Waits as psycopg does, but never past the end."""
        left_s = max(0.0, self.ends_at - time.monotonic())
        bound_s = left_s if timeout is None else min(timeout, left_s)
        return super().wait(gen, interval, None if math.isinf(bound_s) else bound_s)


def connect(dsn: str, where: str, ends_at: float) -> BoundedConnection:
    """Gives a connection in autocommit; connecting takes until ``ends_at`` at most, but never less than 2 s.

    Args:
        dsn: Connection string.
        where: Names the client to the server.
        ends_at: On the monotonic clock.

    Raises:
        psycopg.Error: As psycopg raises it; the caller makes one of ours of it.
    """
    seconds = max(_CONNECT_S_MIN, math.ceil(ends_at - time.monotonic()))
    # Statements are not prepared: a pooler in front of the server may not keep them.
    opened = BoundedConnection.connect(
        dsn, autocommit=True, prepare_threshold=None, connect_timeout=seconds, application_name=f"headrace {where}", **_TCP
    )
    opened.ends_at = ends_at
    opened.execute(_SESSION)
    return opened


def check_dsn(dsn: str, where: str) -> str:
    """Gives the connection string.

    Raises:
        ConfigError: It is none.
    """
    wrong = False
    try:
        psycopg.conninfo.conninfo_to_dict(dsn)
    except psycopg.Error:
        wrong = True  # libpq's message repeats parts of the string, which can hold a password.
    if wrong:
        raise ConfigError(f"{where}: the DSN is no connection string; write postgresql://USER:PASSWORD@HOST:PORT/DATABASE")
    return dsn
