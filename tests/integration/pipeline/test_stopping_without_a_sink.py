"""A stop while the database does not answer ends within the grace and loses nothing; a database that is added later is filled from then on."""

from __future__ import annotations

import itertools
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from streams.embedded.kafka import KafkaBroker
from streams.embedded.postgres import PostgresServer
from streams.fleet.fleet import Faults, Fleet
from tests.fixtures.deployment import Deployment, make_deployment
from tests.fixtures.probes import eventually

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

GRACE_S = 2
RECORDS = list(itertools.islice(Fleet(seed=5, agents=4, rate=100.0, base_time_ms=1_700_000_000_000, faults=Faults(0, 0, 0, 0, 0)).records(), 300))


def counted(deployment: Deployment) -> int:
    return int(deployment.table("metric_windows", ["coalesce(sum(events), 0)"])[0][0])


def all_there_once(deployment: Deployment) -> None:
    found = Counter(event["event_uid"] for event in deployment.topic("enriched_events"))
    assert len(found) == len(RECORDS)
    assert set(found.values()) == {1}


@pytest.mark.slow
def test_a_stop_while_the_database_is_away_ends_within_the_grace_and_loses_nothing(kafka: KafkaBroker, tmp_path: Path) -> None:
    with PostgresServer(fsync=False) as server:
        deployment = make_deployment(kafka, server.dsn, tmp_path)
        deployment.settings = {"pipeline": {"stop_grace_ms": GRACE_S * 1000}, "sink": {"deadline_ms": 3_000}}
        process = deployment.start("run")
        try:
            deployment.publish(RECORDS[:100])
            eventually(lambda: len(deployment.topic("enriched_events")) == 100, "the first records", 60)
            server.kill()
            deployment.publish(RECORDS[100:])
            eventually(lambda: len(deployment.topic("enriched_events")) > 100, "later records", 60)
            asked = time.monotonic()
            process.send_signal(signal.SIGTERM)
            _, told = process.communicate(timeout=60)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == 1
        assert time.monotonic() - asked < GRACE_S + 15
        assert f"headrace: sink timescale: stopped before every sink acknowledged: {GRACE_S} s of grace are over" in told
        assert "Traceback" not in told
        assert "panicked" not in told
        assert not (deployment.recovery / "clean").exists()
        server.restart()
        done = deployment.headrace("run", "--until-end")
        assert done.returncode == 0, done.stderr[-3000:]
        all_there_once(deployment)
        assert counted(deployment) == len(RECORDS)


@pytest.mark.slow
def test_a_database_that_is_added_later_is_filled_from_then_on(deployment: Deployment) -> None:
    dsn, deployment.dsn = deployment.dsn, ""
    deployment.publish(RECORDS[:100])
    assert deployment.headrace("run", "--until-end").returncode == 0
    deployment.dsn = dsn
    deployment.publish(RECORDS[100:])
    done = deployment.headrace("run", "--until-end")
    assert done.returncode == 0, done.stderr[-3000:]
    all_there_once(deployment)
    assert 200 <= counted(deployment) <= len(RECORDS)
