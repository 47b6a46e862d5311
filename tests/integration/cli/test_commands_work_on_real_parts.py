"""migrate, import, produce and run, one after the other, on a real broker and a real database."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from streams.embedded.kafka import KafkaBroker
from tests.external.airline import RUNS, unpacked

ROOT = Path(__file__).parents[3]
EVENTS = 7_852
TOOLS = "select sum(events) from metric_windows where event_type = 'tool.executed' and agent_id like 'gpt-4o-airline-%'"


@pytest.mark.integration
def test_what_is_imported_and_produced_arrives(tmp_path: Path, kafka: KafkaBroker, database: str) -> None:
    prefix = f"cli-{os.getpid()}."
    environ = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")} | {
        "PYTHONPATH": str(ROOT),
        "HEADRACE_KAFKA__BOOTSTRAP": kafka.bootstrap,
        "HEADRACE_KAFKA__TOPIC_PREFIX": prefix,
        "HEADRACE_TIMESCALE__DSN": database,
        "HEADRACE_PRIVACY__HASH_KEY": "a key for tests, thirty-two bytes long",
    }

    def headrace(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "streams.cli.main", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    migrated = headrace("migrate").stdout
    assert "applied" in migrated
    assert f"created topic {prefix}enriched_events" in migrated
    again = headrace("migrate").stdout
    assert again == "the database is up to date\nall topics are there\n"
    headrace("import", str(unpacked(RUNS, tmp_path)), "--kafka", kafka.bootstrap)
    (sent,) = [line for line in headrace("produce", "--rate", "500", "--seconds", "1", "--seed", "3").stderr.splitlines() if "acknowledged" in line]
    assert sent == "500 records acknowledged"
    said = headrace("run", "--until-end").stdout.splitlines()
    assert said[0].startswith(f"in {EVENTS + 500} = passed ")
    passed = int(said[0].split("passed ")[1].split()[0])
    assert f"  out enriched_events: {passed}" in said
    with psycopg.connect(database) as connection:
        row = connection.execute(
            "select sum(events) from metric_windows where event_type = 'tool.executed' and agent_id like 'gpt-4o-airline-%'"
        ).fetchone()
    assert row is not None
    assert row[0] == 1_091  # the tool results of the file that do not begin with Error
