"""``headrace verify`` on real Kafka and PostgreSQL: a run verifies clean, and every planted defect is found with its coordinates."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from streams.embedded.kafka import KafkaBroker
from streams.embedded.postgres import PostgresServer
from streams.fleet.fleet import Fleet
from tests.fixtures.deployment import Deployment, make_deployment

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

SETTINGS = {"source": {"batch_rows_max": 200, "source_lanes": 2, "linger_ms": 5, "idle_ms": 3_600_000}, "pipeline": {"workers": 2, "lanes": 2}}


def verified(deployment: Deployment, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Gives exit status and report."""
    done = deployment.headrace("verify", "--json", *arguments)
    assert done.stdout, done.stderr[-3000:]
    return done.returncode, json.loads(done.stdout)


@pytest.fixture(scope="module")
def ran(kafka: KafkaBroker, postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    deployment = make_deployment(kafka, postgres.create_database("verified"), tmp_path_factory.mktemp("verified"))
    deployment.settings = dict(SETTINGS)
    records = Fleet(seed=11, agents=12, rate=200.0, base_time_ms=1_700_000_000_000).records()
    deployment.publish(itertools.islice(records, 1_500))
    done = deployment.headrace("run", "--until-end")
    assert done.returncode == 0, done.stderr[-3000:]
    return deployment


def test_a_run_verifies_clean(ran: Deployment, tmp_path: Path) -> None:
    status, report = verified(ran, "--complete")
    assert (status, report["status"], report["findings"]) == (0, "clean", []), json.dumps(report, indent=1)[:6000]
    assert all(one["whole"] for one in report["conservation"])
    assert sum(one["records"] for one in report["conservation"]) == 1_500
    assert report["counts"]["windows"] > 50
