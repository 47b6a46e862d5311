"""What the schemas promise becomes expectations, and no phrase that is looked for is dead."""

from __future__ import annotations

from importlib import resources

import pytest

from governance.avro_contracts import generated, unseen_fields
from governance.contracts import EXPECTATIONS, OnBreach
from governance.parse import parse_policy
from schemas.errors import ConfigError
from schemas.topics import SCHEMAS

ALL = [expectation for topic, schema in SCHEMAS.items() for expectation in generated(topic, schema)]


@pytest.mark.parametrize("topic", SCHEMAS)
def test_every_topic_has_a_contract(topic: str) -> None:
    found = generated(topic, SCHEMAS[topic])
    assert found
    assert {expectation.name for expectation in found} <= set(EXPECTATIONS)
    assert len({expectation.digest for expectation in found}) == len(found)


@pytest.mark.parametrize("why", ["the field is not nullable", "its symbols", "unit 1e-6", "not negative", "32 hex digits"])
def test_each_phrase_is_found_somewhere(why: str) -> None:
    assert any(expectation.why == f"schema: {why}" for expectation in ALL)


def test_values_that_may_be_raw_are_not_looked_at() -> None:
    unseen = unseen_fields("tool_execution")
    assert {"arguments", "result", "user_id"} <= unseen
    assert {e.name for e in generated("tool_executions", "tool_execution") if e.column in unseen} <= {"expect_column_values_to_not_be_null"}


def policy_with(section: str) -> str:
    text = (resources.files("governance") / "policies/default.yaml").read_text(encoding="utf-8")
    return text[: text.index("\ncontracts:")] + "\n" + section


def test_a_section_says_what_is_done_and_what_is_expected() -> None:
    contracts = parse_policy(
        policy_with(
            "contracts:\n  on_breach: {agent_events: stop}\n  drift: {psi_max: 0.5, rows_min: 10}\n  expect:\n    - {topic: alerts, expectation: "
            "expect_column_values_to_be_in_set, column: severity, arguments: {value_set: [a, b]}, mostly: 0.9, why: so it is}\n"
        ),
        "p.yaml",
    ).contracts
    assert contracts.breach_of("agent_events") is OnBreach.STOP
    assert contracts.breach_of("alerts") is OnBreach.ALERT
    assert contracts.drift.psi_ppm_max == 500_000
    assert contracts.drift.rate_ppm_max == 100_000
    assert contracts.expect[0].keywords == {"value_set": ["a", "b"]}
    assert contracts.expect[0].mostly_ppm == 900_000


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ("contracts: {on_breach: {agent_event: stop}}", "did you mean 'agent_events'?"),
        ("contracts: {on_breach: {agent_events: explode}}", "must be one of alert, quarantine, stop, came 'explode'"),
        (
            "contracts: {expect: [{topic: alerts, expectation: expect_column_value_to_be_unique, column: x, why: y}]}",
            "did you mean 'expect_column_values_to_be_unique'?",
        ),
        ("contracts: {expect: [{topic: alerts, expectation: expect_column_values_to_be_unique, column: x}]}", "contracts.expect[0].why: is missing"),
        ("contracts: {drift: {psi_max: 2}}", "contracts.drift.psi_max: must be a number above 0 and at most 1"),
        (
            "contracts: {expect: [{topic: alerts, expectation: expect_column_values_to_be_unique, column: x, why: y, arguments: {a: {b: c}}}]}",
            "contracts.expect[0].arguments.a: must be a text, a number, true or false, or a list of these",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place(section: str, problem: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_policy(policy_with(section), "p.yaml")
    assert problem in str(refused.value)
