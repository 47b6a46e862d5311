"""Makes each place once a test; their servers belong to the suite, because it kills them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.embedded.kafka import KafkaBroker
from streams.embedded.postgres import PostgresServer
from tests.conformance.sinks.places import PLACES, FilesPlace, KafkaPlace, Place, TimescalePlace
from tests.conformance.sinks.vector_places import EdgePlace, LocalPlace, ServerPlace, Target
from tests.fixtures.qdrant_wire import API_KEY, qdrant_wire
from tests.fixtures.relay import Relay

_numbers = itertools.count()


@pytest.fixture(scope="package")
def mortal_postgres() -> Iterator[PostgresServer]:
    """A server that tests kill, stop and restart."""
    with PostgresServer(fsync=False) as server:
        yield server


@pytest.fixture(scope="package")
def mortal_kafka(parts_cache: Path) -> Iterator[KafkaBroker]:
    """A broker that tests kill, stop and restart."""
    with KafkaBroker(cache=parts_cache) as broker:
        yield broker


@pytest.fixture
def kafka_place(mortal_kafka: KafkaBroker) -> KafkaPlace:
    return KafkaPlace(mortal_kafka, f"place-{next(_numbers)}.")


@pytest.fixture
def timescale_place(mortal_postgres: PostgresServer) -> TimescalePlace:
    return TimescalePlace(mortal_postgres, mortal_postgres.create_database(f"place_{next(_numbers)}"))


@pytest.fixture
def files_place(tmp_path: Path) -> FilesPlace:
    return FilesPlace(tmp_path / "out")


@pytest.fixture
def qdrant_edge_place(tmp_path: Path) -> EdgePlace:
    return EdgePlace(tmp_path / "edge")


@pytest.fixture
def qdrant_local_place(tmp_path: Path) -> LocalPlace:
    return LocalPlace(tmp_path / "local")


@pytest.fixture(scope="package")
def qdrant_target(request: pytest.FixtureRequest) -> Iterator[Target]:
    """The server that was named on the command line, else Qdrant's protocol before its local mode."""
    named = request.config.getoption("--qdrant-grpc")
    if named is not None:
        host, _, port = named.rpartition(":")
        yield Target(host, int(port), os.environ.get("HEADRACE_QDRANT_API_KEY"))
        return
    with qdrant_wire() as port:
        yield Target("127.0.0.1", port, API_KEY)


@pytest.fixture
def qdrant_server_place(qdrant_target: Target) -> Iterator[ServerPlace]:
    with Relay(qdrant_target.host, qdrant_target.port) as relay:
        place = ServerPlace(qdrant_target, relay, f"headrace_test_{os.getpid()}_{next(_numbers)}")
        yield place
        place.drop()


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> Place:
    """Every place in turn; a waived test is skipped with the reason of the waiver."""
    made: Place = request.getfixturevalue(request.param)
    claim = request.node.originalname
    if claim in made.waivers:
        pytest.skip(made.waivers[claim])
    return made
