"""Whole runs with what they must give, to be read: ``cases/<name>/input.jsonl`` and ``cases/<name>/expected/<topic>.json``.

A case may have a ``policy.yaml`` of its own; the one named ``models`` is run with the models of ``tests.fixtures.words``.
However many lanes a run has and wherever its batches are cut, it gives the same.
After a change that is meant: ``pytest tests/golden --update-golden``, then read the difference before you commit it.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from governance.parse import default_policy, parse_policy
from schemas.registry import FileRegistry
from schemas.topics import OUTPUTS
from sinks.files import FilesSink
from streams.config import Config, PipelineConfig
from streams.engines.files import run_files
from streams.pipeline import build_topology
from streams.summary import RunSummary
from streams.telemetry import Telemetry
from streams.topology import Topology
from tests.fixtures.deployment import HASH_KEY
from tests.fixtures.words import WordModels

CASES = sorted(path.parent for path in Path(__file__).parent.glob("cases/*/input.jsonl"))
NAMES = [case.name for case in CASES]
Json = dict[str, Any]


@cache
def topology(policy: Path | None, lanes: int, has_models: bool) -> Topology:
    chosen = default_policy() if policy is None else parse_policy(policy.read_text(encoding="utf-8"))
    return build_topology(
        Config(pipeline=PipelineConfig(lanes=lanes)), chosen, HASH_KEY.encode(), FileRegistry(), models=WordModels() if has_models else None
    )


def run(case: Path, folder: Path, lanes: int, batch_rows_max: int) -> tuple[RunSummary, dict[str, list[Json]]]:
    """Runs a case; gives its summary and, by topic, the records in an order that depends on them alone."""
    policy = case / "policy.yaml"
    sink = FilesSink(folder)
    summary = run_files(
        topology(policy if policy.exists() else None, lanes, case.name == "models"), case / "input.jsonl", sink, Telemetry(), batch_rows_max
    )
    sink.publish()
    return summary, {topic: _records(folder, topic) for topic in OUTPUTS}


def _records(folder: Path, topic: str) -> list[Json]:
    """Gives records without nulls; of a window the last revision, for the ones before depend on where batches were cut."""
    rows = [json.loads(line) for line in (folder / f"{topic}.jsonl").read_text(encoding="utf-8").splitlines()]
    last: dict[str, Json] = {}
    for row in sorted(rows, key=lambda one: (one.get("generation", 0), one.get("revision", 0))):
        last[row[OUTPUTS[topic].id_columns[0]]] = {name: value for name, value in row.items() if value is not None}
    places = ("window_start", "agent_id", "event_type", "tool_name", "topic", "offset", "target", "control_uid", "rule_id", "audit_uid")
    return sorted(last.values(), key=lambda row: [f"{row.get(name, ''):>20}" for name in places])


def _text(records: list[Json]) -> str:
    return "".join(json.dumps(record, ensure_ascii=False, indent=1) + "\n" for record in records)


def test_there_are_cases() -> None:
    assert len(NAMES) >= 8


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_a_run_gives_what_is_written_down(case: Path, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    summary, found = run(case, tmp_path, lanes=1, batch_rows_max=2_048)
    told = {"in": summary.rows_in, "passed": summary.passed, "dead": dict(sorted(summary.dead.items())), "filtered": dict(summary.filtered)}
    texts = {"summary": _text([told])} | {topic: _text(records) for topic, records in found.items() if records}
    folder = case / "expected"
    if pytestconfig.getoption("--update-golden"):
        folder.mkdir(exist_ok=True)
        for path in folder.iterdir():
            path.unlink()
        for name, text in texts.items():
            (folder / f"{name}.json").write_text(text, encoding="utf-8")
    expected = {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.json"))}
    assert texts.keys() == expected.keys()
    for name, text in texts.items():
        assert text.splitlines() == expected[name].splitlines(), name


@pytest.mark.parametrize(("lanes", "batch_rows_max"), [(1, 1), (3, 1), (3, 2_048), (3, 3)])
@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_neither_lanes_nor_cuts_change_a_record(case: Path, tmp_path: Path, lanes: int, batch_rows_max: int) -> None:
    summary, found = run(case, tmp_path / "one", lanes=1, batch_rows_max=2_048)
    again, same = run(case, tmp_path / "other", lanes, batch_rows_max)
    assert same == found
    assert (again.rows_in, again.dead, again.filtered) == (summary.rows_in, summary.dead, summary.filtered)
