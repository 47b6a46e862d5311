"""The canary corpus through real Kafka, PostgreSQL and vectors while models, database and the run itself die: what masking knows is nowhere."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path

import pytest
from confluent_kafka import Producer

from schemas.errors import record_error_codes
from schemas.topics import INPUTS
from streams.embedded.kafka import KafkaBroker
from streams.embedded.ports import free_ports
from streams.embedded.postgres import PostgresServer
from tests.corpora.canary_leaves import TIME_MS, Canary, corpus
from tests.corpora.canary_recall import missed
from tests.corpora.canary_writings import Search
from tests.fixtures.deployment import ROOT, Deployment, make_deployment
from tests.fixtures.probes import eventually
from tests.fixtures.words import WordModels
from tests.integration.pipeline.test_faults import not_ready
from tests.integration.privacy.canaries import bytes_below
from tests.integration.privacy.test_no_personal_value_gets_out import page_of, points_of, tables_of, topics_of

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

#: Lives in the order of their deaths, each with the orders to its models.
FEW = (("inside_transaction:1", "pii_tagger"), ("after_facts:2", "slow 1"))
ALL = (
    *FEW,
    ("after_poll:2", ""),
    ("after_state_update:2", "guard"),
    ("after_commit:2", "pii_tagger\nguard"),
    ("before_snapshot:1", ""),
    ("after_pack:1", "guard"),
    ("during_recovery:1", "pii_tagger"),
)


@pytest.mark.parametrize(
    ("topics", "deaths"),
    [
        pytest.param(("agent_events",), FEW, id="few", marks=pytest.mark.slow),
        pytest.param(tuple(INPUTS), ALL, id="all", marks=pytest.mark.slow),
    ],
)
def test_what_masking_knows_gets_out_under_no_fault(
    topics: tuple[str, ...], deaths: Sequence[tuple[str, str]], kafka: KafkaBroker, tmp_path: Path
) -> None:
    canaries = list(corpus(topics))
    unknown = missed(canaries, WordModels())
    search = Search(one.value for one in canaries if one.value not in unknown)
    with PostgresServer(fsync=False) as server:
        deployment = make_deployment(kafka, server.dsn, tmp_path)
        places = _set_up(deployment)
        parts = [canaries[number :: len(deaths) + 2] for number in range(len(deaths) + 2)]
        for part, (death, orders) in zip(parts, deaths, strict=False):
            _publish(deployment, part)
            (tmp_path / "models_away").write_text(orders)
            died = deployment.headrace("run", failpoint=death)
            assert died.returncode == -signal.SIGKILL, (death, died.stderr[-3000:])
            places += [(f"{death} stdout", died.stdout.encode()), (f"{death} stderr", died.stderr.encode())]
            places += [(f"{death} {place}", data) for place, data in bytes_below(tmp_path)]
        (tmp_path / "models_away").write_text("")
        _publish(deployment, parts[-2])
        places += _killed_without_a_database(deployment, server)
        _publish(deployment, parts[-1])
        done = deployment.headrace("run", "--until-end")
        assert done.returncode == 0, done.stderr[-3000:]
        places += [("stdout", done.stdout.encode()), ("stderr", done.stderr.encode()), *_written(deployment)]

        leaks = {place: found for place, data in places if (found := search.found_in(data))}
        assert leaks == {}
        fates = [(letter["topic"], letter["partition"], letter["offset"]) for letter in deployment.topic("dead_letters")]
        assert {letter["code"] for letter in deployment.topic("dead_letters")} <= set(record_error_codes())
        fates += [(event["topic"], event["partition"], event["offset"]) for event in deployment.topic("enriched_events")]
        assert len(fates) == len(set(fates)) == len(canaries), "every record has one fate"
        out = Search(unknown).found_in(b"\n".join(data for _, data in places))
        assert out, "what masking does not know is found: these places were searched"


def _set_up(deployment: Deployment) -> list[tuple[str, bytes]]:
    policy = (resources.files("governance") / "policies/default.yaml").read_text(encoding="utf-8")
    policy = policy.replace("when_down: pause", "when_down: reject\n    after_s: 0", 1)
    policy = policy.replace("when_down: rules_only\n    after_s: 10", "when_down: rules_only\n    after_s: 0", 1)
    (deployment.folder / "policy.yaml").write_text(policy)
    (port,) = free_ports(1)
    deployment.settings = {
        "pipeline": {"lanes": 2, "policy": str(deployment.folder / "policy.yaml")},
        "source": {"batch_rows_max": 20, "linger_ms": 5, "idle_ms": 3_600_000},
        "http": {"port": port},
        "qdrant": {"type": "edge", "path": str(deployment.folder / "vectors"), "text_chars_min": 1},
    }
    migrated = deployment.headrace("migrate")
    assert migrated.returncode == 0, migrated.stderr[-3000:]
    deployment.program = (str(ROOT / "tests/fixtures/worded_run.py"),)
    return [("migrate", migrated.stdout.encode() + migrated.stderr.encode())]


def _publish(deployment: Deployment, canaries: Sequence[Canary]) -> None:
    producer = Producer({"bootstrap.servers": deployment.bootstrap, "linger.ms": 20})
    for one in canaries:
        producer.produce(deployment.prefix + one.topic, one.event, one.key, headers=list(one.headers), timestamp=TIME_MS)
        producer.poll(0)
    assert producer.flush(60) == 0


def _killed_without_a_database(deployment: Deployment, server: PostgresServer) -> list[tuple[str, bytes]]:
    """Runs while the database dies, reads the pages, kills the run; the database is back afterwards."""
    port = int(deployment.settings["http"]["port"])
    process = deployment.start("run")
    try:
        eventually(lambda: b"headrace_rows_in_flight" in page_of(port, "metrics"), "a run with pages", 60)
        server.kill()
        eventually(lambda: "timescale" in not_ready(port), "a page that names the sink", 60)
        pages = [(f"page {name}", page_of(port, name)) for name in ("metrics", "ready", "live", "nothing")]
    finally:
        process.send_signal(signal.SIGKILL)
        out, err = process.communicate(timeout=30)
    server.restart()
    return [*pages, ("stdout without a database", out.encode()), ("stderr without a database", err.encode()), *bytes_below(deployment.folder)]


def _written(deployment: Deployment) -> Iterator[tuple[str, bytes]]:
    yield from bytes_below(deployment.folder)
    yield from topics_of(deployment)
    yield from tables_of(deployment)
    yield from points_of(deployment.folder / "vectors")
