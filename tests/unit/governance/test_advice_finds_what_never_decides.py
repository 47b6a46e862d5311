"""Lint beyond syntax: what can be read and still says nothing, contradicts itself, or hides behind an old version; each with its line and column."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from governance.advice import Advice, Level, advice, place_of
from governance.parse import default_policy, parse_policy
from streams.backtracking import is_slow
from streams.cli.main import status_of
from streams.config import Config, RecoveryConfig
from streams.policy_marks import PolicyMark, PolicyMarks

PACKAGED = (Path(__file__).parents[3] / "governance" / "policies" / "default.yaml").read_text(encoding="utf-8")
HEAD, RULES = PACKAGED.split("\nrules:\n")
COMMON = "verdict: deny, action: quarantine, severity: error, description: d"
Lint = Callable[..., tuple[int, list[str]]]


def with_rules(*rules: str) -> str:
    """Gives the packaged policy with further rules in front, the first on the line behind ``rules:``."""
    return f"{HEAD}\nrules:\n" + "".join(f"  - {{{rule}}}\n" for rule in rules) + RULES


#: Line of the first rule.
FIRST = HEAD.count("\n") + 3


@pytest.fixture
def lint(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Lint:
    """Runs the command on a policy's text; gives its status and the lines on stderr, each from its line number on."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADRACE_MODELS__URL", "127.0.0.1:1")

    def run(text: str, *options: str) -> tuple[int, list[str]]:
        Path("p.yaml").write_text(text, encoding="utf-8")
        status = status_of(["lint", "--policy", "p.yaml", *options])
        return status, [line.removeprefix("headrace: p.yaml:") for line in capsys.readouterr().err.splitlines()]

    return run


def test_the_packaged_policy_is_advised_nothing() -> None:
    assert advice(default_policy(), default_policy(), has_models=True) == []


@pytest.mark.parametrize(
    ("rule", "status", "told"),
    [
        (
            f"id: t, type: tools, {COMMON}, allow: [search, bash_run], deny: ['bash*']",
            2,
            [f"{FIRST}:110: rules[0].allow[1]: 'bash_run' is denied by 'bash*', and deny wins; remove one of the two"],
        ),
        (
            f"id: t, type: tools, {COMMON}, deny: [sh, 'sh*']",
            0,
            [f"{FIRST}:101: warning: rules[0].deny[0]: 'sh' is denied by 'sh*' already; remove it"],
        ),
        (
            f"id: t, type: domains, {COMMON}, domains: [b.example, a.b.example]",
            0,
            [f"{FIRST}:117: warning: rules[0].domains[1]: 'a.b.example' is below 'b.example', which finds it already; remove it"],
        ),
        (
            f"id: t, type: phrases, {COMMON}, patterns: [{{name: n, regex: '(a+)+$'}}]",
            2,
            [
                f"{FIRST}:124: rules[0].patterns[0].regex: takes more than 0.5 s on a text of 4,000 characters: parts that repeat match the "
                "same text in many ways; give repetitions a bound ({0,40}), or let their parts exclude each other"
            ],
        ),
        (
            "id: t, type: scores, verdict: warn, action: pass, severity: info, description: d, enforcement: shadow, label: toxicity, threshold: 0.9",
            0,
            [
                f"{FIRST}:5: warning: rules[0]: never changes a decision: scores.toxicity hits whenever it does and is at least as strong; "
                "remove one, or make it stronger"
            ],
        ),
        (
            "id: t, type: size, verdict: warn, action: pass, severity: info, description: d, applies_to: {kinds: [agent], fields: [output]}, "
            "bytes_max: 999_999",
            0,
            [
                f"{FIRST}:5: warning: rules[0]: never changes a decision: size.output hits whenever it does and is at least as strong; "
                "remove one, or make it stronger"
            ],
        ),
    ],
    ids=["contradiction", "wider glob", "parent domain", "catastrophic", "weaker score", "weaker size"],
)
def test_a_finding_has_its_level_line_column_and_fix(lint: Lint, rule: str, status: int, told: list[str]) -> None:
    assert lint(with_rules(rule)) == (status, told)


def test_a_stronger_rule_behind_a_weaker_one_is_no_finding(lint: Lint) -> None:
    stronger = "id: t, type: scores, verdict: deny, action: quarantine, severity: info, description: d, label: toxicity, threshold: 0.9"
    assert lint(with_rules(stronger)) == (0, [])


def test_of_two_equal_rules_one_is_told(lint: Lint) -> None:
    rule = f"type: domains, {COMMON}, domains: [b.example]"
    status, told = lint(with_rules(f"id: a, {rule}", f"id: b, {rule}"))
    assert status == 0
    assert [re.sub(r" hits.*", "", line) for line in told] == [f"{FIRST + 1}:5: warning: rules[1]: never changes a decision: a"]


def test_entities_that_nothing_finds_are_told() -> None:
    policy = default_policy()
    bare = replace(policy, pii=replace(policy.pii, key_names=(), recognisers=()), models=replace(policy.models, pii_tagger=None))
    found = [one for one in advice(bare) if one.path == "pii.entities.PERSON"]
    way = "name keys for it in pii.key_names, add a recogniser, or let models.pii_tagger look for names"
    assert found == [Advice(Level.WARNING, "pii.entities.PERSON", f"nothing finds it: {way}")]


def test_models_that_the_configuration_lacks_are_told(lint: Lint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEADRACE_MODELS__URL")
    status, told = lint(PACKAGED)
    assert status == 0
    assert [line.split(" ", 1)[1] for line in told] == [
        f"warning: models.{name}: is not asked: the configuration names no model server; add models.url there, or remove it here"
        for name in ("guard", "pii_tagger")
    ]


def other_content(text: str) -> str:
    return re.sub(r"\npurpose: ", "\npurpose: Another purpose and ", text, count=1)


def test_content_that_changed_under_the_same_version_is_an_error(lint: Lint, tmp_path: Path) -> None:
    line = PACKAGED[: PACKAGED.index("\nversion: ")].count("\n") + 2
    (tmp_path / "old.yaml").write_text(PACKAGED, encoding="utf-8")
    version = default_policy().version
    told = [f"{line}:10: version: '{version}' is in force with other content; raise it, for every decision names it"]
    assert lint(other_content(PACKAGED), "--against", "old.yaml") == (2, told)
    assert lint(PACKAGED, "--against", "old.yaml") == (0, [])
    # Without --against: the version that the recovery directory records as the last one.
    kept = tmp_path / Config(recovery=RecoveryConfig()).recovery.dir
    (kept / "policies").mkdir(parents=True)
    (kept / "begin.json").write_text(json.dumps({"fingerprint": {"policy": "first"}}), encoding="utf-8")
    (kept / "policies" / "second.yaml").write_text(PACKAGED, encoding="utf-8")
    PolicyMarks(kept / "policies" / "marks.jsonl").record([PolicyMark("agent_events", 0, 7, "second")])
    assert lint(other_content(PACKAGED)) == (2, told)


def test_json_and_sarif_hold_every_finding_with_its_place(lint: Lint, capsys: pytest.CaptureFixture[str]) -> None:
    text = with_rules(f"id: t, type: domains, {COMMON}, domains: [b.example, a.b.example]")
    Path("p.yaml").write_text(text, encoding="utf-8")
    assert status_of(["lint", "--policy", "p.yaml", "--format", "json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["level"], found["file"], found["line"], found["column"]) == ("warning", "p.yaml", FIRST, 117)
    Path("p.yaml").write_text(text.replace("verdict: deny", "verdict: denny", 1), encoding="utf-8")
    assert status_of(["lint", "--policy", "p.yaml", "--format", "sarif"]) == 2
    (result,) = json.loads(capsys.readouterr().out)["runs"][0]["results"]
    place: dict[str, Any] = result["locations"][0]["physicalLocation"]
    assert (result["level"], place["artifactLocation"]["uri"], place["region"]["startLine"]) == ("error", "p.yaml", FIRST)
    assert "did you mean 'deny'?" in result["message"]["text"]


@pytest.mark.parametrize(("expression", "slow"), [(r"(a+)+$", True), (r"(\w+\s?)+:", True), (r"\b[a-z]{1,40}\b", False), (r"a+b", False)])
def test_what_backtracks_for_ever_is_found_by_trying(expression: str, slow: bool) -> None:
    assert is_slow(expression) is slow


def test_a_place_is_the_nearest_that_is_written() -> None:
    text = "a:\n  - b: 1\n  - c: {d: 2}\n"
    places = [place_of(text, path) for path in ("a", "a[1].c.d", "a[1].c.x", "a[7]", "z")]
    assert places == [(2, 3), (3, 12), (3, 8), (2, 3), (1, 1)]


def test_every_problem_of_parsing_comes_with_the_others(lint: Lint) -> None:
    status, told = lint(PACKAGED.replace("verdict: deny", "verdict: denny").replace("severity: error", "severity: eror"))
    assert status == 2
    for key in ("verdict: must be one of", "severity: must be one of"):
        assert sum(key in line for line in told) > 5
    with pytest.raises(Exception, match="did you mean"):
        parse_policy(PACKAGED.replace("verdict: deny", "verdict: denny"))
