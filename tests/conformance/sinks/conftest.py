"""Makes each place once a test; their servers belong to the suite, because it kills them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.embedded.kafka import KafkaBroker
from streams.embedded.postgres import PostgresServer
from tests.conformance.sinks.places import PLACES, FilesPlace, KafkaPlace, Place, TimescalePlace

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


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> Place:
    """Every place in turn; a waived test is skipped with the reason of the waiver."""
    made: Place = request.getfixturevalue(request.param)
    claim = request.node.originalname
    if claim in made.waivers:
        pytest.skip(made.waivers[claim])
    return made
