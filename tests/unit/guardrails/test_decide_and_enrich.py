"""Decide and enrich: hits to verdict, action, decision, alert and what is left of the content."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from importlib import resources

import polars as pl
import pytest

from governance.parse import default_policy
from governance.policy import Policy
from governance.rules import SizeRule
from governance.verdict import ACTIONS, Action, Enforcement, Severity, Verdict
from operators.contract import Outcome
from operators.enrich import ENRICHED_COLUMNS, Enrich
from operators.guardrails.decide import ALERT_COLUMNS, DECISION_COLUMNS, Decide
from schemas.coordinates import alert_uid
from schemas.errors import FatalError, OutputOversized
from schemas.events import DECIDED

Events = Callable[..., pl.DataFrame]
Policies = Callable[..., Policy]
CONTENT = {"input": '"in"', "output": '{"a":1}', "attributes": "{}"}


def rule(
    rule_id: str, verdict: Verdict, action: Action, enforcement: Enforcement = Enforcement.ENFORCE, severity: Severity = Severity.INFO
) -> SizeRule:
    return SizeRule(rule_id, f"About {rule_id}.", verdict, action, enforcement, severity, ("agent",), ("input",), 1)


WARN = rule("warn", Verdict.WARN, Action.PASS)
MODIFY = rule("modify", Verdict.MODIFY, Action.REDACT, severity=Severity.CRITICAL)
DENY = rule("deny", Verdict.DENY, Action.QUARANTINE, severity=Severity.CRITICAL)
FLAGGED = rule("flagged", Verdict.ESCALATE, Action.STOP_AGENT, Enforcement.FLAG, Severity.CRITICAL)
SHADOWED = rule("shadowed", Verdict.ESCALATE, Action.STOP_AGENT, Enforcement.SHADOW, Severity.CRITICAL)


def decide(policy: Policy, frame: pl.DataFrame, *hits: list[str] | None) -> Outcome:
    return Decide(policy)(frame.with_columns(pl.Series("hits", hits, dtype=pl.List(pl.String))))


@pytest.fixture
def policy(policy_with: Policies) -> Policy:
    return policy_with(WARN, MODIFY, DENY, FLAGGED, SHADOWED)


@pytest.mark.parametrize(
    ("hits", "verdict", "action", "enforcement"),
    [
        (["warn"], "warn", "pass", "enforced"),
        (["deny"], "deny", "quarantine", "enforced"),
        (["deny", "modify", "warn"], "deny", "quarantine", "enforced"),
        (["flagged"], "escalate", "pass", "flagged"),
        (["deny", "flagged"], "escalate", "quarantine", "flagged"),
        (["shadowed"], "allow", "pass", "shadowed"),
        (["modify", "shadowed"], "modify", "redact", "enforced"),
    ],
)
def test_hits_become_one_verdict_and_one_action(policy: Policy, events: Events, hits: list[str], verdict: str, action: str, enforcement: str) -> None:
    outcome = decide(policy, events({}), hits)
    assert outcome.batch.select("verdict", "action", "policy_id", "policy_version").row(0) == (verdict, action, policy.id, policy.version)
    assert outcome.outputs["guardrail_decisions"].select("verdict", "action", "enforcement", "hits").row(0) == (verdict, action, enforcement, hits)


def test_an_event_without_a_hit_is_allowed_and_makes_no_decision(policy: Policy, events: Events) -> None:
    outcome = decide(policy, events({}, {}), None, [])
    assert outcome.batch.select("verdict", "action").rows() == [("allow", "pass")] * 2
    assert {name: frame.height for name, frame in outcome.outputs.items()} == {"guardrail_decisions": 0, "alerts": 0}
    assert outcome.facts == {("verdicts", "allow"): 2}


def test_only_critical_enforced_rules_raise_alerts_one_each(policy: Policy, events: Events) -> None:
    outcome = decide(policy, events({}, {"event_time": 77}), ["warn"], ["deny", "flagged", "modify", "shadowed", "warn"])
    uid = f"{1:032x}"
    assert outcome.outputs["alerts"].rows() == [
        (alert_uid(uid, name), "a1", 77, "critical", name, f"About {name}.", uid, policy.version) for name in ("deny", "modify")
    ]


def test_facts_count_verdicts_and_hits(policy: Policy, events: Events) -> None:
    assert decide(policy, events({}, {}, {}), ["deny", "warn"], ["warn"], None).facts == {
        ("verdicts", "deny"): 1,
        ("verdicts", "warn"): 1,
        ("verdicts", "allow"): 1,
        ("rule_hits", "deny"): 1,
        ("rule_hits", "warn"): 2,
    }


def test_a_hit_of_another_policy_stops_the_run(policy: Policy, events: Events) -> None:
    with pytest.raises(FatalError, match="build inspect and decide from the same policy"):
        decide(policy, events({}), ["elsewhere"])


def test_the_same_rows_go_on_and_a_split_batch_gives_the_same(policy: Policy, events: Events) -> None:
    frame = events({}, {"input": '"x"'}, {}).with_columns(pl.Series("hits", [["deny"], None, ["warn"]], dtype=pl.List(pl.String)))
    whole = Decide(policy)(frame)
    assert whole.batch.drop(DECIDED.keys()).equals(frame)
    parts = [Decide(policy)(frame[n : n + 1]) for n in range(3)]
    assert pl.concat([part.batch for part in parts]).equals(whole.batch)
    for topic, rows in whole.outputs.items():
        assert pl.concat([part.outputs[topic] for part in parts]).equals(rows)


KEPT = tuple(CONTENT.values())
REDACTED = ('"<REDACTED>"', *KEPT[1:])
GONE = (None,) * 3


@pytest.mark.parametrize(
    ("action", "content"),
    [("pass", KEPT), ("throttle", KEPT), ("redact", REDACTED), ("quarantine", GONE), ("pause_agent", GONE), ("stop_agent", GONE)],
)
def test_the_action_is_applied_to_the_content_and_to_nothing_else(
    events: Events, policy_with: Policies, action: str, content: tuple[str | None, ...]
) -> None:
    policy = policy_with(replace(DENY, action=Action(action)))
    decided = decide(policy, events(CONTENT), ["deny"]).batch
    outcome = Enrich()(decided)
    row = outcome.outputs["enriched_events"]
    assert row.select(*CONTENT).row(0) == content
    assert row["error"].to_list() == [None], "redaction does not invent content"
    assert row.drop(*CONTENT, "late", "released_from").equals(decided.select(row.drop(*CONTENT, "late", "released_from").columns))
    assert outcome.batch.select(*CONTENT).row(0) == content, "nothing after enrich sees what was taken out"


def test_every_action_has_a_test() -> None:
    assert {"pass", "throttle", "redact", "quarantine", "pause_agent", "stop_agent"} == set(ACTIONS)


def test_late_comes_from_measure_or_is_false(events: Events) -> None:
    decided = decide(default_policy(), events({}, {}), None, None).batch
    late = Enrich()(decided.with_columns(pl.Series("late", [True, False]))).outputs["enriched_events"]["late"]
    assert late.to_list() == [True, False]
    assert Enrich()(decided).outputs["enriched_events"]["late"].to_list() == [False, False]


@pytest.mark.parametrize(
    ("schema", "columns"),
    [("enriched_event", ENRICHED_COLUMNS), ("guardrail_decision", DECISION_COLUMNS), ("alert", ALERT_COLUMNS)],
)
def test_an_output_has_the_fields_of_its_schema(schema: str, columns: tuple[str, ...]) -> None:
    text = resources.files("schemas").joinpath(f"avro/{schema}.avsc").read_text(encoding="utf-8")
    assert [field["name"] for field in json.loads(text)["fields"]] == list(columns)


def test_enforcement_and_verdict_use_the_symbols_of_the_schema() -> None:
    text = resources.files("schemas").joinpath("avro/guardrail_decision.avsc").read_text(encoding="utf-8")
    symbols = {
        field["name"]: field["type"]["symbols"]
        for field in json.loads(text)["fields"]
        if isinstance(field["type"], dict) and "symbols" in field["type"]
    }
    assert set(symbols["enforcement"]) == {one.reported for one in Enforcement}
    assert symbols["verdict"] == list(Verdict)


def test_an_event_too_large_for_its_topic_is_dead_and_the_others_go_on(events: Events) -> None:
    frame = events({"event_id": "small", "output": '"ok"'}, {"event_id": "large", "output": json.dumps("x" * 500)})
    decided = decide(default_policy(), frame, None, None).batch
    sized = decided.with_columns(pl.lit(500, dtype=pl.Int64).alias("value_bytes"))
    outcome = Enrich(text_bytes_max=400)(sized)
    assert outcome.batch["event_id"].to_list() == outcome.outputs["enriched_events"]["event_id"].to_list() == ["small"]
    assert outcome.dead.select("code", "disposition", "step").rows() == [(OutputOversized.code, "dead", "enrich")]
    assert "xxx" not in outcome.dead["reason"][0]
    assert Enrich(text_bytes_max=600)(sized).dead.is_empty()
