"""A schema registry that does not answer: what was polled waits for it, and nothing is lost or polled twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Producer

from schemas import avro
from tests.fixtures.deployment import Deployment
from tests.fixtures.records import EXAMPLES, as_avro, avro_bytes, json_bytes
from tests.fixtures.registry_server import RegistryServer

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

TOPIC = "agent_events"


@pytest.fixture
def registry() -> Iterator[RegistryServer]:
    running = RegistryServer()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join(10)


def event(number: int) -> dict[str, Any]:
    return {**EXAMPLES[TOPIC], "event_id": f"e-{number}", "agent_id": f"a-{number % 3}"}


def test_records_wait_while_the_registry_does_not_answer(deployment: Deployment, registry: RegistryServer) -> None:
    schema = avro.text("agent_event")
    schema_id = registry.register(f"{TOPIC}-value", {"schema": schema})["id"]
    deployment.settings = {"registry": {"type": "confluent", "url": registry.url}, "source": {"batch_rows_max": 10, "rows_in_flight_max": 100}}
    in_avro = [avro_bytes(as_avro(event(number), TOPIC), schema, schema_id) for number in range(20)]
    in_json = [json_bytes(event(number)) for number in range(20, 40)]
    unknown = avro_bytes(as_avro(event(99), TOPIC), schema, 77)
    mixed = [value for pair in zip(in_avro, in_json, strict=True) for value in pair]
    producer = Producer({"bootstrap.servers": deployment.bootstrap})
    for value in [*mixed, unknown]:
        producer.produce(deployment.prefix + TOPIC, value, "key")
    assert producer.flush(20) == 0
    # The first questions for the schema are refused: what was polled waits for the answer, and is not polled again.
    registry.next_answers = [(503, b"{}")] * 3
    done = deployment.headrace("run", "--until-end")
    assert done.returncode == 0, done.stderr[-3000:]
    assert registry.next_answers == []
    assert "source.waiting" in done.stderr

    enriched = deployment.topic("enriched_events")
    assert sorted(record["event_id"] for record in enriched) == sorted(f"e-{number}" for number in range(40))
    assert [(letter["code"], letter["offset"]) for letter in deployment.topic("dead_letters")] == [("schema_unknown", 40)]
    assert "in 41 = passed 40 + dead 1 + left out 0" in done.stdout
