"""On a standalone cluster: exactly once under kills of TaskManagers, and a savepoint resumed at another parallelism under another policy."""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.embedded.kafka import KafkaBroker
from streams.fleet.fleet import NO_FAULTS, Fleet
from streams.fleet.record import FleetRecord
from streams.policy_file import load_policy
from tests.fixtures.deployment import HASH_KEY, Deployment, make_deployment
from tests.fixtures.flink import FlinkCluster, await_true, flink_settings

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(1500)]

KILLS = 20


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FlinkCluster]:
    with FlinkCluster(tmp_path / "cluster", 1, {"HEADRACE_PRIVACY__HASH_KEY": HASH_KEY}) as started:
        yield started


def submitted(deployed: Deployment, cluster: FlinkCluster, *arguments: str) -> str:
    ran = deployed.headrace("run", "--engine", "flink", "--cluster", cluster.url, *arguments)
    assert ran.returncode == 0, ran.stderr
    found = re.search(r"the job ([0-9a-f]{32}) runs", ran.stdout + ran.stderr)
    assert found is not None, ran.stdout + ran.stderr
    return found[1]


def deploy(kafka: KafkaBroker, folder: Path, parallelism: int) -> Deployment:
    made = make_deployment(kafka, "", folder)
    places = {"checkpoint_dir": (folder / "checkpoints").as_uri(), "restarts_max": 1_000}
    made.settings |= {"flink": flink_settings(parallelism, 500, **places), "source": {"idle_ms": 2_000}}
    return made


def uids(deployed: Deployment, topic: str = "enriched_events", column: str = "event_uid") -> Counter[str]:
    return Counter(row[column] for row in deployed.topic(topic))


def records(count: int) -> list[FleetRecord]:
    """Records of which each is one enriched event."""
    return list(itertools.islice(Fleet(seed=5, agents=12, rate=100.0, base_time_ms=1_700_000_000_000, faults=NO_FAULTS).records(), count))


def all_there_once(deployed: Deployment, count: int) -> None:
    found = uids(deployed)
    assert len(found) == count
    assert set(found.values()) == {1}
    revisions = uids(deployed, "agent_metrics", "window_uid")
    windows: dict[str, int] = {}
    for row in deployed.topic("agent_metrics"):
        windows[row["window_uid"]] = max(row["revision"], windows.get(row["window_uid"], 0))
    assert sum(windows.values()) <= count
    assert len(revisions) == len(windows)
    told = [(row["window_uid"], row["revision"]) for row in deployed.topic("agent_metrics")]
    assert len(told) == len(set(told))


def test_nothing_is_lost_or_doubled_under_kills_of_taskmanagers(kafka: KafkaBroker, cluster: FlinkCluster, tmp_path: Path) -> None:
    deployed, draw, sent = deploy(kafka, tmp_path, 1), random.Random(7), records(KILLS * 200 + 200)
    cluster.add_worker()
    job = submitted(deployed, cluster)
    await_true("the job runs", lambda: cluster.state_of(job) == "RUNNING")
    for kill in range(KILLS):
        deployed.publish(sent[kill * 200 : kill * 200 + 200])
        # Some kills come before the first checkpoint of a life, some between two, some while a transaction is committed.
        wanted = cluster.checkpoints(job) + draw.randrange(3)
        await_true("checkpoints go on", lambda wanted=wanted: cluster.checkpoints(job) >= wanted)  # type: ignore[misc]
        cluster.kill_worker()
        await_true("the job runs again", lambda: cluster.state_of(job) == "RUNNING")
        print(f"killed {kill + 1} times, {cluster.checkpoints(job)} checkpoints")
    deployed.publish(sent[KILLS * 200 :])
    await_true("every event is there", lambda: len(uids(deployed)) >= len(sent))
    all_there_once(deployed, len(sent))


def test_a_savepoint_goes_on_with_another_parallelism_and_another_policy(kafka: KafkaBroker, cluster: FlinkCluster, tmp_path: Path) -> None:
    deployed, sent = deploy(kafka, tmp_path, 1), records(1_200)
    cluster.add_worker()
    job = submitted(deployed, cluster)
    deployed.publish(sent[:600])
    await_true("the first half is there", lambda: len(uids(deployed)) == 600)
    savepoint = cluster.stop_with_savepoint(job, tmp_path / "savepoints")
    cluster.add_worker()
    changed = tmp_path / "policy.yaml"
    changed.write_text(load_policy(None).text.replace('version: "3"', 'version: "4"', 1))
    deployed.settings["flink"] = {**deployed.settings["flink"], "parallelism": 2}
    deployed.settings["pipeline"] = {"policy": str(changed)}
    again = submitted(deployed, cluster, "--resume", savepoint)
    await_true("the job runs", lambda: cluster.state_of(again) == "RUNNING")
    deployed.publish(sent[600:])
    await_true("the second half is there", lambda: len(uids(deployed)) >= len(sent))
    all_there_once(deployed, len(sent))
    assert {row["policy_version"] for row in deployed.topic("enriched_events")} == {"3", "4"}
    assert [row["policy_version"] for row in deployed.topic("audit_log") if row["what"] == "policy"] == ["3", "4"]
    chains = deployed.headrace("audit", "verify", "--no-table")
    assert chains.returncode == 0, chains.stdout + chains.stderr
