"""The demo with models: a real Triton scores, masks names and makes vectors, and every number is checked against what lies in Kafka and Qdrant."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from models.spec import MODELS
from schemas.errors import ConfigError
from schemas.frames import output_schema
from sinks.step_texts import TextRule
from sinks.vector_edge import EdgeBackend
from sinks.vectors import StoredStep
from streams.demo import models as demo_models
from streams.demo.model_results import Stored, flagged, model_checks, stored
from streams.demo.models import ModelsChoice, missing_for_models, models_wanted, unbuilt
from streams.telemetry import Telemetry

ROOT = Path(__file__).parents[3]
DEADLINE_S = 540.0
EVENT = {"kind": "tool", "output": '"a result that is long enough to be found"', "agent_id": "a-1", "event_type": "tool.executed", "event_time": 5}
EVENT |= {"topic": "tool_executions", "partition": 0, "offset": 1, "verdict": "allow", "action": "pass"}


def events(*changes: dict[str, object]) -> pl.DataFrame:
    schema = output_schema("enriched_events")
    rows = [dict.fromkeys(schema) | EVENT | {"event_uid": f"{number:032x}"} | change for number, change in enumerate(changes)]
    return pl.DataFrame(rows, schema=schema)


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.timeout(600)
def test_the_demo_scores_masks_names_and_stores_every_vector() -> None:
    outside = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    command = [sys.executable, "-m", "streams.cli.main", "demo", "--kafka", "real", "--models", "on", "--seconds", "20"]
    demo = subprocess.run(command, cwd=ROOT, env={**outside, "COLUMNS": "160"}, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    assert demo.returncode == 0, demo.stdout + demo.stderr
    lines = demo.stdout.splitlines()
    for claim in (
        "texts answered by pii_tagger",
        "texts answered by guard",
        "texts answered by embedder",
        "names of people were masked",
        "attacks that a model flagged",
        "points in Qdrant = enriched events in Kafka that qualify",
        "qualifying events without a point",
        "enriched events with an unmasked address",
    ):
        (line,) = [line for line in lines if line.startswith(claim)]
        assert line.endswith("ok"), line
    assert "most like an attack" in demo.stdout
    assert "steps near" in demo.stdout


def test_what_is_missing_for_models_is_said_and_is_an_error_only_where_they_were_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert unbuilt(tmp_path) == tuple(spec.name for spec in MODELS)
    missing = missing_for_models(tmp_path, tmp_path)
    assert [problem.partition(":")[0] for problem in missing[-2:]] == ["guard", "pii_tagger"]
    for name in ("guard", "pii_tagger"):
        (tmp_path / name / "3").mkdir(parents=True)
        (tmp_path / name / "3" / "manifest.json").write_text("{}")
    assert unbuilt(tmp_path) == ("embedder",)
    assert not any(problem.startswith(("guard", "pii_tagger", "embedder")) for problem in missing_for_models(tmp_path, tmp_path))
    monkeypatch.setattr(demo_models, "missing_for_models", lambda: ("guard: has no weights",))
    said: list[str] = []
    assert not models_wanted(ModelsChoice.AUTO, said.append)
    assert said[-1] == "  guard: has no weights"
    assert not models_wanted(ModelsChoice.OFF, lambda line: pytest.fail(line))
    with pytest.raises(ConfigError, match="guard: has no weights"):
        models_wanted(ModelsChoice.ON, said.append)


def test_a_point_that_is_missing_or_too_much_breaks_the_checks(tmp_path: Path) -> None:
    backend = EdgeBackend(tmp_path, "agent_steps")
    backend.prepare(10.0)
    store = backend.open(10.0)
    vector = [1.0] + [0.0] * 383
    there = events({}, {}, {"output": '"short"'}, {"kind": "system"})
    for number in range(2):
        store.put([StoredStep(f"00000000-0000-0000-0000-{number:012}", vector, {})], 10.0)
    telemetry = Telemetry()
    for model in ("pii_tagger", "guard", "embedder"):
        telemetry.model_answered(model, "ok", 1)
    telemetry.outcome_facts({("masked_entities", "PERSON"): 1, ("rule_hits", "scores.injection"): 1})
    telemetry.sink_written("qdrant", "enriched_events", 2, 0)

    def failing(found: Stored) -> set[str]:
        return {check.claim for check in model_checks(telemetry.snapshot(), found) if not check.holds}

    right = stored(store, there, TextRule())
    assert right == Stored(points=2, qualifying=2, missing=0)
    assert failing(right) == set()
    assert failing(stored(store, None, TextRule())) == set()
    lost = stored(store, events({}, {}, {}), TextRule())
    store.close()
    assert failing(lost) == {"points in Qdrant = enriched events in Kafka that qualify", "qualifying events without a point"}
    assert failing(Stored(3, 2, 0)) == {"vectors written = points in Qdrant", "points in Qdrant = enriched events in Kafka that qualify"}


def test_the_events_most_like_an_attack_come_first() -> None:
    scores = [{"scored_by": "guard/1", "injection_ppm": ppm, "jailbreak_ppm": 1_000} for ppm in (5, 900_000, 2_000)]
    found = flagged(events({}, *scores), 2)
    assert [event["injection_ppm"] for event in found] == [900_000, 2_000]
