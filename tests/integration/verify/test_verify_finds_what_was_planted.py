"""``headrace verify`` on real Kafka and PostgreSQL: a run verifies clean, and every planted defect is found with its coordinates."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import fastavro
import psycopg
import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from schemas import avro
from schemas.topics import INPUTS, OUTPUTS
from streams.embedded.kafka import KafkaBroker
from streams.embedded.postgres import PostgresServer
from streams.fleet.fleet import Fleet
from tests.fixtures.deployment import PARTITIONS, Deployment, make_deployment

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

SETTINGS = {"source": {"batch_rows_max": 200, "source_lanes": 2, "linger_ms": 5, "idle_ms": 3_600_000}, "pipeline": {"workers": 2, "lanes": 2}}
RECORDS = 600
Json = dict[str, Any]
Place = tuple[str, int, int]


def verified(deployment: Deployment, *arguments: str) -> tuple[int, Json]:
    """Gives exit status and report."""
    done = deployment.headrace("verify", "--json", *arguments)
    assert done.stdout, done.stderr[-3000:]
    return done.returncode, json.loads(done.stdout)


def found(report: Json) -> set[tuple[str, str, Place | None]]:
    """Gives kind, what and the last place (the input record, where it is about one) of each finding."""
    return {(one["kind"], one["what"], tuple(one["places"][-1].values()) if one["places"] else None) for one in report["places"]}


@pytest.fixture(scope="module")
def ran(kafka: KafkaBroker, postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    deployment = make_deployment(kafka, postgres.create_database("verified"), tmp_path_factory.mktemp("verified"))
    deployment.settings = dict(SETTINGS)
    deployment.publish(itertools.islice(Fleet(seed=11, agents=12, rate=200.0, base_time_ms=1_700_000_000_000).records(), RECORDS))
    done = deployment.headrace("run", "--until-end")
    assert done.returncode == 0, done.stderr[-3000:]
    return deployment


@dataclass
class Out:
    """A message of a topic, decoded where it is an output."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes
    headers: list[tuple[str, str | bytes | None]]
    time_ms: int
    record: Json = field(default_factory=dict)

    @property
    def about(self) -> Place:
        """Its input record."""
        return self.record["topic"], self.record["partition"], self.record["offset"]

    def encoded(self) -> bytes:
        """Its record as Avro, under the schema id that it came with."""
        data = io.BytesIO()
        fastavro.schemaless_writer(data, schema(self.topic), self.record)
        return self.value[:5] + data.getvalue()


def schema(topic: str) -> Any:
    return fastavro.parse_schema(json.loads(avro.text(OUTPUTS[topic].schema)))


def messages(deployment: Deployment) -> Iterator[Out]:
    """Gives every committed message of every topic, each partition's in its order."""
    consumer = Consumer(
        {"bootstrap.servers": deployment.bootstrap, "group.id": "copy", "enable.partition.eof": True, "auto.offset.reset": "earliest"}
    )
    places = [(topic, partition) for topic in (*INPUTS, *OUTPUTS) for partition in range(PARTITIONS)]
    consumer.assign([TopicPartition(deployment.prefix + topic, partition, 0) for topic, partition in places])
    left = len(places)
    while left:
        for message in consumer.consume(1_000, timeout=0.2):
            if message.error():
                left -= 1
                continue
            yield out_of(message, deployment.prefix)
    consumer.close()


def out_of(message: Message, prefix: str) -> Out:
    topic, value, headers, key = str(message.topic()).removeprefix(prefix), message.value(), message.headers(), message.key()
    assert isinstance(value, bytes)
    assert not isinstance(headers, dict)
    assert not isinstance(key, str)
    made = Out(topic, int(message.partition() or 0), key, value, headers or [], message.timestamp()[1])
    if topic in OUTPUTS:
        read: Any = fastavro.schemaless_reader(io.BytesIO(value[5:]), schema(topic), None)
        made.record = read
    return made


def copied(kafka: KafkaBroker, ran: Deployment, change: Callable[[list[Out]], list[Out]]) -> Deployment:
    """Gives a deployment whose topics are those of another, changed; database and recovery directory are a view of the other's."""
    made = replace(ran, prefix=ran.prefix.rstrip(".") + f"-copy{next(_copies)}.", settings={**ran.settings, "recovery": {"dir": str(ran.recovery)}})
    kafka.create_topics({made.prefix + topic: PARTITIONS for topic in (*INPUTS, *OUTPUTS)})
    producer = Producer({"bootstrap.servers": made.bootstrap, "linger.ms": 20, "enable.idempotence": True})
    for one in change(list(messages(ran))):
        producer.produce(made.prefix + one.topic, one.value, one.key, one.partition, timestamp=one.time_ms, headers=one.headers)
        producer.poll(0)
    assert producer.flush(60) == 0
    return made


_copies = itertools.count()


def test_a_run_verifies_clean(ran: Deployment) -> None:
    status, report = verified(ran, "--complete", "--masks", "20")
    assert (status, report["status"], report["findings"]) == (0, "clean", []), json.dumps(report, indent=1)[:6000]
    assert all(one["whole"] for one in report["conservation"])
    assert sum(one["records"] for one in report["conservation"]) == RECORDS
    assert report["counts"]["windows"] > 20
    assert report["counts"]["values that Presidio found in them"] > 0


def test_a_run_that_stopped_in_order_verifies_clean_by_what_it_recorded(ran: Deployment) -> None:
    status, report = verified(ran, "--masks", "0")
    assert (status, report["findings"], report["unverified"]) == (0, [], [])


def test_a_range_of_a_run_verifies_clean(ran: Deployment) -> None:
    begin = ran.epoch_ms + 1_000
    status, report = verified(ran, "--complete", "--masks", "0", "--from", str(begin), "--to", str(begin + 1_000))
    assert (status, report["findings"]) == (0, []), json.dumps(report, indent=1)[:4000]
    assert 50 < sum(one["records"] for one in report["conservation"]) < RECORDS / 2


class Planted:
    """Defects, planted into copies of the topics one by one, and what must be found."""

    def __init__(self) -> None:
        self.wanted: set[tuple[str, str, Place | None]] = set()
        self.count = 0

    def __call__(self, outs: list[Out]) -> list[Out]:
        """Changes the messages."""
        calm = [one for one in outs if one.topic == "enriched_events" and not one.record["hits"] and one.record["latency_us"] is not None]
        by_agent: dict[tuple[Any, ...], list[Out]] = {}
        for one in calm:
            by_agent.setdefault((one.record["agent_id"], one.record["topic"]), []).append(one)
        groups = sorted(by_agent.values(), key=len)
        removed, doubled, changed, flagged, raised = (group[len(group) // 2] for group in groups[-5:])
        outs.remove(removed)
        self.wanted.add(("lost", "enriched_events", removed.about))
        outs.append(doubled)
        self.wanted.add(("duplicated", "enriched_events", None))
        self.edit(changed, "different", latency_us=changed.record["latency_us"] + 1)
        self.edit(flagged, "late", late=not flagged.record["late"])
        self.edit(raised, "different", model="another")
        self.swap(outs, groups[-6])
        self.unmask(outs)
        self.letters(outs)
        self.windows(outs)
        self.decisions(outs)
        return outs

    def edit(self, out: Out, kind: str, **values: Any) -> None:
        """Changes fields of one event."""
        out.record.update(values)
        out.value = out.encoded()
        self.wanted.add((kind, out.topic, out.about))

    def swap(self, outs: list[Out], group: list[Out]) -> None:
        """Changes the places of two events of one agent and partition."""
        first, second = outs.index(group[0]), outs.index(group[1])
        outs[first], outs[second] = outs[second], outs[first]
        self.wanted.add(("out_of_order", "enriched_events", None))

    def unmask(self, outs: list[Out]) -> None:
        """Puts an address back where it was masked."""
        place, raw = next(
            ((one.record["topic"], one.partition, offset), one)
            for offset, one in enumerate(one for one in outs if one.topic == "enriched_events" and "<EMAIL_ADDRESS>" in (one.record["output"] or ""))
        )
        del place
        source = [one for one in outs if one.topic == raw.record["topic"] and one.partition == raw.record["partition"]][raw.record["offset"]]
        given = json.loads(source.value)
        name = {"agent": "output_data", "tool": "result", "reasoning": "content"}[raw.record["kind"]]
        raw.record["output"] = json.dumps(given[name], ensure_ascii=False)
        raw.value = raw.encoded()
        self.wanted.add(("unmasked", "enriched_events", raw.about))

    def letters(self, outs: list[Out]) -> None:
        """Takes one dead letter away, and gives another one a wrong code."""
        gone, other = [one for one in outs if one.topic == "dead_letters"][:2]
        outs.remove(gone)
        self.wanted.add(("lost", "dead_letters", gone.about))
        wrong = "nesting_too_deep" if other.record["code"] != "nesting_too_deep" else "bytes_invalid"
        self.edit(other, "different", code=wrong)

    def windows(self, outs: list[Out]) -> None:
        """Makes one window off by one, and takes another one away."""
        off, gone = [one for one in outs if one.topic == "agent_metrics"][-2:]
        off.record["events"] += 1
        off.value = off.encoded()
        self.wanted.add(("different", "agent_metrics", None))
        for one in [one for one in outs if one.topic == "agent_metrics" and one.record["window_uid"] == gone.record["window_uid"]]:
            outs.remove(one)
        self.wanted.add(("lost", "agent_metrics", None))

    def decisions(self, outs: list[Out]) -> None:
        """Takes one decision away, and lets another one say something else."""
        gone, other = [one for one in outs if one.topic == "guardrail_decisions"][:2]
        outs.remove(gone)
        self.wanted.add(("lost", "guardrail_decisions", gone.about))
        other.record["verdict"] = "warn" if other.record["verdict"] != "warn" else "deny"
        other.value = other.encoded()
        self.wanted.add(("different", "guardrail_decisions", None))


@pytest.mark.slow
def test_what_is_planted_into_topics_is_found_with_its_coordinates(kafka: KafkaBroker, ran: Deployment) -> None:
    planted = Planted()
    status, report = verified(copied(kafka, ran, planted), "--complete", "--masks", str(RECORDS))
    assert status == 1
    told = found(report)
    exact = {one for one in planted.wanted if one[2] is not None}
    assert exact <= told, (exact - told, json.dumps(report["findings"]))
    kinds = {(kind, what) for kind, what, _ in told}
    assert {(kind, what) for kind, what, _ in planted.wanted} <= kinds
    # What was not planted is not found; tables differ from the changed topics, and say so.
    assert {(kind, what) for kind, what in kinds if what in OUTPUTS} == {(kind, what) for kind, what, _ in planted.wanted}
    assert not all(one["whole"] for one in report["conservation"])
    lost = sum(one["lost"] for one in report["conservation"])
    assert lost == len([one for one in planted.wanted if one[:2] in {("lost", "enriched_events"), ("lost", "dead_letters")}])
    assert "@" not in json.dumps(report)  # no address: a report holds no value


def test_what_is_planted_into_tables_is_found(ran: Deployment) -> None:
    with psycopg.connect(ran.dsn) as connection:
        (gone,) = connection.execute("DELETE FROM dead_letters WHERE ctid = (SELECT min(ctid) FROM dead_letters) RETURNING record_uid").fetchall()
        (off,) = connection.execute(
            "UPDATE metric_windows SET events = events + 1 WHERE ctid = (SELECT min(ctid) FROM metric_windows) RETURNING window_uid"
        ).fetchall()
        connection.execute(
            'INSERT INTO dead_letters (record_uid, topic, partition, "offset", step, disposition, code, reason) '
            "SELECT 'strange', topic, partition, -5, step, disposition, code, reason FROM dead_letters LIMIT 1"
        )
    status, report = verified(ran, "--complete", "--masks", "0")
    assert status == 1
    assert {(one["kind"], one["what"]) for one in report["findings"]} == {
        ("lost", "table dead_letters"),
        ("different", "table metric_windows"),
        ("unexpected", "table dead_letters"),
    }
    words = "\n".join(one["words"] for one in report["places"])
    assert gone[0] in words
    assert off[0] in words
    assert "strange" in words


@pytest.mark.slow
def test_a_transaction_that_is_left_open_hangs(kafka: KafkaBroker, ran: Deployment) -> None:
    made = copied(kafka, ran, lambda outs: outs)
    producer = Producer({"bootstrap.servers": made.bootstrap, "transactional.id": "left-open", "transaction.timeout.ms": 60_000})
    producer.init_transactions(10)
    producer.begin_transaction()
    producer.produce(made.prefix + "alerts", b"x", partition=0, timestamp=1_700_000_000_000)
    assert producer.flush(10) == 0
    status, report = verified(made, "--complete", "--masks", "0")
    hanging = [one for one in report["places"] if one["kind"] == "hanging"]
    producer.abort_transaction(10)
    assert status == 1
    assert [(one["what"], one["places"][0]["partition"]) for one in hanging] == [("alerts", 0)]
