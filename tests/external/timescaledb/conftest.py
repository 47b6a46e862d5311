"""Tests against a real TimescaleDB, which no package index has: give one by ``--timescaledb-dsn`` (docs/unverified.md has the command)."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg import conninfo

_numbers = itertools.count()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--timescaledb-dsn", help="server with TimescaleDB 2.22 or newer, Community edition; databases are created and dropped in it")


@pytest.fixture
def new_database(request: pytest.FixtureRequest) -> Iterator[Callable[[], str]]:
    """Creates databases that go after the test."""
    server = request.config.getoption("--timescaledb-dsn", default=None)
    if server is None:
        pytest.skip("no TimescaleDB can be installed here: pass --timescaledb-dsn, see docs/unverified.md")
    names: list[str] = []

    def create() -> str:
        names.append(f"headrace_test_{os.getpid()}_{next(_numbers)}")
        connection.execute(f"CREATE DATABASE {names[-1]}".encode())
        return conninfo.make_conninfo(server, dbname=names[-1])

    with psycopg.connect(server, autocommit=True) as connection:
        yield create
        for name in names:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
