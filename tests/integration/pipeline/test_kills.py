"""The main job on real Kafka and real PostgreSQL, killed with SIGKILL at every named point: nothing lost, nothing twice."""

from __future__ import annotations

import itertools
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.topics import OUTPUTS
from streams.embedded.kafka import KafkaBroker
from streams.embedded.postgres import PostgresServer
from streams.fleet.book import Book
from streams.fleet.fleet import Fleet
from streams.fleet.record import FleetRecord
from tests.fixtures.deployment import Deployment, make_deployment

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

POINTS = ("after_poll", "after_state_update", "inside_transaction", "after_commit", "during_recovery", "before_snapshot", "after_pack")
#: Lives in the order of their deaths. Counts above one let a life take snapshots first; ``during_recovery`` follows a death that left outputs behind
#: a snapshot.
SEVEN = tuple(f"{name}:{1 + number % 2}" for number, name in enumerate(POINTS))
TWENTY_ONE = tuple(f"{name}:{count}" for count in (1, 2, 5) for name in POINTS)
RECORDS_PER_LIFE = 300
#: Small batches and several lanes, so that every point is passed many times; no partition goes idle.
SETTINGS = {"source": {"batch_rows_max": 40, "source_lanes": 2, "linger_ms": 5, "idle_ms": 3_600_000}, "pipeline": {"workers": 2, "lanes": 2}}


@pytest.fixture(scope="module", params=[pytest.param(SEVEN, id="seven"), pytest.param(TWENTY_ONE, id="twenty-one", marks=pytest.mark.slow)])
def deaths(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Gives the points at which lives end; the last life ends in order."""
    return tuple(request.param)


def chunks(lives: int) -> Iterator[list[FleetRecord]]:
    """Gives the records of each life."""
    records = Fleet(seed=7, agents=12, rate=200.0, base_time_ms=1_700_000_000_000).records()
    for _ in range(lives):
        yield list(itertools.islice(records, RECORDS_PER_LIFE))


def final_state(deployment: Deployment) -> dict[str, Any]:
    """Gives what a consumer knows in the end: every record by id, of windows the highest revision."""
    state: dict[str, Any] = {}
    for topic, output in OUTPUTS.items():
        records = deployment.topic(topic)
        ids = Counter(":".join(str(record[column]) for column in output.id_columns) for record in records)
        assert max(ids.values(), default=1) == 1, f"{topic} has ids twice: {[i for i, n in ids.items() if n > 1][:3]}"
        if topic == "audit_log":  # a start writes down which policy judges: as many entries as there were starts
            records = [record for record in records if record["what"] != "policy"]
        best: dict[str, dict[str, Any]] = {}
        for record in sorted(records, key=lambda r: r.get("revision", 0)):
            best[record[output.id_columns[0]]] = record
        state[topic] = best
    return state


@pytest.fixture(scope="module")
def unkilled(
    deaths: tuple[str, ...], kafka: KafkaBroker, postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Book]:
    deployment = make_deployment(kafka, postgres.create_database(f"unkilled_{len(deaths)}"), tmp_path_factory.mktemp("unkilled"))
    deployment.settings = dict(SETTINGS)
    book = Book(window_ms=10_000)
    for chunk in chunks(len(deaths) + 1):
        deployment.publish(chunk)
        for record in chunk:
            book.add(record)
    done = deployment.headrace("run", "--until-end")
    assert done.returncode == 0, done.stderr[-3000:]
    return final_state(deployment), book


def test_the_unkilled_run_accounts_for_every_record(unkilled: tuple[dict[str, Any], Book]) -> None:
    state, book = unkilled
    assert Counter(letter["code"] for letter in state["dead_letters"].values()) == book.dead
    assert len(state["enriched_events"]) == book.passed.total()
    assert sum(window["events"] for window in state["agent_metrics"].values()) == book.passed.total() - sum(
        event["late"] for event in state["enriched_events"].values()
    )


def test_kills_at_named_points_change_nothing(
    deaths: tuple[str, ...], unkilled: tuple[dict[str, Any], Book], kafka: KafkaBroker, database: str, tmp_path: Path
) -> None:
    expected, _ = unkilled
    deployment = make_deployment(kafka, database, tmp_path)
    deployment.settings = dict(SETTINGS)
    to_come = chunks(len(deaths) + 1)
    for death in deaths:
        deployment.publish(next(to_come))
        died = deployment.headrace("run", failpoint=death)
        assert died.returncode == -signal.SIGKILL, (death, died.stderr[-3000:])
    deployment.publish(next(to_come))
    done = deployment.headrace("run", "--until-end")
    assert done.returncode == 0, done.stderr[-3000:]
    found = final_state(deployment)
    for topic in OUTPUTS:
        assert found[topic].keys() == expected[topic].keys(), topic
        assert found[topic] == expected[topic], topic
    tables = {"metric_windows": "agent_metrics", "guardrail_decisions": "guardrail_decisions", "alerts": "alerts", "dead_letters": "dead_letters"}
    for table, topic in tables.items():
        key = OUTPUTS[topic].id_columns[0]
        assert Counter(row[0] for row in deployment.table(table, [key])) == dict.fromkeys(expected[topic], 1), table
    windows = dict(deployment.table("metric_windows", ["window_uid", "revision"]))
    assert windows == {uid: window["revision"] for uid, window in expected["agent_metrics"].items()}
    whole = deployment.headrace("audit", "verify")
    assert whole.returncode == 0, whole.stdout
    assert "findings" not in whole.stdout
    entries = [uid for uid, what in deployment.table("audit_records", ["audit_uid", "what"]) if what != "policy"]
    assert Counter(entries) == dict.fromkeys(expected["audit_log"], 1)
