"""`headrace contracts watch` on a real broker and a real database: results once, quarantined coordinates, and a pipeline that is stopped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from subprocess import Popen
from typing import Any

import fastavro
import pytest
from confluent_kafka import Consumer, TopicPartition

from schemas import avro
from schemas.topics import REPORTS
from streams.embedded.ports import free_ports
from streams.fleet.record import PASSED, FleetRecord
from tests.fixtures.deployment import PARTITIONS, Deployment
from tests.fixtures.probes import eventually

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

BASE = 1_700_000_000_000
SECRET = "Mia Li, mia.li@example.com"


def record(number: int, **changes: Any) -> FleetRecord:
    value = {"event_id": f"e{number}", "event_type": "tool.executed", "timestamp": BASE + number, "agent_id": "a", "latency_ms": 3, "result": SECRET}
    return FleetRecord("tool_executions", b"a", json.dumps(value | changes).encode(), number, BASE + number, PASSED, partition=number % 2)


def watched(deployment: Deployment, on_breach: str) -> None:
    """Gives the deployment a policy whose contract for tool_executions leads to ``on_breach``."""
    text = (resources.files("governance") / "policies/default.yaml").read_text(encoding="utf-8")
    path = deployment.folder / "policy.yaml"
    path.write_text(text.replace("\ncontracts:\n", f"\ncontracts:\n  on_breach: {{tool_executions: {on_breach}}}\n", 1))
    deployment.settings["pipeline"] = {"policy": str(path)}


def results(deployment: Deployment) -> list[dict[str, Any]]:
    """Gives what lies in the topic of results, decoded independently."""
    schema = fastavro.parse_schema(json.loads(avro.text(REPORTS["contract_results"].schema)))
    consumer = Consumer({"bootstrap.servers": deployment.bootstrap, "group.id": "results", "enable.partition.eof": True})
    consumer.assign([TopicPartition(deployment.prefix + "contract_results", partition, 0) for partition in range(PARTITIONS)])
    found, ended = [], 0
    while ended < PARTITIONS:
        for message in consumer.consume(500, timeout=1.0):
            if message.error() is not None:
                ended += 1
                continue
            value = message.value()
            assert isinstance(value, bytes)
            import io

            decoded = fastavro.schemaless_reader(io.BytesIO(value[5:]), schema, None)
            assert isinstance(decoded, dict)
            found.append(decoded)
    consumer.close()
    return found


def test_breaches_are_published_stored_and_quarantined_once(deployment: Deployment) -> None:
    watched(deployment, "quarantine")
    deployment.publish([record(n, **({"latency_ms": -5} if n == 7 else {})) for n in range(20)])
    command = ("contracts", "watch", "--until-end", "--topic", "tool_executions")
    first = deployment.headrace(*command)
    assert first.returncode == 1, first.stderr
    again = deployment.headrace(*command)
    assert again.returncode == 0, "what was checked is not checked again"
    published = results(deployment)
    (breach,) = [result for result in published if not result["held"]]
    assert (breach["field"], breach["unexpected"], breach["records"], breach["action"]) == ("latency_ms", 1, 20, "quarantine")
    stored = deployment.table("contract_results", ["result_uid", "held"])
    assert sorted(stored) == sorted((result["result_uid"], result["held"]) for result in published)
    assert deployment.table("contract_quarantine", ["topic", '"partition"', '"offset"', "result_uid"]) == [
        ("tool_executions", 1, 3, breach["result_uid"])
    ]
    said = first.stdout + first.stderr + json.dumps(published, default=str)
    assert not any(word in said for word in SECRET.split())


@pytest.fixture
def running(deployment: Deployment) -> Iterator[Popen[str]]:
    (port,) = free_ports(1)
    watched(deployment, "stop")
    deployment.settings["http"] = {"port": port, "access__tokens__admin": "a token of an admin, for tests only"}
    process = deployment.start("run")
    yield process
    process.kill()
    process.communicate()


@pytest.mark.slow
def test_a_contract_that_stops_stops_the_pipeline_in_order(deployment: Deployment, running: Popen[str]) -> None:
    deployment.publish([record(n, **({"event_id": None} if n == 3 else {})) for n in range(10)])
    eventually(lambda: bool(deployment.topic("enriched_events")), "the first records", 60)
    seen = deployment.headrace("contracts", "watch", "--until-end", "--topic", "tool_executions")
    assert seen.returncode == 1, seen.stderr
    assert running.wait(60) == 0, "an orderly stop"


def test_a_stop_that_nobody_takes_is_an_error(deployment: Deployment) -> None:
    (port,) = free_ports(1)
    watched(deployment, "stop")
    deployment.settings["http"] = {"port": port}
    deployment.publish([record(0, latency_ms=-1)])
    ended = deployment.headrace("contracts", "watch", "--until-end", "--topic", "tool_executions")
    assert ended.returncode == 1
    assert "did not take the stop (ConnectError); stop the pipeline by hand" in ended.stderr, ended.stderr


def test_a_policy_that_stops_needs_a_page_to_stop_over(deployment: Deployment) -> None:
    watched(deployment, "stop")
    refused = deployment.headrace("contracts", "watch", "--until-end")
    assert refused.returncode == 2
    assert "http: the section is absent" in refused.stderr
