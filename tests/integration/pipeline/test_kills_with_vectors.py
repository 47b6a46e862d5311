"""Killed with SIGKILL between the sinks, the embedder away in some lives: every event that qualifies has one point, and no name is in any file."""

from __future__ import annotations

import json
import re
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import qdrant_edge as edge

from streams.embedded.kafka import KafkaBroker
from streams.embedded.postgres import PostgresServer
from streams.fleet.record import PASSED, FleetRecord
from tests.fixtures.deployment import ROOT, Deployment
from tests.fixtures.words import PEOPLE

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]

#: Lives in the order of their deaths, each with the models that are away in it. Without the embedder the run waits, after its first writes to Kafka.
DEATHS = (("after_commit:2", ""), ("before_snapshot:2", ""), ("after_commit:1", "embedder"), ("after_pack:2", ""), ("after_commit:1", "embedder"))
RECORDS_PER_LIFE = 60
BASE = 1_700_000_000_000
CHARS_MIN = 16
PLACEHOLDER = re.compile(r"<[A-Z_]+(:[a-p]{12})?>")


def record(number: int) -> FleetRecord:
    """Gives a record; one in five has a text that is too short, one in five has none, some come twice."""
    agent, time = f"agent-{number % 7}", BASE + 200 * number
    text = f"note {number}: {PEOPLE[number % len(PEOPLE)]} wrote about the {'delivery ' * (number % 5)}" if number % 5 else "ok"
    value = {"event_id": f"e{number - number % 10 // 9}", "timestamp": time, "agent_id": agent}
    topic = ("tool_executions", "reasoning_traces", "agent_events")[number % 3]
    if topic == "tool_executions":
        value |= {"event_type": "tool.executed", "tool_name": "search", **({} if number % 5 == 1 else {"result": text})}
    elif topic == "reasoning_traces":
        value |= {"event_type": "reasoning.step", "trace_id": "t", "step_number": 1, "step_type": "thought", "content": text}
    else:
        value |= {"event_type": "agent.executed", "input_data": text, "output_data": text}
    return FleetRecord(topic, agent.encode(), json.dumps(value).encode(), 200 * number, time, PASSED)


def chunks() -> Iterator[list[FleetRecord]]:
    """Gives the records of each life."""
    for life in range(len(DEATHS) + 1):
        yield [record(number) for number in range(life * RECORDS_PER_LIFE, (life + 1) * RECORDS_PER_LIFE)]


def qualifying(deployment: Deployment) -> dict[str, tuple[str, str, int, int]]:
    """Gives text and coordinates of the events in Kafka that must have a point, by its id; told anew, not by the sink's own rule."""
    found = {}
    for event in deployment.topic("enriched_events"):
        text = None if event["output"] is None else json.loads(event["output"])
        if event["kind"] in ("tool", "reasoning", "agent") and text and len(PLACEHOLDER.sub("", text).strip()) >= CHARS_MIN:
            found[str(uuid.UUID(hex=event["event_uid"]))] = (text, event["topic"], event["partition"], event["offset"])
    return found


def test_every_qualifying_event_has_one_point_after_kills_and_outages(kafka: KafkaBroker, postgres: PostgresServer, deployment: Deployment) -> None:
    vectors = deployment.folder / "vectors"
    deployment.settings = {
        "pipeline": {"lanes": 2, "workers": 2},
        "source": {"batch_rows_max": 20, "linger_ms": 5, "idle_ms": 3_600_000},
        "qdrant": {"type": "edge", "path": str(vectors), "text_chars_min": CHARS_MIN},
    }
    migrated = deployment.headrace("migrate")
    assert "created collection agent_steps" in migrated.stdout, migrated.stderr
    deployment.program = (str(ROOT / "tests/fixtures/worded_run.py"),)
    orders = deployment.folder / "models_away"
    to_come = chunks()
    for death, away in DEATHS:
        orders.write_text(away)
        deployment.publish(next(to_come))
        died = deployment.headrace("run", failpoint=death)
        assert died.returncode == -signal.SIGKILL, (death, died.stderr[-3000:])
    orders.write_text("")
    deployment.publish(next(to_come))
    done = deployment.headrace("run", "--until-end")
    assert done.returncode == 0, done.stderr[-3000:]

    expected = qualifying(deployment)
    shard = edge.EdgeShard.load(str(vectors / "agent_steps"))
    records, _ = shard.scroll(edge.ScrollRequest(limit=100_000, with_payload=True))
    shard.close()
    points = {str(one.id): dict(one.payload or {}) for one in records}
    assert len(expected) > 100
    assert {point: (p["text"], p["topic"], p["partition"], p["offset"]) for point, p in points.items()} == expected
    assert any("<PERSON" in payload["text"] for payload in points.values())
    assert names_in(vectors) == []


def names_in(folder: Path) -> list[str]:
    """Finds the names that only the tagger knows in the files below a folder."""
    everything = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    return [name for name in PEOPLE if name.encode() in everything]
