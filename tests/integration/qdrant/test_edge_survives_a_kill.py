"""The engine in process: what it acknowledged is there after SIGKILL, and the next process opens the collection at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sinks.vector_edge import EdgeBackend

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[3]
WRITER = """
import sys
from pathlib import Path
from sinks.qdrant import QdrantSink
from sinks.step_texts import TextRule
from sinks.vector_edge import EdgeBackend
from tests.fixtures.embedder import embed
from tests.fixtures.outputs import records
import polars as pl
backend = EdgeBackend(Path(sys.argv[1]), "agent_steps")
backend.prepare(10.0)
lane = QdrantSink(backend, embed, TextRule({"reasoning": ("output",)})).open_lane(0, 1, b"")
for first in range(0, 100_000, 50):
    rows = records("enriched_events", 50, first=first)
    texts = pl.Series("output", [f'"step number {first + row} of a plan"' for row in range(50)])
    lane.write({"enriched_events": rows.with_columns(texts, pl.lit("reasoning").alias("kind"))}, 10.0)
    print(first + 50, flush=True)
"""


def test_what_was_acknowledged_is_there_after_a_kill(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT) as writer:
        assert writer.stdout is not None
        told = [writer.stdout.readline() for _ in range(20)]
        writer.kill()
        acknowledged = int([*told, *writer.stdout.read().splitlines(keepends=True)][-1])
    store = EdgeBackend(tmp_path, "agent_steps").open(10.0)
    found = store.count(10.0)
    store.close()
    assert acknowledged <= found <= acknowledged + 50
    assert acknowledged >= 1_000
