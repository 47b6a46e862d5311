"""The command line as people meet it: the real command in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from streams.cli.reference import reference
from tests.external.airline import ASSISTANT_COUNT, RUN_COUNT, RUNS, SYSTEM_AND_USER_COUNT, TOOL_RESULT_COUNT, unpacked

ROOT = Path(__file__).parents[3]


def headrace(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    outside = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    return subprocess.run(
        [sys.executable, "-m", "streams.cli.main", *arguments],
        cwd=folder,
        env={**outside, "PYTHONPATH": str(ROOT), **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_reference_in_the_docs_is_what_help_says() -> None:
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == reference(), "run: python -m streams.cli.reference > docs/cli.md"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["frobnicate"], "No such command"),
        (["run", "--input", "x.jsonl"], "--input FILE.jsonl and --output DIR go together"),
        (["run"], "kafka: the section is absent"),
        (["run", "--input", "absent.jsonl", "--output", "out"], "no such file"),
        (["import", "absent.json", "--output", "x"], "absent.json: cannot be read"),
        (["import", "absent.json"], "give either --output FILE.jsonl or --kafka HOST:PORT"),
        (["migrate"], "neither timescale.dsn, kafka.bootstrap nor qdrant is configured"),
        (["produce", "--kafka", "nowhere"], "kafka.bootstrap"),
        (["lint", "--config", "absent.yaml"], "absent.yaml: cannot be read"),
        (["lint", "--policy", "absent.yaml"], "absent.yaml: the policy cannot be read"),
    ],
)
def test_a_wrong_command_line_is_status_2_without_a_traceback(tmp_path: Path, arguments: list[str], says: str) -> None:
    done = headrace(tmp_path, *arguments, HEADRACE_PRIVACY__HASH_KEY="k" * 32)
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_lint_reports_the_problems_of_configuration_and_policy_together(tmp_path: Path) -> None:
    (tmp_path / "headrace.yaml").write_text("pipeline:\n  lane: 2\n  policy: p.yaml\nkafka: {}\n", encoding="utf-8")
    (tmp_path / "p.yaml").write_text("id: mine\nrulez: []\n", encoding="utf-8")
    done = headrace(tmp_path, "lint", "--policy", "p.yaml")
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert any("line 2: pipeline.lane is not a key (did you mean lanes?)" in line for line in lines)
    assert any("kafka.bootstrap is required" in line for line in lines)
    assert any("p.yaml" in line and "rulez" in line for line in lines)


def test_lint_passes_what_is_right(tmp_path: Path) -> None:
    done = headrace(tmp_path, "lint")
    assert done.returncode == 0, done.stderr
    assert "configuration is right" in done.stdout
    assert not (tmp_path / ".headrace").exists(), "lint makes no key"


def test_graph_draws_every_step_and_topic(tmp_path: Path) -> None:
    done = headrace(tmp_path, "graph", HEADRACE_KAFKA__BOOTSTRAP="127.0.0.1:1", HEADRACE_KAFKA__INPUTS="[agent_events]")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("flowchart LR\n")
    for part in ("in_agent_events", "step_mask(mask)", "step_deduplicate[(deduplicate)]", "by agent_id, 2 lanes", "out_dead_letters"):
        assert part in done.stdout, part
    assert "in_tool_executions" not in done.stdout
    assert not (tmp_path / ".headrace").exists(), "graph makes no key"


def test_doctor_tells_what_does_not_answer_and_what_to_do(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(b"k" * 32)
    key.chmod(0o644)
    environ = {
        "HEADRACE_KAFKA__BOOTSTRAP": "127.0.0.1:1",
        "HEADRACE_TIMESCALE__DSN": "postgresql://someone:hunter2@127.0.0.1:1/x",
        "HEADRACE_PRIVACY__KEY_FILE": str(key),
    }
    done = headrace(tmp_path, "doctor", **environ)
    assert done.returncode == 1
    bad = [line for line in done.stdout.splitlines() if line.startswith("missing")]
    assert [line.split(":")[0].removeprefix("missing").strip() for line in bad] == ["hash key", "Kafka 127.0.0.1", "database"]
    assert f"chmod 600 {key}" in done.stdout
    assert "hunter2" not in done.stdout + done.stderr


def test_doctor_finds_nothing_missing_where_the_tests_run(tmp_path: Path) -> None:
    done = headrace(tmp_path, "doctor")
    assert done.returncode == 0, done.stdout


def test_the_airline_runs_are_imported_whole_and_the_same_each_time(tmp_path: Path) -> None:
    runs = unpacked(RUNS, tmp_path)
    for output in ("one.jsonl", "two.jsonl"):
        done = headrace(tmp_path, "import", "--format", "openai-chat", str(runs), "--output", output)
        assert done.returncode == 0, done.stderr
        assert f"{RUN_COUNT} runs" in done.stderr
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()
    events = [json.loads(line) for line in (tmp_path / "one.jsonl").read_text(encoding="utf-8").splitlines()]
    topics = Counter(event["topic"] for event in events)
    assert topics["tool_executions"] == TOOL_RESULT_COUNT
    assert topics["agent_events"] == ASSISTANT_COUNT + SYSTEM_AND_USER_COUNT
    assert len({event["session_id"] for event in events}) == RUN_COUNT
    assert all("arguments" in event for event in events if event["topic"] == "tool_executions")


MODELS_ELSEWHERE = {"HEADRACE_MODELS__URL": "triton.example.com:8001"}


def test_lint_and_run_refuse_to_send_raw_text_to_another_host_in_the_clear(tmp_path: Path) -> None:
    for command in (["lint"], ["run", "--input", "in.jsonl", "--output", "out"]):
        (tmp_path / "in.jsonl").write_text("", encoding="utf-8")
        refused = headrace(tmp_path, *command, HEADRACE_PRIVACY__HASH_KEY="k" * 32, **MODELS_ELSEWHERE)
        assert refused.returncode == 2, command
        assert "pii_tagger reads raw text, so Triton must be on this machine or be reached over mTLS" in refused.stderr


def test_lint_says_when_policy_asks_no_model(tmp_path: Path) -> None:
    text = (ROOT / "governance/policies/default.yaml").read_text(encoding="utf-8")
    before, _, rest = text.partition("\nmodels:\n")
    rules = rest[rest.index("\nrules:") :]
    without = before + rules[: rules.index("  # -- scores of")] + rules[rules.index("  # -- secrets: the list of the recogniser above\n  - id") :]
    (tmp_path / "p.yaml").write_text(without, encoding="utf-8")
    told = headrace(tmp_path, "lint", "--policy", "p.yaml", HEADRACE_MODELS__URL="127.0.0.1:8001")
    assert told.returncode == 2
    assert "asks no model" in told.stderr
    assert headrace(tmp_path, "lint", "--policy", "p.yaml").returncode == 0


def test_graph_and_doctor_know_the_models(tmp_path: Path) -> None:
    drawn = headrace(tmp_path, "graph", HEADRACE_MODELS__URL="127.0.0.1:1")
    spine = "step_decode(decode) --> step_tag(tag) --> step_mask(mask) --> step_erase(erase) --> step_score(score) --> step_inspect(inspect)"
    assert spine in drawn.stdout
    assert "step_tag" not in headrace(tmp_path, "graph").stdout
    told = headrace(tmp_path, "doctor", HEADRACE_MODELS__URL="127.0.0.1:1")
    assert told.returncode == 1
    assert "missing  model server 127.0.0.1:1: does not answer" in told.stdout
    assert "ok       models: asked as policy says" in told.stdout
    assert "advice   models: none named" in headrace(tmp_path, "doctor").stdout
