"""The main job with its neighbours failing under it: it rests, it says so, and in the end everything is there once."""

from __future__ import annotations

import itertools
import re
import signal
import subprocess
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib import resources
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from streams.embedded.kafka import KafkaBroker
from streams.embedded.ports import free_ports
from streams.embedded.postgres import PostgresServer
from streams.fleet.fleet import Faults, Fleet
from streams.fleet.record import FleetRecord
from tests.fixtures.deployment import Deployment, make_deployment
from tests.fixtures.probes import eventually

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

RECORDS = 1_500
BASE = 1_700_000_000_000


@pytest.fixture(scope="module")
def records() -> list[FleetRecord]:
    """One fleet for all tests: no faults of its own, so that each record is one enriched event."""
    return list(itertools.islice(Fleet(seed=3, agents=8, rate=100.0, base_time_ms=BASE, faults=Faults(0, 0, 0, 0, 0)).records(), RECORDS))


def enriched(deployment: Deployment) -> Counter[str]:
    return Counter(event["event_uid"] for event in deployment.topic("enriched_events"))


def all_there_once(deployment: Deployment, count: int) -> None:
    found = enriched(deployment)
    assert len(found) == count
    assert set(found.values()) == {1}


def windows(deployment: Deployment) -> int:
    """Events counted in the windows of the database."""
    return int(deployment.table("metric_windows", ["coalesce(sum(events), 0)"])[0][0])


def not_ready(port: int) -> str:
    """What the page says when the run is not ready; nothing when it is."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5):
            return ""
    except urllib.error.HTTPError as refused:
        return refused.read().decode()


def ended(process: subprocess.Popen[str], seconds: float = 60) -> tuple[int, str]:
    _, told = process.communicate(timeout=seconds)
    return process.returncode, told


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts runs that do not outlive the test."""
    running: list[subprocess.Popen[str]] = []

    def start(deployment: Deployment, *arguments: str) -> subprocess.Popen[str]:
        running.append(deployment.start("run", *arguments))
        return running[-1]

    yield start
    for process in running:
        process.kill()  # nothing, where it has ended
        process.wait(10)


def test_a_database_that_dies_and_comes_back_costs_nothing(
    kafka: KafkaBroker, records: Sequence[FleetRecord], tmp_path: Path, started: Callable[..., subprocess.Popen[str]]
) -> None:
    with PostgresServer(fsync=False) as server:
        deployment = make_deployment(kafka, server.dsn, tmp_path)
        (port,) = free_ports(1)
        deployment.settings = {"source": {"rows_in_flight_max": 400, "batch_rows_max": 100}, "http": {"port": port}}
        process = started(deployment)
        deployment.publish(records[:500])
        eventually(lambda: len(enriched(deployment)) == 500, "the first records")
        server.kill()
        deployment.publish(records[500:])
        eventually(lambda: "timescale" in not_ready(port), "a page that names the sink")
        # The snapshot waits for the database, and with it every new epoch: the source rests instead of filling the memory.
        assert len(enriched(deployment)) < RECORDS
        server.restart()
        eventually(lambda: len(enriched(deployment)) == RECORDS, "all records", 60)
        process.send_signal(signal.SIGTERM)
        assert ended(process)[0] == 0
        assert deployment.headrace("run", "--until-end").returncode == 0
        all_there_once(deployment, RECORDS)
        assert windows(deployment) == RECORDS


def test_a_broker_that_dies_and_comes_back_costs_nothing(
    database: str, parts_cache: Path, records: Sequence[FleetRecord], tmp_path: Path, started: Callable[..., subprocess.Popen[str]]
) -> None:
    with KafkaBroker(cache=parts_cache) as broker:
        deployment = make_deployment(broker, database, tmp_path)
        process = started(deployment)
        deployment.publish(records[:500])
        eventually(lambda: len(enriched(deployment)) == 500, "the first records", 60)
        broker.kill()
        broker.restart()
        deployment.publish(records[500:])
        eventually(lambda: len(enriched(deployment)) == RECORDS, "all records", 90)
        process.send_signal(signal.SIGTERM)
        assert ended(process)[0] == 0
        assert deployment.headrace("run", "--until-end").returncode == 0
        all_there_once(deployment, RECORDS)
        assert windows(deployment) == RECORDS


def test_a_stop_in_order_leaves_a_clean_state_that_goes_on(
    deployment: Deployment, records: Sequence[FleetRecord], started: Callable[..., subprocess.Popen[str]]
) -> None:
    process = started(deployment)
    deployment.publish(records[:700])
    eventually(lambda: len(enriched(deployment)) > 0, "some records")
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 0
    assert (deployment.recovery / "clean").exists()
    deployment.publish(records[700:])
    # Any number of workers goes on.
    deployment.settings = {"pipeline": {"workers": 2}}
    assert deployment.headrace("run", "--until-end").returncode == 0
    all_there_once(deployment, RECORDS)
    assert windows(deployment) == RECORDS


def test_a_second_run_on_the_same_directory_is_refused(
    deployment: Deployment, records: Sequence[FleetRecord], started: Callable[..., subprocess.Popen[str]]
) -> None:
    process = started(deployment)
    deployment.publish(records[:50])
    eventually(lambda: len(enriched(deployment)) == 50, "the first records")
    second = deployment.headrace("run", "--until-end")
    assert second.returncode == 2
    assert f"held by another run (process {process.pid})" in second.stderr
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 0


def test_input_that_retention_took_stops_the_run_and_says_where(deployment: Deployment, records: Sequence[FleetRecord]) -> None:
    deployment.publish(records[:100])
    assert deployment.headrace("run", "--until-end").returncode == 0
    deployment.publish(records[100:])
    topic = deployment.prefix + "agent_events"
    consumer = Consumer({"bootstrap.servers": deployment.bootstrap, "group.id": "probe"})
    ends = [TopicPartition(topic, p, consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10)[1]) for p in range(4)]
    consumer.close()
    admin = AdminClient({"bootstrap.servers": deployment.bootstrap})
    for deleted in admin.delete_records([end for end in ends if end.offset]).values():
        deleted.result(10)
    stopped = deployment.headrace("run", "--until-end")
    assert stopped.returncode == 1
    assert "agent_events[" in stopped.stderr
    assert "must go on at offset" in stopped.stderr


def test_a_silent_partition_does_not_hold_the_windows_back_and_a_restart_decides_alike(
    deployment: Deployment, records: Sequence[FleetRecord], started: Callable[..., subprocess.Popen[str]]
) -> None:
    # workflow_events and system_events stay empty, and soon everything is silent: windows are emitted all the same.
    deployment.settings = {"source": {"idle_ms": 500}}
    process = started(deployment)
    deployment.publish(record for record in records if record.topic not in ("workflow_events", "system_events"))
    spoken = sum(record.topic not in ("workflow_events", "system_events") for record in records)
    eventually(lambda: windows(deployment) == spoken, "all windows", 60)
    process.kill()
    process.communicate()
    before = {event["event_uid"]: (event["row_watermark"], event["late"]) for event in deployment.topic("enriched_events")}
    assert deployment.headrace("run", "--until-end").returncode == 0
    assert {event["event_uid"]: (event["row_watermark"], event["late"]) for event in deployment.topic("enriched_events")} == before
    all_there_once(deployment, spoken)
    assert windows(deployment) == spoken


@pytest.mark.slow
def test_after_a_crash_another_policy_takes_over_behind_what_may_have_been_judged(deployment: Deployment, records: Sequence[FleetRecord]) -> None:
    packaged = (resources.files("governance") / "policies/default.yaml").read_text()
    deployment.publish(records[:100])
    assert deployment.headrace("run", failpoint="after_commit:1").returncode == -signal.SIGKILL
    policy = deployment.folder / "policy.yaml"
    policy.write_text(re.sub('version: "[^"]+"', 'version: "other"', packaged, count=1))
    deployment.settings = {"pipeline": {"policy": str(policy)}}
    assert deployment.headrace("run", "--until-end").returncode == 0
    first = {event["policy_version"] for event in deployment.topic("enriched_events")}
    assert len(first) == 1
    assert first != {"other"}
    deployment.publish(records[100:200])
    assert deployment.headrace("run", "--until-end").returncode == 0
    assert Counter(event["policy_version"] for event in deployment.topic("enriched_events")) == {first.pop(): 100, "other": 100}


@pytest.mark.slow
def test_new_partitions_of_an_input_are_read_after_a_restart(deployment: Deployment, records: Sequence[FleetRecord]) -> None:
    from confluent_kafka.admin import NewPartitions

    deployment.publish(records[:100])
    assert deployment.headrace("run", "--until-end").returncode == 0
    admin = AdminClient({"bootstrap.servers": deployment.bootstrap})
    for grown in admin.create_partitions([NewPartitions(deployment.prefix + "system_events", 6)]).values():
        grown.result(10)
    deployment.publish(
        FleetRecord("system_events", b"s", r.value, r.due_ms, r.event_time_ms, r.fate, partition=5)
        for r in records[100:]
        if r.topic == "system_events"
    )
    assert deployment.headrace("run", "--until-end").returncode == 0
    assert {event["partition"] for event in deployment.topic("enriched_events") if event["topic"] == "system_events"} >= {5}


def test_the_group_is_told_how_far_the_snapshots_are(
    deployment: Deployment, records: Sequence[FleetRecord], started: Callable[..., subprocess.Popen[str]]
) -> None:
    process = started(deployment)
    deployment.publish(records[:300])
    wanted = Counter(record.topic for record in records[:300])["agent_events"]
    topic = deployment.prefix + "agent_events"
    consumer = Consumer({"bootstrap.servers": deployment.bootstrap, "group.id": deployment.prefix.rstrip(".")})

    def committed() -> int:
        return sum(max(place.offset, 0) for place in consumer.committed([TopicPartition(topic, p) for p in range(4)], timeout=10))

    eventually(lambda: committed() == wanted, "the group's offsets", 60)
    consumer.close()
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 0
