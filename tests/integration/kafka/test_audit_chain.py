"""The chain of the topic audit_log on a real broker: one line whatever happens to its writers, and whatever is done to the topic is found."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable

import polars as pl
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from governance.audit_chain import Flaw, Link
from schemas.errors import FatalError
from sinks.audit_table import Anchor
from sinks.kafka import KafkaSink
from streams.audit_check import ChainReport, check_topic
from streams.embedded.kafka import KafkaBroker
from streams.patience import Patience
from streams.stop import Stop
from tests.fixtures.outputs import records

pytestmark = pytest.mark.integration

PARTITIONS = 2
_numbers = itertools.count()


def as_text(_topic: str, frame: pl.DataFrame) -> list[bytes]:
    return [str(row).encode() for row in frame.iter_rows()]


def made(kafka: KafkaBroker, pipeline: str, prefix: str) -> KafkaSink:
    sink = KafkaSink(pipeline, {"bootstrap.servers": kafka.bootstrap}, {"audit_log": PARTITIONS}, as_text, prefix)
    Patience().persist(sink.begin, Stop(), lambda _: None)  # a new topic's leader is known a moment later
    return sink


@pytest.fixture
def sink(kafka: KafkaBroker) -> KafkaSink:
    prefix = f"chain-{os.getpid()}-{next(_numbers)}."
    kafka.create_topics({prefix + "audit_log": PARTITIONS})
    return made(kafka, prefix.rstrip("."), prefix)


def entries(begin: int, end: int) -> dict[str, pl.DataFrame]:
    return {"audit_log": records("audit_log", end - begin, first=begin)}


def checked(sink: KafkaSink, anchored: Iterable[Anchor] = ()) -> list[ChainReport]:
    return check_topic(dict(sink.client), sink.prefix, list(anchored))


def intact(sink: KafkaSink, count: int) -> None:
    reports = checked(sink)
    assert [finding for report in reports for finding in report.findings] == []
    assert sum(report.entries for report in reports) == count


def test_a_killed_writer_and_a_replay_leave_one_line(sink: KafkaSink) -> None:
    #   life 1 writes a | snapshot | writes b, dies | life 2 replays b, skips it, writes c | life 3 from its snapshot writes d
    first = sink.open_lane(0, 1, sink.begin())
    first.write(entries(0, 10), 10)
    snapshot = first.position()
    first.write(entries(10, 20), 10)
    second = sink.open_lane(0, 1, snapshot)
    assert second.write(entries(10, 30), 10).skipped == {"audit_log": 10}
    third = sink.open_lane(0, 1, second.position())
    third.write(entries(30, 40), 10)
    with pytest.raises(FatalError):
        first.write(entries(90, 99), 10)
    intact(sink, 40)


def test_a_transaction_that_was_never_committed_is_no_part_of_the_line(sink: KafkaSink) -> None:
    from dataclasses import replace

    class Died(Exception):
        pass

    def die(point: str) -> None:
        if point == "inside_transaction":
            raise Died

    begin = sink.begin()
    sink.open_lane(0, 1, begin).write(entries(0, 10), 10)
    with pytest.raises(Died):
        replace(sink, probe=die).open_lane(0, 1, begin).write(entries(0, 25), 10)
    sink.open_lane(0, 1, begin).write(entries(0, 20), 10)
    intact(sink, 20)


def test_a_new_pipeline_goes_on_where_an_earlier_one_ended(kafka: KafkaBroker, sink: KafkaSink) -> None:
    first = sink.open_lane(0, 1, sink.begin())
    first.write(entries(0, 30), 10)
    other = made(kafka, "another-pipeline", sink.prefix)
    other.open_lane(0, 1, other.begin()).write(entries(30, 50), 10)
    intact(sink, 50)


def test_heads_are_told_once_they_are_committed(sink: KafkaSink) -> None:
    from dataclasses import replace

    told: dict[int, Link] = {}
    watched = replace(sink, on_head=lambda _topic, partition, link: told.update({partition: link}))
    watched.open_lane(0, 1, sink.begin()).write(entries(0, 30), 10)
    assert told == {number: report.head for number, report in enumerate(checked(sink))}


def _copied(sink: KafkaSink, kafka: KafkaBroker, change: str) -> list[ChainReport]:
    """Writes the topic anew with one thing changed, and checks it with the anchors of the original."""
    consumer = Consumer({**sink.client, "group.id": "copy", "auto.offset.reset": "earliest", "enable.partition.eof": True})
    prefix = f"copy-{os.getpid()}-{next(_numbers)}."
    kafka.create_topics({prefix + "audit_log": PARTITIONS})
    producer = Producer({**sink.client})
    for partition in range(PARTITIONS):
        consumer.assign([TopicPartition(sink.prefix + "audit_log", partition, 0)])
        found = []
        while not found or found[-1].error() is None:
            found += consumer.consume(100, timeout=0.2)
        rows = [(m.key(), m.value(), m.headers()) for m in found[:-1]]
        if partition == 0 and change == "edit":
            rows[2] = (rows[2][0], rows[2][1] + b"!", rows[2][2])
        elif partition == 0 and change == "gap":
            del rows[2]
        elif partition == 0 and change == "order":
            rows[2], rows[3] = rows[3], rows[2]
        elif partition == 0 and change == "end":
            del rows[-2:]
        for key, value, headers in rows:
            producer.produce(prefix + "audit_log", value, key, partition, headers=headers)
    producer.flush(10)
    consumer.close()
    heads = [Anchor(f"{prefix}audit_log/{number}", report.head, is_genuine=True) for number, report in enumerate(checked(sink))]
    return check_topic(dict(sink.client), prefix, heads)


@pytest.mark.parametrize(
    ("change", "flaws"),
    [("none", set()), ("edit", {Flaw.EDITED}), ("gap", {Flaw.GAP}), ("order", {Flaw.GAP, Flaw.REORDERED}), ("end", {Flaw.TRUNCATED})],
)
def test_what_is_done_to_the_topic_is_found(kafka: KafkaBroker, sink: KafkaSink, change: str, flaws: set[Flaw]) -> None:
    sink.open_lane(0, 1, sink.begin()).write(entries(0, 30), 10)
    first, second = _copied(sink, kafka, change)
    assert {finding.flaw for finding in first.findings} >= flaws
    assert bool(first.findings) is bool(flaws)
    assert second.findings == []
