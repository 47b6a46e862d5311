"""A migrated database and a key ring for the tests of the vault."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from governance.key_ring import Key, KeyRing, KeyUse
from sinks.migrate import migrate

RING = KeyRing(
    (
        Key(KeyUse.HASH, "hhhhha", bytes([1]) * 32),
        Key(KeyUse.SEAL, "llllla", bytes([2]) * 32),
        Key(KeyUse.WRAP, "ppppaa", bytes([3]) * 32),
    )
)


@pytest.fixture
def vault_dsn(database: str) -> str:
    """A migrated database."""
    migrate(database)
    return database


@pytest.fixture
def connection(vault_dsn: str) -> Iterator[psycopg.Connection]:
    """A client of it."""
    with psycopg.connect(vault_dsn, autocommit=True) as opened:
        yield opened
