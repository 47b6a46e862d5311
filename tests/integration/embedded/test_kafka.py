"""The embedded broker is a real one: transactions, crash safety, loopback only, gone with its parent."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from schemas.errors import ConfigError
from streams.embedded.choose import KafkaKind, choose_kafka
from streams.embedded.kafka import KafkaBroker, missing_for_kafka
from streams.embedded.mock_kafka import WARNING
from streams.embedded.ports import accepts
from tests.fixtures.probes import eventually, exists, listening

pytestmark = pytest.mark.integration


def read_all(bootstrap: str, topic: str, isolation: str) -> list[bytes]:
    """The values of a topic up to its end, as a consumer of that isolation level sees them."""
    settings = {"group.id": uuid.uuid4().hex, "auto.offset.reset": "earliest", "enable.partition.eof": True, "isolation.level": isolation}
    consumer = Consumer({"bootstrap.servers": bootstrap, **settings}, error_cb=lambda error: None)
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    values: list[bytes] = []
    ended: set[int] = set()

    def at_the_end() -> bool:
        message = consumer.poll(1.0)
        error = None if message is None else message.error()
        if message is not None and error is None:
            values.append(message.value() or b"")
        elif message is not None and error is not None and error.code() == KafkaError._PARTITION_EOF:
            ended.add(message.partition() or 0)
        return len(ended) == len(partitions)

    try:
        eventually(at_the_end, f"the end of {topic}", within_s=30)
    finally:
        consumer.close()
    return sorted(values)


def write_transaction(bootstrap: str, topic: str, values: list[bytes], *, commit: bool) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": uuid.uuid4().hex, "linger.ms": 0})
    producer.init_transactions(30)
    producer.begin_transaction()
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(30) == 0
    if commit:
        producer.commit_transaction(30)
    else:
        producer.abort_transaction(30)


def test_what_an_aborted_transaction_wrote_is_hidden_from_a_committed_reader(kafka: KafkaBroker, new_topic: Callable[..., str]) -> None:
    topic = new_topic(partitions=2)
    write_transaction(kafka.bootstrap, topic, [b"kept-1", b"kept-2"], commit=True)
    write_transaction(kafka.bootstrap, topic, [b"undone"], commit=False)
    assert read_all(kafka.bootstrap, topic, "read_committed") == [b"kept-1", b"kept-2"]
    assert read_all(kafka.bootstrap, topic, "read_uncommitted") == [b"kept-1", b"kept-2", b"undone"]


@pytest.mark.slow
def test_committed_data_outlive_a_kill_and_a_new_broker_on_the_same_directory(tmp_path: Path, parts_cache: Path) -> None:
    with KafkaBroker(tmp_path, cache=parts_cache) as broker:
        before = broker.bootstrap
        broker.create_topics({"events": 1})
        write_transaction(broker.bootstrap, "events", [b"first"], commit=True)
        killed = broker.pid
        broker.kill()
        assert broker.pid is None
        broker.restart()
        assert broker.bootstrap == before
        assert broker.pid != killed
        # A commit is acknowledged before its marker is in the partition: after the kill the coordinator still has to write it.
        eventually(lambda: read_all(broker.bootstrap, "events", "read_committed") == [b"first"], "the committed value is readable")
        write_transaction(broker.bootstrap, "events", [b"second"], commit=True)
    with KafkaBroker(tmp_path, cache=parts_cache) as successor:
        both = [b"first", b"second"]
        eventually(lambda: read_all(successor.bootstrap, "events", "read_committed") == both, "both committed values are readable")


def test_the_broker_listens_on_the_loopback_address_only(kafka: KafkaBroker) -> None:
    assert kafka.pid is not None
    found = listening(kafka.pid)
    assert {address for address, _ in found} == {"127.0.0.1"}
    assert int(kafka.bootstrap.split(":")[1]) in {port for _, port in found}


def test_the_broker_dies_when_its_parent_is_killed(tmp_path: Path, parts_cache: Path, pytestconfig: pytest.Config) -> None:
    program = (
        "import json, signal, sys; from pathlib import Path; from streams.embedded.kafka import KafkaBroker\n"
        "with KafkaBroker(Path(sys.argv[1]), cache=Path(sys.argv[2])) as broker:\n"
        "    print(json.dumps([broker.pid, broker.bootstrap]), flush=True); signal.pause()"
    )
    argv = [sys.executable, "-c", program, str(tmp_path), str(parts_cache)]
    with subprocess.Popen(argv, cwd=pytestconfig.rootpath, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid, bootstrap = json.loads(parent.stdout.readline())
        port = int(bootstrap.split(":")[1])
        assert accepts(port)
        parent.kill()
    eventually(lambda: not exists(pid) and not accepts(port), "broker gone and its port closed")


def test_a_topic_keeps_its_partitions_when_created_again_and_refuses_another_number(kafka: KafkaBroker, new_topic: Callable[..., str]) -> None:
    topic = new_topic(partitions=3)
    kafka.create_topics({topic: 3})
    with pytest.raises(ConfigError, match=f"topic {topic}: 4 partitions are required, it exists with 3"):
        kafka.create_topics({topic: 4})


def test_a_topic_that_was_not_created_does_not_come_into_being(kafka: KafkaBroker) -> None:
    misspelt = f"misspelt-{uuid.uuid4().hex}"
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    assert producer.list_topics(misspelt, timeout=10).topics[misspelt].error is not None
    assert misspelt not in producer.list_topics(timeout=10).topics


def test_a_failed_start_is_explained_by_the_brokers_own_words_and_leaves_nothing(parts_cache: Path) -> None:
    broker = KafkaBroker(cache=parts_cache, settings={"num.io.threads": "many"})
    with pytest.raises(ConfigError, match=r"(?s)Kafka ended with status .*num\.io\.threads"):
        broker.__enter__()
    assert broker.pid is None
    assert not broker.log.parent.exists()


def test_without_java_the_mock_is_chosen_with_its_warning_and_the_packages_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    chosen = choose_kafka(tmp_path / "data", cache=tmp_path / "cache")
    assert chosen.kind is KafkaKind.MOCK
    assert chosen.warning is not None
    assert chosen.warning.startswith(WARNING)
    assert "apt-get install openjdk-17-jre-headless maven" in chosen.warning
    with pytest.raises(ConfigError) as refused:
        choose_kafka(tmp_path / "data", wanted=KafkaKind.REAL, cache=tmp_path / "cache")
    assert [problem.split(":")[0] for problem in refused.value.problems] == ["java", "mvn"]


def test_the_real_broker_is_chosen_where_it_can_run_and_needs_no_maven_once_the_jars_are_there(
    kafka: KafkaBroker, parts_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    java = Path("/proc") / str(kafka.pid) / "exe"
    (tmp_path / "java").symlink_to(java.resolve())
    monkeypatch.setenv("PATH", str(tmp_path))
    assert missing_for_kafka(parts_cache) == ()
    chosen = choose_kafka(tmp_path / "data", cache=parts_cache)
    assert (chosen.kind, chosen.warning) == (KafkaKind.REAL, None)
    assert [problem.split(":")[0] for problem in missing_for_kafka(tmp_path / "empty")] == ["mvn"]
