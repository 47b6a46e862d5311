"""The mock takes and gives messages, keeps partition counts, and says what it cannot do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, Producer

from schemas.errors import ConfigError
from streams.embedded.mock_kafka import WARNING, MockKafka
from streams.embedded.ports import accepts
from tests.fixtures.probes import eventually, exists, listening

pytestmark = pytest.mark.integration


@pytest.fixture
def mock() -> Iterator[MockKafka]:
    with MockKafka() as cluster:
        yield cluster


def test_messages_come_back_from_their_partitions(mock: MockKafka) -> None:
    mock.create_topics({"events": 3})
    producer = Producer({"bootstrap.servers": mock.bootstrap})
    for partition in range(3):
        producer.produce("events", f"value-{partition}".encode(), partition=partition)
    assert producer.flush(10) == 0
    consumer = Consumer({"bootstrap.servers": mock.bootstrap, "group.id": "readers", "auto.offset.reset": "earliest"})
    consumer.subscribe(["events"])
    found: dict[int, bytes] = {}

    def complete() -> bool:
        message = consumer.poll(0.5)
        if message is not None and message.error() is None:
            found[message.partition() or 0] = message.value() or b""
        return len(found) == 3

    eventually(complete, "three messages")
    consumer.close()
    assert found == {0: b"value-0", 1: b"value-1", 2: b"value-2"}


def test_topics_have_the_partitions_asked_for_and_refuse_another_number(mock: MockKafka) -> None:
    mock.create_topics({"one": 1, "seven": 7})
    mock.create_topics({"one": 1, "two": 2})
    topics = Producer({"bootstrap.servers": mock.bootstrap}).list_topics(timeout=10).topics
    assert {name: len(topic.partitions) for name, topic in topics.items()} == {"one": 1, "seven": 7, "two": 2}
    with pytest.raises(ConfigError, match="topic one: mock Kafka did not create it with 5 partitions"):
        mock.create_topics({"one": 5})


def test_the_mock_listens_on_the_loopback_address_only_and_is_gone_after_stop(mock: MockKafka) -> None:
    pid, port = mock.pid, int(mock.bootstrap.split(":")[1])
    assert pid is not None
    assert listening(pid) == {("127.0.0.1", port)}
    mock.stop()
    assert not exists(pid)
    assert not accepts(port)
    with pytest.raises(ConfigError, match="start it first"):
        mock.create_topics({"late": 1})


def test_the_warning_holds_an_aborted_write_is_visible(mock: MockKafka) -> None:
    mock.create_topics({"events": 1})
    producer = Producer({"bootstrap.servers": mock.bootstrap, "transactional.id": "writer"})
    producer.init_transactions(10)
    producer.begin_transaction()
    producer.produce("events", b"undone")
    assert producer.flush(10) == 0
    producer.abort_transaction(10)
    consumer = Consumer(
        {"bootstrap.servers": mock.bootstrap, "group.id": "readers", "auto.offset.reset": "earliest", "isolation.level": "read_committed"}
    )
    consumer.subscribe(["events"])
    seen: list[bytes] = []

    def saw_one() -> bool:
        message = consumer.poll(0.5)
        if message is not None and message.error() is None:
            seen.append(message.value() or b"")
        return bool(seen)

    eventually(saw_one, "the aborted message, which a broker would hide")
    consumer.close()
    assert seen == [b"undone"]
    assert "does not hide what an aborted transaction wrote" in WARNING
