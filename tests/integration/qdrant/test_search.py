"""``headrace search`` over a real Triton and a collection: what it finds, how it filters, and what it says when a part is away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sinks.vector_edge import EdgeBackend
from sinks.vectors import StoredStep
from streams.embedded.triton import TritonServer
from tests.fixtures.outputs import START_MS
from tests.fixtures.triton_expected import expected_vector

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[3]
TEXTS = ("book a train to Rome", "compare [prices] of shoes", "send the report")


def headrace(folder: Path, url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    environ |= {"HEADRACE_QDRANT__TYPE": "edge", "HEADRACE_QDRANT__PATH": str(folder), "HEADRACE_MODELS__URL": url, "COLUMNS": "160"}
    command = [sys.executable, "-m", "streams.cli.main", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    backend = EdgeBackend(tmp_path / "vectors", "agent_steps")
    backend.prepare(10.0)
    store = backend.open(10.0)
    for number, text in enumerate(TEXTS):
        payload = {"agent_id": f"a-{number}", "kind": "tool", "tool_name": "search", "event_time": START_MS + number * 60_000, "text": text}
        store.put([StoredStep(f"00000000-0000-0000-0000-{number:012}", expected_vector(text).tolist(), payload)], 10.0)
    store.close()
    return tmp_path / "vectors"


def test_the_nearest_step_comes_first_as_a_table_and_as_json(collection: Path, triton: TritonServer) -> None:
    table = headrace(collection, triton.endpoint.url, "search", TEXTS[1], "--limit", "1")
    assert table.returncode == 0, table.stderr
    assert "compare [prices] of shoes" in table.stdout
    assert "2026-01-01 00:01:00" in table.stdout
    assert "1.000" in table.stdout
    lines = headrace(collection, triton.endpoint.url, "search", TEXTS[1], "--json").stdout.splitlines()
    found = [json.loads(line) for line in lines]
    assert found[0]["text"] == TEXTS[1]
    assert [one["score"] for one in found] == sorted((one["score"] for one in found), reverse=True)
    assert len(found) == 3


def test_filters_hold(collection: Path, triton: TritonServer) -> None:
    def agents(*options: str) -> set[str]:
        done = headrace(collection, triton.endpoint.url, "search", "anything", "--json", *options)
        assert done.returncode == 0, done.stderr
        return {json.loads(line)["agent_id"] for line in done.stdout.splitlines()}

    assert agents("--agent", "a-2") == {"a-2"}
    assert agents("--from", "2026-01-01T00:01:00Z") == {"a-1", "a-2"}
    assert agents("--from", "2026-01-01T01:00:30+01:00", "--to", str(START_MS + 120_000)) == {"a-1"}
    assert agents("--kind", "reasoning") == set()
    assert "nothing found" in headrace(collection, triton.endpoint.url, "search", "x", "--kind", "agent").stdout


def test_what_is_away_is_named(collection: Path, triton: TritonServer) -> None:
    missing = headrace(collection.parent / "elsewhere", triton.endpoint.url, "search", "x")
    assert (missing.returncode, "run `headrace migrate`" in missing.stderr) == (2, True), missing.stderr
    no_models = headrace(collection, "127.0.0.1:1", "search", "x")
    assert no_models.returncode == 1
    assert "embedder" in no_models.stderr
    held = EdgeBackend(collection, "agent_steps").open(10.0)
    beside = headrace(collection, triton.endpoint.url, "search", "x")
    held.close()
    assert beside.returncode == 1
    assert f"held by process {os.getpid()}" in beside.stderr
    for wrong in (("search", " "), ("search", "x", "--from", "yesterday"), ("search", "x", "--to", "2026-01-01T00:00")):
        assert headrace(collection, triton.endpoint.url, *wrong).returncode == 2
    assert "Traceback" not in missing.stderr + no_models.stderr + beside.stderr


def test_lint_and_doctor_know_the_collection(collection: Path) -> None:
    config = collection.parent / "headrace.yaml"
    config.write_text("qdrant: {type: edge, path: vectors}\n")
    linted = subprocess.run(
        [sys.executable, "-m", "streams.cli.main", "lint", "--config", str(config)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (linted.returncode, "section models is absent" in linted.stderr) == (2, True), linted.stderr
    assert "ok       vectors: collection agent_steps is there" in headrace(collection, "127.0.0.1:1", "doctor").stdout
    held = EdgeBackend(collection, "agent_steps").open(10.0)
    assert "advice   vectors: " in headrace(collection, "127.0.0.1:1", "doctor").stdout
    held.close()
    assert "missing  vectors: " in headrace(collection.parent / "elsewhere", "127.0.0.1:1", "doctor").stdout


def test_migrate_makes_the_collection_once_and_refuses_another_shape(tmp_path: Path) -> None:
    made = headrace(tmp_path, "127.0.0.1:1", "migrate")
    assert "created collection agent_steps" in made.stdout, made.stderr
    assert headrace(tmp_path, "127.0.0.1:1", "migrate").stdout == "the vector collection is there\n"
    config = tmp_path / "agent_steps" / "edge_config.json"
    config.write_text(config.read_text().replace("Cosine", "Dot"))
    refused = headrace(tmp_path, "127.0.0.1:1", "migrate")
    assert refused.returncode in (1, 2)
    assert refused.stderr.startswith("headrace: ")
