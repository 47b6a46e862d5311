"""The Kafka sink against a real broker: what a lane promises when it is replaced, replayed, cut off or started too late."""

from __future__ import annotations

import itertools
import json
import os
from collections import Counter

import polars as pl
import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.errors import FatalError
from sinks.kafka import KafkaSink, output_partitions
from sinks.kafka_position import KafkaPosition
from streams.embedded.kafka import KafkaBroker
from streams.patience import Patience
from streams.stop import Stop

PARTITIONS = 4
LANES = 2
_numbers = itertools.count()


def rows(*uids: int, agents: int = 50) -> pl.DataFrame:
    return pl.DataFrame({"event_uid": [f"{uid:032x}" for uid in uids], "agent_id": [f"agent-{uid % agents}" for uid in uids], "traceparent": None})


def as_json(_topic: str, frame: pl.DataFrame) -> list[bytes]:
    return [json.dumps(row).encode() for row in frame.iter_rows(named=True)]


@pytest.fixture
def sink(kafka: KafkaBroker) -> KafkaSink:
    prefix = f"lanes-{os.getpid()}-{next(_numbers)}."
    kafka.create_topics({prefix + "enriched_events": PARTITIONS})
    made = KafkaSink(prefix.rstrip("."), {"bootstrap.servers": kafka.bootstrap}, {"enriched_events": PARTITIONS}, as_json, prefix)
    Patience().persist(made.begin, Stop(), lambda _: None)  # a new topic's leader is known a moment later
    return made


def committed(sink: KafkaSink, isolation: str = "read_committed") -> list[tuple[int, str, str]]:
    """Gives (partition, key, event_uid) of everything in the topic."""
    consumer = Consumer(
        {**sink.client, "group.id": "reader", "isolation.level": isolation, "enable.partition.eof": True, "auto.offset.reset": "earliest"}
    )
    topic = sink.prefix + "enriched_events"
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
    found, ended = [], set()
    while len(ended) < PARTITIONS:
        for message in consumer.consume(500, timeout=0.2):
            if message.error():
                ended.add(message.partition())
            else:
                found.append((message.partition(), message.key().decode(), json.loads(message.value())["event_uid"]))
    consumer.close()
    return found


def of_lane(sink: KafkaSink, lane: int, frame: pl.DataFrame) -> pl.DataFrame:
    from operators.shards import shard_of

    return frame.filter(shard_of(frame["agent_id"], PARTITIONS) % LANES == lane)


def test_rows_land_on_the_default_partition_of_their_key(sink: KafkaSink) -> None:
    for lane in range(LANES):
        writer = sink.open_lane(lane, LANES, sink.begin())
        receipt = writer.write({"enriched_events": of_lane(sink, lane, rows(*range(40)))}, 10)
        assert receipt.skipped == {"enriched_events": 0}
        writer.close()
    found = committed(sink)
    assert len(found) == 40
    by_default = output_partitions(pl.Series([key for _, key, _ in found]), PARTITIONS, 0, 1)
    assert [partition for partition, _, _ in found] == by_default


def test_a_lane_only_ever_writes_its_own_partitions() -> None:
    keys = pl.Series([f"{number:x}" for number in range(500)])
    for lanes in (1, 2, 3, 4):
        for lane in range(lanes):
            chosen = output_partitions(keys, PARTITIONS, lane, lanes)
            assert {partition % lanes for partition in chosen} == {lane}
            assert set(chosen) == {partition for partition in range(PARTITIONS) if partition % lanes == lane}


def test_a_successor_skips_what_its_predecessor_wrote_after_the_snapshot(sink: KafkaSink) -> None:
    first = sink.open_lane(0, LANES, sink.begin())
    first.write({"enriched_events": of_lane(sink, 0, rows(*range(20)))}, 10)
    snapshot = first.position()
    first.write({"enriched_events": of_lane(sink, 0, rows(*range(20, 40)))}, 10)
    second = sink.open_lane(0, LANES, snapshot)
    receipt = second.write({"enriched_events": of_lane(sink, 0, rows(*range(20, 60)))}, 10)
    expected = set(of_lane(sink, 0, rows(*range(60)))["event_uid"])
    found = Counter(uid for _, _, uid in committed(sink))
    assert found == dict.fromkeys(expected, 1)
    assert receipt.skipped["enriched_events"] == of_lane(sink, 0, rows(*range(20, 40))).height
    with pytest.raises(FatalError, match=r"newer producer|FENCED"):
        first.write({"enriched_events": of_lane(sink, 0, rows(*range(100, 120)))}, 10)


def test_a_snapshot_in_the_middle_of_a_replay_forgets_no_id(sink: KafkaSink) -> None:
    #   first life writes a b | second life replays a, takes a snapshot, dies | third life replays b: it must be skipped
    begin = sink.begin()
    a, b = of_lane(sink, 0, rows(*range(20))), of_lane(sink, 0, rows(*range(20, 40)))
    sink.open_lane(0, LANES, begin).write({"enriched_events": pl.concat([a, b])}, 10)
    second = sink.open_lane(0, LANES, begin)
    second.write({"enriched_events": a}, 10)
    third = sink.open_lane(0, LANES, second.position())
    assert third.write({"enriched_events": b}, 10).written == {"enriched_events": 0}
    assert json.loads(third.position())["unmet"] == {}


def test_an_unmet_revision_is_forgotten_when_a_higher_one_comes_by() -> None:
    position = KafkaPosition()
    position.wrote("agent_metrics", ["w1:3", "w1:7", "w2:4"])
    position.met("agent_metrics", ["w1:5", "w3:9"])
    assert position.unmet["agent_metrics"] == {"w1:7": None, "w2:4": None}


def test_a_lane_that_died_before_its_first_snapshot_reads_back_from_the_begin_position(sink: KafkaSink) -> None:
    begin = sink.begin()
    sink.open_lane(1, LANES, begin).write({"enriched_events": of_lane(sink, 1, rows(*range(30)))}, 10)
    again = sink.open_lane(1, LANES, begin)
    receipt = again.write({"enriched_events": of_lane(sink, 1, rows(*range(30)))}, 10)
    assert receipt.written == {"enriched_events": 0}
    assert len(committed(sink)) == of_lane(sink, 1, rows(*range(30))).height


def test_an_open_transaction_of_a_dead_lane_is_ended_and_never_seen(sink: KafkaSink) -> None:
    class Died(Exception):
        pass

    def die(point: str) -> None:
        if point == "inside_transaction":
            raise Died

    begin = sink.begin()
    dying = KafkaSink(sink.pipeline, sink.client, sink.partitions, sink.encode, sink.prefix, probe=die)
    lane = dying.open_lane(0, LANES, begin)
    with pytest.raises(Died):
        lane.write({"enriched_events": of_lane(sink, 0, rows(*range(10)))}, 10)
    lane._producer.flush(5)  # the records are in the log, without a commit
    successor = sink.open_lane(0, LANES, begin)
    receipt = successor.write({"enriched_events": of_lane(sink, 0, rows(*range(10)))}, 10)
    mine = of_lane(sink, 0, rows(*range(10))).height
    assert receipt.written == {"enriched_events": mine}
    assert len(committed(sink)) == mine
    assert len(committed(sink, "read_uncommitted")) == 2 * mine


def test_a_position_that_retention_has_passed_is_fatal_and_says_so(sink: KafkaSink, kafka: KafkaBroker) -> None:
    begin = sink.begin()
    lane = sink.open_lane(0, LANES, begin)
    lane.write({"enriched_events": of_lane(sink, 0, rows(*range(50)))}, 10)
    end = lane.position()
    ends = json.loads(end)["offsets"]["enriched_events"]
    lane.close()
    topic = sink.prefix + "enriched_events"
    places = [TopicPartition(topic, int(partition), offset) for partition, offset in ends.items() if offset]
    admin = AdminClient(dict(sink.client))
    for future in admin.delete_records(places).values():
        future.result(10)
    with pytest.raises(FatalError, match=r"enriched_events\[\d\]: the snapshot ends at offset 0, the oldest record left is \d+"):
        sink.open_lane(0, LANES, begin)
    again = json.loads(sink.open_lane(0, LANES, end).position())["offsets"]["enriched_events"]
    assert all(again[partition] - offset in (0, 1) for partition, offset in ends.items())  # the commit marker is an offset too


def test_the_position_of_a_lane_survives_a_life_without_writes(sink: KafkaSink) -> None:
    lane = sink.open_lane(0, LANES, sink.begin())
    lane.write({"enriched_events": of_lane(sink, 0, rows(*range(20)))}, 10)
    after = lane.position()
    idle = sink.open_lane(0, LANES, after)
    reread = sink.open_lane(0, LANES, idle.position())
    assert reread.write({"enriched_events": of_lane(sink, 0, rows(*range(20, 25)))}, 10).skipped == {"enriched_events": 0}
