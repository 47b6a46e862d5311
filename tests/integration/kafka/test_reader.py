"""The reader of input topics on a real broker: ends are found where transactions and gaps are, and what is lost is said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import polars as pl
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.errors import FatalError, RetryableError
from streams.embedded.kafka import KafkaBroker
from streams.sources import KafkaInput, KafkaReader
from tests.fixtures.probes import eventually

pytestmark = pytest.mark.integration


@pytest.fixture
def source(kafka: KafkaBroker, new_topic: Callable[..., str]) -> KafkaInput:
    return KafkaInput({"bootstrap.servers": kafka.bootstrap}, "reader-test", (new_topic(),))


@contextmanager
def reader(source: KafkaInput, offset: int = 0) -> Iterator[tuple[KafkaReader, tuple[str, int]]]:
    place = (source.topics[0], 0)
    made = KafkaReader(source, {place: offset})
    try:
        yield made, place
    finally:
        made.close()
        made.close()  # once more changes nothing


def produce(source: KafkaInput, values: list[str], *, transaction: str | None = None, commit: bool = True) -> None:
    producer = Producer({**source.client, **({"transactional.id": source.topics[0]} if transaction else {})})
    if transaction:
        producer.init_transactions(20)
        producer.begin_transaction()
    for value in values:
        producer.produce(source.topics[0], value.encode(), partition=0)
    producer.flush(20)
    if transaction:
        (producer.commit_transaction if commit else producer.abort_transaction)(20)


def read_all(made: KafkaReader, place: tuple[str, int]) -> list[str]:
    frames: list[pl.DataFrame] = []

    def done() -> bool:
        frames.append(made.poll(100))
        return place in made.at_end

    eventually(done, "the end of the partition")
    return [value.decode() for frame in frames for value in frame["value"]]


def test_an_empty_partition_is_at_its_end(source: KafkaInput) -> None:
    with reader(source) as (made, place):
        assert read_all(made, place) == []
        assert made.offsets[place] == 0


@pytest.mark.parametrize(("commit", "there"), [(True, ["a", "b", "c", "d"]), (False, ["a", "b"])])
def test_the_marker_of_a_transaction_is_no_record_that_is_still_to_come(source: KafkaInput, commit: bool, there: list[str]) -> None:
    produce(source, ["a", "b"])
    produce(source, ["c", "d"], transaction="t", commit=commit)
    # The broker writes the marker a moment after it has promised to.
    eventually(lambda: source.start_offsets([(source.topics[0], 0)], "latest") == {(source.topics[0], 0): 5}, "the marker")
    with reader(source) as (made, place):
        assert read_all(made, place) == there
        assert made.offsets == {place: 5}
        assert made.lag() == {place: 0}
    with reader(source, 5) as (again, place):
        assert read_all(again, place) == []
        produce(source, ["e"])
        eventually(lambda: again.poll(10)["value"].to_list() == [b"e"], "the next record")


def test_a_partition_is_not_at_its_end_while_records_wait_in_the_client(source: KafkaInput) -> None:
    with reader(source) as (made, place):
        read_all(made, place)
        produce(source, ["a"] * 10)
        # Nothing is polled, as when there are no credits; the client fetches all the same.
        eventually(lambda: place not in made.at_end, "fetched records")
        assert made.lag()[place] > 0
        assert read_all(made, place) == ["a"] * 10


def test_an_offset_that_is_gone_is_fatal_with_its_coordinates(source: KafkaInput) -> None:
    produce(source, ["a"] * 10)
    topic = source.topics[0]
    with reader(source) as (made, place):
        assert read_all(made, place) == ["a"] * 10
    admin = AdminClient(dict(source.client))
    for deleted in admin.delete_records([TopicPartition(topic, 0, 7)]).values():
        deleted.result(10)
    with pytest.raises(FatalError, match=rf"{topic}\[0\]: must go on at offset 3, but the topic holds 7 to 10 only") as told, reader(source, 3):
        pass
    assert told.value.__context__ is None
    with pytest.raises(FatalError, match="must go on at offset 11, but the topic holds 7 to 10 only"), reader(source, 11):
        pass


def test_a_cluster_that_does_not_answer_is_retryable_and_no_foreign_error_travels_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.sources._REQUEST_TIMEOUT_S", 0.2)
    away = KafkaInput({"bootstrap.servers": "127.0.0.1:1", "log_level": 0}, "reader-test", ("agent_events",))
    for call in (away.partitions, lambda: away.start_offsets([("agent_events", 0)], "latest"), lambda: KafkaReader(away, {("agent_events", 0): 0})):
        with pytest.raises(RetryableError) as told:
            call()
        assert told.value.__context__ is None
