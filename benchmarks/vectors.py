"""How fast points are written and found in this process: Qdrant's engine as a library against qdrant-client's local mode.

``python -m benchmarks.vectors`` prints the median of five runs of each; the numbers of docs/sinks.md come from it. Both write the same points of 384
numbers in batches of 64, as the sink does, into an empty collection; the search runs over all of them, with a filter on the agent.
"""

from __future__ import annotations

import statistics
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from sinks.qdrant import PART_TEXTS
from sinks.vector_client import LocalBackend
from sinks.vector_edge import EdgeBackend
from sinks.vectors import VECTOR_SIZE, StoredStep, VectorBackend, Where

_RUNS: Final = 5
_DEADLINE_S: Final = 600.0
_SEARCHES: Final = 50


def points(count: int) -> Iterator[list[StoredStep]]:
    """Gives points in batches, always the same."""
    draw = np.random.default_rng(1)
    for first in range(0, count, PART_TEXTS):
        vectors = draw.standard_normal((PART_TEXTS, VECTOR_SIZE)).astype(np.float32).tolist()
        yield [
            StoredStep(
                str(uuid.UUID(int=first + row)),
                vector,
                {"agent_id": f"agent-{row % 24}", "kind": "tool", "event_time": 1_767_225_600_000 + first + row, "text": "x" * 400},
            )
            for row, vector in enumerate(vectors)
        ]


def measured(backend: VectorBackend, count: int) -> tuple[float, float]:
    """Gives points written a second, and milliseconds of a filtered search (median)."""
    backend.prepare(_DEADLINE_S)
    store = backend.open(_DEADLINE_S)
    batches = list(points(count))
    begin = time.perf_counter()
    for batch in batches:
        store.put(batch, _DEADLINE_S)
    store.flush()
    rate = len(batches) * PART_TEXTS / (time.perf_counter() - begin)
    took = []
    for step in batches[0][:_SEARCHES]:
        begin = time.perf_counter()
        found = store.similar(step.vector, Where(agent_id=str(step.payload["agent_id"])), 10, _DEADLINE_S)
        took.append(time.perf_counter() - begin)
        assert found[0].id == step.id
    store.close()
    return rate, statistics.median(took) * 1_000


def main() -> None:
    """Prints the table."""
    print("| place | points | written a second | filtered search, ms |\n| --- | --- | --- | --- |")
    for name, count in (("edge", 20_000), ("local", 4_000)):
        runs = []
        for _ in range(_RUNS):
            with tempfile.TemporaryDirectory(prefix="headrace-vectors-") as folder:
                backend: VectorBackend = EdgeBackend(Path(folder), "steps") if name == "edge" else LocalBackend(Path(folder), "steps")
                runs.append(measured(backend, count))
        rates, searches = zip(*runs, strict=True)
        low, high = min(rates), max(rates)
        print(f"| {name} | {count} | {statistics.median(rates):.0f} ({low:.0f} to {high:.0f}) | {statistics.median(searches):.1f} |")


if __name__ == "__main__":
    main()
