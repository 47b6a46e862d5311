"""What producers may send: Avro and JSON side by side on one topic, with a trace context that comes out again."""

from __future__ import annotations

import io
import json
from collections import Counter

import fastavro
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from schemas import avro
from schemas.registry import FileRegistry
from schemas.topics import ID_HEADER, TRACE_HEADER
from tests.fixtures.deployment import PARTITIONS, Deployment

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
EVENT = {
    "event_type": "tool.executed",
    "agent_id": "agent-1",
    "session_id": "s-1",
    "tool_name": "search",
    "arguments": '{"query":"write to jane@example.com"}',
    "status": "success",
    "latency_ms": 12.5,
}


def as_avro(event_id: str) -> bytes:
    out = io.BytesIO()
    out.write(b"\0" + FileRegistry().id_of("tool_execution").to_bytes(4, "big"))
    schema = fastavro.parse_schema(json.loads(avro.text("tool_execution")))
    fastavro.schemaless_writer(out, schema, {**EVENT, "event_id": event_id, "timestamp": 1_700_000_000_000})
    return out.getvalue()


def as_json(event_id: str) -> bytes:
    event = {**EVENT, "event_id": event_id, "timestamp": "2023-11-14T22:13:20Z", "arguments": json.loads(str(EVENT["arguments"]))}
    return json.dumps(event).encode()


def headers_by_id(deployment: Deployment) -> dict[str, str | None]:
    """Gives the trace context of each enriched event by its message id."""
    consumer = Consumer({"bootstrap.servers": deployment.bootstrap, "group.id": "reader", "enable.partition.eof": True})
    consumer.assign([TopicPartition(deployment.prefix + "enriched_events", partition, 0) for partition in range(PARTITIONS)])
    found: dict[str, str | None] = {}
    ended = 0
    while ended < PARTITIONS:
        for message in consumer.consume(100, timeout=0.2):
            if message.error():
                ended += 1
                continue
            headers = {name: value.decode() for name, value in message.headers() or () if isinstance(value, bytes)}
            found[headers[ID_HEADER]] = headers.get(TRACE_HEADER)
    consumer.close()
    return found


def test_avro_and_json_of_one_event_come_out_alike_and_keep_their_trace(deployment: Deployment) -> None:
    producer = Producer({"bootstrap.servers": deployment.bootstrap, "partitioner": "murmur2_random"})
    topic = deployment.prefix + "tool_executions"
    sent_at = 1_700_000_000_000
    producer.produce(topic, as_json("json"), "agent-1", headers=[(TRACE_HEADER, TRACE)], timestamp=sent_at)
    producer.produce(topic, as_avro("avro"), "agent-1", headers=[(TRACE_HEADER, "jane@example.com")], timestamp=sent_at)
    producer.produce(topic, b"\0\0\0\1\xff broken", "agent-1", timestamp=sent_at)
    assert producer.flush(30) == 0
    done = deployment.headrace("run", "--until-end")
    assert done.returncode == 0, done.stderr

    events = {event["event_id"]: event for event in deployment.topic("enriched_events")}
    assert set(events) == {"json", "avro"}
    own = ("event_id", "event_uid", "offset", "value_bytes", "traceparent", "row_watermark")
    alike = [{name: value for name, value in event.items() if name not in own} for event in events.values()]
    assert alike[0] == alike[1]
    assert json.loads(alike[0]["input"]) == {"query": "write to <EMAIL_ADDRESS>"}
    assert headers_by_id(deployment) == {events["json"]["event_uid"]: TRACE, events["avro"]["event_uid"]: None}
    assert Counter(letter["code"] for letter in deployment.topic("dead_letters")) == {"schema_unknown": 1}
