"""What is kept too long goes from real parts, what is young stays; and the report says what a real run did."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import psycopg
import pytest

from schemas.frames import frame_schema, required_columns
from schemas.topics import OUTPUTS, REPORTS, OutputTopic
from sinks.person_records import topic_rules
from sinks.vector_edge import EdgeBackend
from sinks.vectors import VECTOR_SIZE, StoredStep
from streams.embedded.kafka import KafkaBroker
from tests.fixtures.deployment import Deployment
from tests.integration.pipeline.test_erasure import OTHER, PERSON, Record, record

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

YOUNG_MS = int(time.time() * 1_000) - 3_600_000
SECTION = """
retention:
  classes:
    internal: {days: 400, purpose: answer for agents}
  tables:
    metric_windows: {days: 90, purpose: capacity}
"""


def young(number: int) -> Record:
    at = YOUNG_MS + number
    event = json.loads(record(number, OTHER).value) | {"timestamp": at, "input_data": {"text": "write to mia.li@example.com"}}
    return Record("agent_events", b"planner", json.dumps(event).encode(), at - 1_700_000_000_000)


def old_and_young(topic: OutputTopic) -> list[dict[str, object]]:
    """Gives a row of the topic's table that is too old, and one that is not."""
    rows = []
    for number, at_ms in enumerate((1_700_000_000_000, YOUNG_MS)):
        row: dict[str, object] = {}
        for name in required_columns(topic.schema):
            dtype = frame_schema(topic.schema)[name]
            is_time = name == topic.time_column or name in ("window_end", "expires_at")
            row[name] = datetime.fromtimestamp(at_ms / 1_000, UTC) if is_time else [] if isinstance(dtype, pl.List) else dtype == pl.Boolean or 1
            if dtype == pl.String:
                row[name] = "open" if name == "state" else f"{number}"
        rows.append(row)
    return rows


@pytest.fixture
def done(deployment: Deployment, tmp_path: Path) -> Deployment:
    shipped = (Path(__file__).parents[3] / "governance/policies/default.yaml").read_text().split("\nretention:")[0]
    (tmp_path / "policy.yaml").write_text(shipped + SECTION)
    deployment.settings = {"pipeline": {"policy": str(tmp_path / "policy.yaml")}}
    deployment.publish([record(n, PERSON) for n in range(10)])
    # The last one comes ten minutes later, so that the minute of the others is over.
    deployment.publish([young(n) for n in (*range(100, 110), 600_000)])
    ran = deployment.headrace("run", "--until-end")
    assert ran.returncode == 0, ran.stderr[-3000:]
    return deployment


def test_what_is_too_old_is_counted_then_removed_and_what_is_young_stays(kafka: KafkaBroker, done: Deployment, tmp_path: Path) -> None:
    backend = EdgeBackend(tmp_path / "vectors", "agent_steps")
    backend.prepare(10)
    store = backend.open(10)
    store.put([StoredStep(f"00000000-0000-0000-0000-{n:012x}", [1.0] * VECTOR_SIZE, {"event_time": n * YOUNG_MS}) for n in (0, 1)], 10)
    store.close()
    done.settings["qdrant"] = {"type": "edge", "path": "vectors"}
    aged = {"control_commands": "agent_control", "reviews": "reviews", "contract_results": "contract_results"}
    times = {table: {**OUTPUTS, **REPORTS}[topic].time_column for table, topic in aged.items()}
    with psycopg.connect(done.dsn) as connection:
        for table, topic in aged.items():
            for row in old_and_young({**OUTPUTS, **REPORTS}[topic]):
                names = ", ".join(f'"{name}"' for name in row)
                connection.execute(f"INSERT INTO {table} ({names}) VALUES ({', '.join(['%s'] * len(row))})".encode(), list(row.values()))
    before = len(done.table("guardrail_decisions", ["event_uid"]))
    planned = done.headrace("retention", "plan")
    assert planned.returncode == 0, planned.stderr[-2000:]
    assert "table guardrail_decisions: 10 rows" in planned.stdout.replace("tables", "table")
    assert len(done.table("guardrail_decisions", ["event_uid"])) == before
    applied = done.headrace("retention", "apply")
    assert applied.returncode == 0, applied.stderr[-2000:]
    assert len(done.table("guardrail_decisions", ["event_uid"])) == before - 10
    assert min(start.timestamp() for (start,) in done.table("metric_windows", ["window_start"])) * 1_000 > YOUNG_MS - 60_000
    topic = done.prefix + "enriched_events"
    assert topic_rules({"bootstrap.servers": kafka.bootstrap}, [topic])[topic].retention_ms == 400 * 86_400_000
    assert {table: len(done.table(table, [column])) for table, column in times.items()} == dict.fromkeys(aged, 1)
    store = backend.open(10)
    assert store.count(10) == 1
    store.close()
    again = done.headrace("retention", "plan")
    assert " 0 rows" in again.stdout
    assert " to become " not in again.stdout
    assert ("retention",) in done.table("audit_records", ["what"])
    assert done.headrace("audit", "verify").returncode == 0


def test_the_report_says_what_the_run_did(done: Deployment) -> None:
    told = done.headrace("report", "--from", "2023-01-01", "--to", "2100-01-01", "--format", "json")
    assert told.returncode == 0, told.stderr[-2000:]
    report = json.loads(told.stdout)
    assert report["processed"]["events"] == 21
    assert report["masked"]["EMAIL_ADDRESS"] == 10
    assert sum(report["verdicts"].values()) == len(done.table("guardrail_decisions", ["event_uid"]))
    assert {one["place"]: one["days"] for one in report["kept"]}["table metric_windows"] == 90
    assert report["audit_findings"] == []
    assert len(report["policies"]) == 1
    page = done.headrace("report", "--from", "2023-01-01", "--to", "2100-01-01").stdout
    assert "| EMAIL_ADDRESS | 10 |" in page
    nothing = json.loads(done.headrace("report", "--from", "2001-01-01", "--to", "2002-01-01", "--format", "json").stdout)
    assert (nothing["processed"]["events"], nothing["masked"]) == (0, {})
