"""Dead letters on a real broker and a real database: listed, shown, redriven once, put aside, and always pointing to the original."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.coordinates import record_uid
from schemas.topics import REDRIVEN_HEADER
from tests.fixtures.deployment import Deployment

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

#: A value that no output, table or message may hold.
CANARY = "mia.li.canary@example.com"
TOPIC = "agent_events"


@dataclass(frozen=True)
class Record:
    value: bytes
    partition: int = 0
    topic: str = TOPIC
    key: bytes = b"planner"
    due_ms: int = 0


def event(number: int, size: int = 0) -> bytes:
    said = {
        "event_id": f"e{number}",
        "event_type": "agent.executed",
        "timestamp": 1_700_000_000_000 + number,
        "agent_id": "planner",
        "input_data": {"text": CANARY + "x" * size},
    }
    return json.dumps(said).encode()


BROKEN = b'{"who": "' + CANARY.encode() + b'"'


@pytest.fixture
def limits() -> dict[str, Any]:
    return {"record_bytes_max": 2_000}


@pytest.fixture
def ran(deployment: Deployment, limits: dict[str, Any]) -> Deployment:
    """A run has met two whole records, one that is broken for good, and two that are too large for the limit of today."""
    deployment.settings["limits"] = limits
    deployment.publish([Record(event(0)), Record(BROKEN), Record(event(1, size=3_000)), Record(event(2)), Record(event(3, size=3_000), partition=1)])
    run(deployment)
    return deployment


def run(deployment: Deployment) -> None:
    told = deployment.headrace("run", "--until-end")
    assert told.returncode == 0, told.stderr[-3000:]


def dlq(deployment: Deployment, *arguments: str, status: int = 0) -> str:
    told = deployment.headrace("dlq", *arguments)
    assert told.returncode == status, told.stdout + told.stderr[-2000:]
    assert "canary" not in told.stdout + told.stderr
    return told.stdout if status != 2 else told.stderr


def listed(deployment: Deployment, *arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in dlq(deployment, "list", "--format", "json", *arguments).splitlines()]


def events(deployment: Deployment) -> dict[str, list[int | None]]:
    """Gives where each enriched event was redriven from, by its id."""
    found: dict[str, list[int | None]] = {}
    for one in deployment.topic("enriched_events"):
        found.setdefault(one["event_id"], []).append(one["redriven_from"])
    return found


def copies(deployment: Deployment, partition: int) -> list[tuple[bytes, dict[str, Any]]]:
    """Gives value and headers of every committed record of an input partition."""
    consumer = Consumer(
        {"bootstrap.servers": deployment.bootstrap, "group.id": "reader", "isolation.level": "read_committed", "enable.partition.eof": True}
    )
    consumer.assign([TopicPartition(deployment.prefix + TOPIC, partition, 0)])
    found: list[tuple[bytes, dict[str, Any]]] = []
    while True:
        for message in consumer.consume(100, timeout=0.2):
            if message.error():
                consumer.close()
                return found
            value = message.value()
            assert isinstance(value, bytes)
            found.append((value, dict(message.headers() or ())))


@pytest.mark.slow
def test_letters_are_listed_by_code_topic_agent_and_time_and_shown_without_what_the_record_holds(ran: Deployment) -> None:
    assert [(one["code"], one["partition"], one["offset"], one["state"]) for one in listed(ran)] == [
        ("json_invalid", 0, 1, "open"),
        ("record_oversized", 0, 2, "open"),
        ("record_oversized", 1, 0, "open"),
    ]
    assert len(listed(ran, "--code", "record_oversized", "--topic", TOPIC)) == 2
    assert listed(ran, "--topic", "tool_executions") == listed(ran, "--agent", "planner") == []
    at = listed(ran)[0]["kafka_time"]
    assert len(listed(ran, "--from", str(at))) == 3
    assert listed(ran, "--to", str(at)) == []
    assert "3 dead letters, json_invalid 1, record_oversized 2" in dlq(ran, "list")
    shown = json.loads(dlq(ran, "show", record_uid(TOPIC, 0, 2)))
    assert (shown["code"], shown["state"], shown["record"], shown["original"]) == ("record_oversized", "open", "still in its topic", None)


@pytest.mark.slow
def test_what_is_redriven_twice_is_processed_once_and_keeps_where_it_came_from(ran: Deployment) -> None:
    ran.settings["limits"] = {"record_bytes_max": 100_000}
    planned = dlq(ran, "redrive", "--code", "record_oversized", "--dry-run")
    assert "2 would be redriven, 0 gone" in planned
    assert len(copies(ran, 0)) == 4
    assert "2 redriven, 0 gone" in dlq(ran, "redrive", "--code", "record_oversized", "--by", "ann")
    assert "0 redriven, 0 gone" in dlq(ran, "redrive", "--code", "record_oversized")
    assert [(value, headers) for value, headers in copies(ran, 0)[4:]] == [(event(1, size=3_000), {REDRIVEN_HEADER: b"2"})]
    run(ran)
    assert events(ran) == {"e0": [None], "e1": [2], "e2": [None], "e3": [0]}
    assert [(one["offset"], one["state"], one["redriven_to"]) for one in listed(ran, "--state", "redriven")] == [
        (2, "redriven", 4),
        (0, "redriven", 1),
    ]
    assert [one["code"] for one in listed(ran)] == ["json_invalid"]
    assert json.loads(dlq(ran, "show", record_uid(TOPIC, 0, 2)))["mark"]["marked_by"] == "ann"
    acts = ran.table("audit_records", ["service", "result", "action", "detail"])
    mine = sorted((result, json.loads(detail)) for service, result, _, detail in acts if service == "dlq redrive by ann")
    assert [(result, detail["letters"], detail.get("redriven")) for result, detail in mine] == [("begun", 2, None), ("done", 2, 2)]
    assert ran.headrace("audit", "verify").returncode == 0


@pytest.mark.slow
def test_a_copy_that_ends_too_has_a_letter_of_its_own_that_points_to_the_original(ran: Deployment) -> None:
    broken = record_uid(TOPIC, 0, 1)
    dlq(ran, "redrive", broken)
    run(ran)
    [again] = [one for one in listed(ran) if one["redriven_from"] is not None]
    assert (again["code"], again["redriven_from"], again["offset"] > 3) == ("json_invalid", 1, True)
    shown = json.loads(dlq(ran, "show", again["record_uid"]))
    assert shown["original"] == {"topic": TOPIC, "partition": 0, "offset": 1}
    dlq(ran, "redrive", again["record_uid"])
    run(ran)
    [third] = [one for one in listed(ran) if one["redriven_from"] is not None]
    assert (third["redriven_from"], third["offset"] > again["offset"]) == (1, True)
    assert sorted(ran.table("dead_letters", ["redriven_from"]), key=str) == [(1,), (1,), (None,), (None,), (None,)]


@pytest.mark.slow
def test_redriving_works_while_the_pipeline_runs(ran: Deployment) -> None:
    ran.settings["limits"] = {"record_bytes_max": 100_000}
    running = ran.start("run")
    try:
        dlq(ran, "redrive", "--all")
        wanted = {"e0": [None], "e1": [2], "e2": [None], "e3": [0]}
        while events(ran) != wanted or not [one for one in listed(ran) if one["redriven_from"] == 1]:
            pass  # pytest's timeout is the deadline
    finally:
        running.send_signal(signal.SIGTERM)
        _, told = running.communicate(timeout=60)
    assert running.returncode == 0, told[-3000:]


@pytest.mark.slow
def test_a_record_that_retention_took_is_told_as_gone_and_the_others_are_redriven(ran: Deployment) -> None:
    admin = AdminClient({"bootstrap.servers": ran.bootstrap})
    for answer in admin.delete_records([TopicPartition(ran.prefix + TOPIC, 0, 2)]).values():
        answer.result(30)
    told = dlq(ran, "redrive", "--all", status=1)
    assert (
        f"{record_uid(TOPIC, 0, 1)}  {TOPIC}[0] offset 1  gone: retention has taken it: the oldest record left in the partition has offset 2" in told
    )
    assert "2 redriven, 1 gone" in told
    assert json.loads(dlq(ran, "show", record_uid(TOPIC, 0, 1)))["record"].startswith("gone: ")
    assert [one["offset"] for one in listed(ran)] == [1]


@pytest.mark.slow
def test_what_is_purged_is_put_aside_and_never_redriven(ran: Deployment) -> None:
    asked = ran.headrace("dlq", "purge", "--all")
    assert asked.returncode != 0, "nobody said yes"
    assert "3 would be purged" in dlq(ran, "purge", "--all", "--dry-run")
    assert len(listed(ran)) == 3
    assert "1 purged" in dlq(ran, "purge", "--code", "json_invalid", "--yes")
    assert "0 would be purged" in dlq(ran, "purge", "--code", "json_invalid", "--yes", "--dry-run")
    assert "0 redriven, 0 gone" in dlq(ran, "redrive", record_uid(TOPIC, 0, 1))
    assert [one["offset"] for one in listed(ran, "--state", "purged")] == [1]
    assert {(result, action) for result, action in ran.table("audit_records", ["result", "action"]) if action == "purge"} == {
        ("begun", "purge"), ("done", "purge")
    }  # fmt: skip
    assert len(ran.table("dead_letters", ["code"])) == 3


@pytest.mark.slow
def test_a_redrive_that_was_cut_off_leaves_nothing_and_the_next_does_all(ran: Deployment, tmp_path: Path) -> None:
    """Killed between the copies and their commit: the transaction is not there for anyone, and is ended by the next one."""
    killed = tmp_path / "killed.py"
    killed.write_text(
        "import os, signal, sys\n"
        "from sinks import redrive\n"
        "redrive.encoded = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from streams.cli.main import status_of\n"
        "sys.exit(status_of(sys.argv[1:]))\n"
    )
    ran.program = (str(killed),)
    assert ran.headrace("dlq", "redrive", "--all").returncode == -signal.SIGKILL
    ran.program = ("-m", "streams.cli.main")
    assert len(listed(ran)) == 3
    assert "3 redriven, 0 gone" in dlq(ran, "redrive", "--all")
    assert [headers for _, headers in copies(ran, 0)[4:]] == [{REDRIVEN_HEADER: b"1"}, {REDRIVEN_HEADER: b"2"}]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("redrive",), "say which by ids, --code, --topic, --agent, --from and --to, or --all"),
        (("redrive", "--all", "--code", "json_invalid"), "--all goes with nothing that says which"),
        (("purge", "--yes"), "say which by ids"),
        (("list", "--code", "nothing"), "must be one of bytes_invalid"),
        (("list", "--topic", "nothing"), "must be one of agent_events"),
        (("list", "--from", "yesterday"), "must be ISO 8601"),
        (("show", "0" * 32), "no dead letter has the id"),
        (("redrive", "0" * 32), "no dead letter has the id"),
    ],
)
def test_wrong_arguments_are_told_before_anything_is_done(deployment: Deployment, arguments: tuple[str, ...], problem: str) -> None:
    assert problem in dlq(deployment, *arguments, status=2)
