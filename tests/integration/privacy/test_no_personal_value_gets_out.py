"""Personal values planted in every field of every record are found in no place that headrace writes."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import qdrant_edge as edge
from confluent_kafka import Consumer, Producer, TopicPartition

from schemas.errors import record_error_codes
from schemas.topics import OUTPUTS
from tests.fixtures.deployment import PARTITIONS, ROOT, Deployment
from tests.integration.privacy.canaries import PLAIN_AGENT, Planted, bytes_below, malformed_on_kafka, planted

#: What no input record can bring about: a leaf that masks badly (held by unit tests), a model that is away, an output larger than its topic takes.
NOT_FROM_OUTSIDE = {"masking_failed", "model_unavailable", "output_oversized"}
ONLY_ON_KAFKA = {"bytes_invalid", "schema_unknown", "event_time_in_future"}


def assert_clean(made: Planted, places: Iterator[tuple[str, bytes]]) -> set[str]:
    """Nothing planted is in any place; gives the places in which the plain agent is."""
    leaks: dict[str, list[str]] = {}
    plain = set()
    for place, data in places:
        if found := made.found_in(data):
            leaks[place] = found
        if PLAIN_AGENT.encode() in data:
            plain.add(place)
    assert not leaks
    return plain


def test_the_search_finds_every_canary_in_what_is_planted() -> None:
    made = planted()
    malformed_on_kafka(made)
    everything = b"\n".join(record.value + record.key + b"".join(value for _, value in record.headers) for record in made.records)
    assert made.found_in(everything) == sorted(set(made.where.values()))
    assert len(made.where) > 1_000


def test_nothing_gets_out_of_the_file_engine(tmp_path: Path) -> None:
    made = planted()
    lines = [_line(record.topic, record.value) for record in made.records]
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(lines))
    (tmp_path / "here").mkdir()
    done = Deployment("127.0.0.1:1", "", tmp_path / "here", "files.").headrace("run", "--input", "../in.jsonl", "--output", "../out")
    assert done.returncode == 0, done.stderr[-3000:]
    codes = Counter(json.loads(line)["code"] for line in (tmp_path / "out/dead_letters.jsonl").read_text().splitlines())
    assert codes == Counter(made.codes)
    assert set(codes) == set(record_error_codes()) - NOT_FROM_OUTSIDE - ONLY_ON_KAFKA
    places = [("stdout", done.stdout.encode()), ("stderr", done.stderr.encode()), *bytes_below(tmp_path / "out"), *bytes_below(tmp_path / "here")]
    assert assert_clean(made, iter(places)) == {"enriched_events.jsonl", "agent_metrics.jsonl"}


@pytest.mark.integration
def test_nothing_gets_out_of_the_kafka_engine(deployment: Deployment) -> None:
    made = planted()
    malformed_on_kafka(made)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    deployment.settings = {
        # librdkafka's own debug lines go to the same stderr.
        "kafka": {"security__debug": "all"},
        "http": {"host": "127.0.0.1", "port": port},
        "pipeline": {"lanes": 2},
        "source": {"batch_rows_max": 64},
        "qdrant": {"type": "edge", "path": str(deployment.folder / "vectors"), "text_chars_min": 1},
    }
    migrated = deployment.headrace("migrate")
    assert migrated.returncode == 0, migrated.stderr[-3000:]
    deployment.program = (str(ROOT / "tests/fixtures/worded_run.py"),)  # the same run, with models in its process: vectors need one
    _publish(deployment, made)
    pages, logs, state = _watched_until_killed(deployment, port, len(made.records))
    done = deployment.headrace("run", "--until-end")
    assert done.returncode == 0, done.stderr[-3000:]
    codes = Counter(str(letter["code"]) for letter in deployment.topic("dead_letters"))
    assert codes == Counter(made.codes)
    assert set(codes) == set(record_error_codes()) - NOT_FROM_OUTSIDE
    places = [
        *pages,
        *logs,
        ("stdout of the second run", done.stdout.encode()),
        ("stderr of the second run", done.stderr.encode()),
        *((f"killed: {place}", data) for place, data in state),
        *((f"ended: {place}", data) for place, data in bytes_below(deployment.folder)),
        *topics_of(deployment),
        *tables_of(deployment),
        *points_of(deployment.folder / "vectors"),
    ]
    plain = assert_clean(made, iter(places))
    # The plain agent is where agents are: in the topics, the tables and the state; so these places were searched.
    assert {"topic enriched_events values", "topic enriched_events keys", "topic agent_metrics values", "table metric_windows", "points"} <= plain
    assert any(place.startswith("killed: vectors") for place in plain), "the files of the vectors were searched"
    assert any(place.startswith("killed: ") and " bucket " in place for place in plain)
    assert any(b"headrace_dead_letters_total" in data for _, data in pages)
    assert any(b"[thrd:" in data for _, data in logs), "librdkafka wrote no debug lines"


def _line(topic: str, value: bytes) -> bytes:
    """Gives a line of the file engine; what is no object goes as it is."""
    if topic == "agent_events" and not value.endswith(b"}"):
        return value
    return b'{"topic":"' + topic.encode() + b'",' + value[1:]


def points_of(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Gives ids and payloads of all vectors: in the files they may be compressed."""
    shard = edge.EdgeShard.load(str(folder / "agent_steps"))
    records, _ = shard.scroll(edge.ScrollRequest(limit=100_000, with_payload=True))
    shard.close()
    yield "points", repr([(str(record.id), record.payload) for record in records]).encode()


def _publish(deployment: Deployment, made: Planted) -> None:
    producer = Producer({"bootstrap.servers": deployment.bootstrap, "linger.ms": 20})
    for record in made.records:
        producer.produce(deployment.prefix + record.topic, record.value, record.key, headers=list(record.headers), timestamp=record.kafka_time)
        producer.poll(0)
    assert producer.flush(60) == 0


def _watched_until_killed(
    deployment: Deployment, port: int, count: int
) -> tuple[list[tuple[str, bytes]], list[tuple[str, bytes]], list[tuple[str, bytes]]]:
    """Runs until every record was polled and written, reads the pages, kills the run; gives pages, logs and what lies on disk."""
    with (deployment.folder / "out.log").open("wb") as out, (deployment.folder / "err.log").open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, *deployment.program, "run"], env=deployment.environment(), cwd=deployment.folder, stdout=out, stderr=err
        )
        try:
            until = time.monotonic() + 90
            while True:
                assert subprocess.Popen.poll(process) is None, (deployment.folder / "err.log").read_text()[-3000:]
                assert time.monotonic() < until, "the run did not get through the records"
                page = page_of(port, "metrics")
                polled = sum(
                    float(line.split()[-1])
                    for line in page.decode().splitlines()
                    if line.startswith("headrace_events_total{") and 'outcome="polled"' in line
                )
                in_flight = [line for line in page.decode().splitlines() if line.startswith("headrace_rows_in_flight ")]
                if polled >= count and in_flight and float(in_flight[0].split()[-1]) == 0 and any((deployment.recovery / "state").rglob("*.pack")):
                    break
                time.sleep(0.05)
            pages = [(name, page_of(port, name)) for name in ("metrics", "ready", "live", "nothing")]
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(10)
    logs = [(name, (deployment.folder / name).read_bytes()) for name in ("out.log", "err.log")]
    return pages, logs, list(bytes_below(deployment.folder))


def page_of(port: int, name: str) -> bytes:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{name}", timeout=5) as answer:
            found = answer.read()
    except urllib.error.HTTPError as error:
        with error:
            found = error.read()
    except (urllib.error.URLError, ConnectionError):
        found = b""
    assert isinstance(found, bytes)
    return found


def topics_of(deployment: Deployment) -> Iterator[tuple[str, bytes]]:
    """Gives keys, values and headers of every record on the output topics, aborted ones too."""
    for topic in OUTPUTS:
        settings = {
            "bootstrap.servers": deployment.bootstrap,
            "group.id": "search",
            "isolation.level": "read_uncommitted",
            "enable.partition.eof": True,
        }
        consumer = Consumer(settings)
        consumer.assign([TopicPartition(deployment.prefix + topic, partition, 0) for partition in range(PARTITIONS)])
        keys, values, headers = [], [], []
        ended = 0
        while ended < PARTITIONS:
            for message in consumer.consume(500, timeout=0.2):
                if message.error():
                    ended += 1
                else:
                    keys.append(bytes(message.key() or b""))
                    values.append(bytes(message.value() or b""))
                    headers.append(repr(message.headers()).encode())
        consumer.close()
        for name, parts in (("keys", keys), ("values", values), ("headers", headers)):
            yield f"topic {topic} {name}", b"\n".join(parts)


def tables_of(deployment: Deployment) -> Iterator[tuple[str, bytes]]:
    """Gives every row of every table of the database as text."""
    with psycopg.connect(deployment.dsn) as connection:
        tables = connection.execute(
            "select table_schema, table_name from information_schema.tables where table_schema in ('public', 'vault')"
        ).fetchall()
        for schema, table in tables:
            rows = connection.execute(f'select t::text from "{schema}"."{table}" t').fetchall()
            yield f"table {table}", "\n".join(row[0] for row in rows).encode()
