"""Avro beside JSON on one topic with a schema registry that comes and goes, and trace contexts from input to output."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from schemas import avro
from schemas.topics import ID_HEADER, TRACE_HEADER
from tests.fixtures.deployment import PARTITIONS, Deployment
from tests.fixtures.records import EXAMPLES, as_avro, avro_bytes, json_bytes
from tests.fixtures.registry_server import RegistryServer

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

TOPIC = "agent_events"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


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


def publish(deployment: Deployment, values: list[tuple[bytes, str | None]]) -> None:
    producer = Producer({"bootstrap.servers": deployment.bootstrap})
    for value, trace in values:
        headers: list[tuple[str, str | bytes | None]] = [] if trace is None else [(TRACE_HEADER, trace.encode())]
        producer.produce(deployment.prefix + TOPIC, value, "key", headers=headers)
    assert producer.flush(20) == 0


def headers_by_id(deployment: Deployment) -> dict[str, dict[str, str]]:
    """Gives the headers of enriched events by their id."""
    consumer = Consumer({"bootstrap.servers": deployment.bootstrap, "group.id": "reader", "enable.partition.eof": True})
    consumer.assign([TopicPartition(f"{deployment.prefix}enriched_events", partition, 0) for partition in range(PARTITIONS)])
    found: dict[str, dict[str, str]] = {}
    ended = 0
    while ended < PARTITIONS:
        for message in consumer.consume(500, timeout=0.2):
            if message.error():
                ended += 1
            else:
                headers = {name: bytes(value).decode() for name, value in message.headers() or [] if isinstance(value, bytes)}
                found[headers[ID_HEADER]] = headers
    consumer.close()
    return found


def test_avro_and_json_on_one_topic_while_the_registry_comes_and_goes(deployment: Deployment, registry: RegistryServer) -> None:
    schema = avro.text("agent_event")
    schema_id = registry.register(f"{TOPIC}-value", {"schema": schema})["id"]
    deployment.settings = {"registry": {"type": "confluent", "url": registry.url}, "source": {"batch_rows_max": 10, "rows_in_flight_max": 100}}
    in_avro = [avro_bytes(as_avro(event(number), TOPIC), schema, schema_id) for number in range(20)]
    in_json = [json_bytes(event(number)) for number in range(20, 40)]
    unknown = avro_bytes(as_avro(event(99), TOPIC), schema, 77)
    mixed = [value for pair in zip(in_avro, in_json, strict=True) for value in pair]
    publish(deployment, [(value, TRACE if number % 2 else None) for number, value in enumerate([*mixed, unknown])])
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
    by_form = [{record["event_id"]: record for record in enriched}[f"e-{number}"] for number in (0, 20)]
    same = {"model", "input", "output", "latency_us", "cost_nano_usd", "user_id", "status", "confidence_ppm"} & by_form[0].keys()
    assert len(same) > 4
    assert {name: by_form[0][name] for name in same} == {name: by_form[1][name] for name in same}

    traced = {record["event_uid"]: record["offset"] % 2 == 1 for record in enriched}
    headers = headers_by_id(deployment)
    assert {uid: TRACE_HEADER in found for uid, found in headers.items()} == traced
    assert {found[TRACE_HEADER] for found in headers.values() if TRACE_HEADER in found} == {TRACE}
    assert json.dumps(TRACE) not in done.stderr
