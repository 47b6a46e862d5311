"""The main job over TLS: a broker that asks who one is and grants little, a database that takes nothing in the clear."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka.admin import AclOperation, ResourceType

from schemas.topics import CONTROLS, INPUTS, OUTPUTS, REPORTS
from streams.fleet.book import Book
from streams.fleet.fleet import Fleet
from streams.fleet.record import FleetRecord
from tests.fixtures.certificates import authority, certified
from tests.fixtures.deployment import PARTITIONS, Deployment
from tests.fixtures.secured import PASSWORD, SecuredBroker, SecuredPostgres

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

PREFIX = "secured."


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ours", "strangers"):
        authority(folder, name)
    return folder


@pytest.fixture(scope="module")
def broker(parts_cache: Path, keys: Path) -> Iterator[SecuredBroker]:
    with SecuredBroker(parts_cache, certified(keys, "broker", "ours")) as running:
        running.create_topics({PREFIX + topic: PARTITIONS for topic in (*INPUTS, *OUTPUTS, *REPORTS)} | {PREFIX + topic: 1 for topic in CONTROLS})
        grant_least(running)
        yield running


@pytest.fixture(scope="module")
def server(parts_cache: Path, keys: Path) -> Iterator[SecuredPostgres]:
    with SecuredPostgres(parts_cache, certified(keys, "database", "ours")) as running:
        yield running


@pytest.fixture
def deployment(broker: SecuredBroker, server: SecuredPostgres, keys: Path, tmp_path: Path) -> Deployment:
    dsn = f"{server.create_database('secured')}?sslmode=verify-full&sslrootcert={keys / 'ours.pem'}"
    made = Deployment(broker.bootstrap, dsn, tmp_path, PREFIX)
    made.settings = over_tls(broker, broker.client_security(keys / "ours.pem"))
    return made


def grant_least(broker: SecuredBroker) -> None:
    """Grants what docs/security.md lists."""
    read, write, describe = AclOperation.READ, AclOperation.WRITE, AclOperation.DESCRIBE
    for topic in (*INPUTS, *CONTROLS, *REPORTS):
        broker.grant(ResourceType.TOPIC, PREFIX + topic, read, describe)
    for topic in OUTPUTS:
        broker.grant(ResourceType.TOPIC, PREFIX + topic, read, write, describe)
    for group in ("secured", "headrace-erasures"):
        broker.grant(ResourceType.GROUP, group, read)
    broker.grant(ResourceType.TRANSACTIONAL_ID, "secured", write, describe)


def over_tls(broker: SecuredBroker, security: Mapping[str, str]) -> dict[str, Mapping[str, Any]]:
    return {"kafka": {"bootstrap": broker.secured_bootstrap, **{f"security__{name}": value for name, value in security.items()}}}


def sent(deployment: Deployment) -> list[FleetRecord]:
    records = list(itertools.islice(Fleet(seed=3, agents=8, rate=200.0, base_time_ms=1_700_000_000_000).records(), 300))
    deployment.publish(records)
    return records


def test_the_main_job_runs_over_tls_with_the_least_it_may_be_granted(deployment: Deployment, server: SecuredPostgres) -> None:
    book = Book(window_ms=10_000)
    for record in sent(deployment):
        book.add(record)
    migrated = deployment.headrace("migrate")
    assert migrated.returncode == 0, migrated.stderr
    done = deployment.headrace("run", "--until-end")
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(deployment.topic("enriched_events")) == book.passed.total()
    assert len(deployment.table("guardrail_decisions", ["event_uid"])) == len(deployment.topic("guardrail_decisions"))
    assert PASSWORD not in done.stdout + done.stderr


@pytest.mark.slow
def test_a_broker_of_strangers_gets_nothing(deployment: Deployment, broker: SecuredBroker, keys: Path) -> None:
    deployment.settings = over_tls(broker, broker.client_security(keys / "strangers.pem"))
    refused = deployment.headrace("run", "--until-end")
    assert refused.returncode == 1
    assert "check ssl.ca.location" in refused.stderr


def test_a_wrong_password_is_named_as_such_and_not_shown(deployment: Deployment, broker: SecuredBroker, keys: Path) -> None:
    deployment.settings = over_tls(broker, broker.client_security(keys / "ours.pem", "another password"))
    refused = deployment.headrace("run", "--until-end")
    assert refused.returncode == 1
    assert "the broker refuses this client: check its credentials and ACLs" in refused.stderr
    assert "another password" not in refused.stdout + refused.stderr


def test_a_database_of_strangers_gets_nothing(deployment: Deployment, server: SecuredPostgres, keys: Path) -> None:
    deployment.dsn = f"{server.dsn}?sslmode=verify-full&sslrootcert={keys / 'strangers.pem'}"
    refused = deployment.headrace("migrate")
    assert refused.returncode == 2
    assert "check sslmode, sslrootcert and the server's certificate" in refused.stderr


def test_a_database_that_wants_tls_takes_nothing_in_the_clear(server: SecuredPostgres) -> None:
    with pytest.raises(psycopg.OperationalError, match="no encryption"):
        psycopg.connect(f"{server.dsn}?sslmode=disable")


def test_a_list_of_erased_persons_that_may_not_be_read_ends_the_start(deployment: Deployment, broker: SecuredBroker) -> None:
    # Topics that are granted but for one: to take that for an empty list would let erased persons pass again.
    deployment.prefix = "unread."
    broker.create_topics(
        {deployment.prefix + topic: PARTITIONS for topic in (*INPUTS, *OUTPUTS, *REPORTS)} | {deployment.prefix + topic: 1 for topic in CONTROLS}
    )
    for topic in (*INPUTS, *OUTPUTS):
        broker.grant(ResourceType.TOPIC, deployment.prefix + topic, AclOperation.READ, AclOperation.WRITE, AclOperation.DESCRIBE)
    broker.grant(ResourceType.GROUP, "unread", AclOperation.READ)
    refused = deployment.headrace("run", "--until-end")
    assert refused.returncode == 1
    assert "unread.erasures: Kafka said TOPIC_AUTHORIZATION_FAILED" in refused.stderr
