"""Rules over whole values: arguments against a JSON Schema, fields against a format."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import polars as pl
import pytest

from governance.parse import parse_policy
from governance.policy import Policy
from governance.rules import FormatRule, SchemaRule
from governance.verdict import Action, Enforcement, Severity, Verdict
from operators.guardrails.documents import DocumentRules
from schemas.errors import ConfigError

Events = Callable[..., pl.DataFrame]
Policies = Callable[..., Policy]
HEAD = ("args", "About args.", Verdict.DENY, Action.QUARANTINE, Enforcement.ENFORCE, Severity.ERROR, ("tool",))
REFUND = {
    "type": "object",
    "required": ["order", "amount"],
    "properties": {"order": {"type": "string", "pattern": "^#W[0-9]+$"}, "amount": {"type": "number", "maximum": 100}},
    "additionalProperties": False,
}
RULE = SchemaRule(*HEAD, ("support-*",), "input", (("refund*", json.dumps(REFUND)),))


def failures(policy: Policy, frame: pl.DataFrame) -> list[tuple[int, str | None]]:
    return [(row, piece.name) for row, piece in DocumentRules(policy)(frame)]


def call(value: str | None, **other: object) -> dict[str, object]:
    return {"kind": "tool", "tool_name": "refund_order", "agent_id": "support-1", "input": value, **other}


def test_what_failed_is_named_by_its_place_in_the_schema_and_nothing_of_the_value_is(events: Events, policy_with: Policies) -> None:
    frame = events(
        call('{"order":"#W1","amount":5}'),
        call('{"order":"mia@example.com","amount":500,"mia li":1}'),
        call('"{\\"order\\":\\"#W1\\",\\"amount\\":500}"'),
        call('{"order":"#W1","amount":5,"amount":500}'),
        call(None),
    )
    found = failures(policy_with(RULE), frame)
    assert found == [
        (1, "/additionalProperties"),
        (1, "/properties/amount/maximum"),
        (1, "/properties/order/pattern"),
        (2, "/properties/amount/maximum"),
        (3, "unreadable"),
    ]


def test_only_the_agents_tools_and_kinds_of_the_rule_are_looked_at(events: Events, policy_with: Policies) -> None:
    frame = events(call("1"), call("1", agent_id="sales-1"), call("1", tool_name="search"), call("1", kind="agent"), call("1", tool_name="RЕFUND"))
    assert [row for row, _ in failures(policy_with(RULE), frame)] == [0, 4], "look-alike letters do not hide a tool"


@pytest.mark.parametrize("value", ["[" * 100_000, "1" * 5_000, "1e999999", '"\\ud800"', "NaN", '{"a":' * 900 + "1" + "}" * 900])
def test_odd_values_are_failures_not_crashes(events: Events, policy_with: Policies, value: str) -> None:
    assert failures(policy_with(RULE), events(call(value)))


def test_a_pattern_takes_linear_time(events: Events, policy_with: Policies) -> None:
    rule = SchemaRule(*HEAD, ("*",), "input", (("*", json.dumps({"pattern": "^(a+)+$"})),))
    started = time.process_time()
    assert failures(policy_with(rule), events(call(json.dumps("a" * 100_000 + "b"))))
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("formats", "good", "bad"),
    [
        (("date",), '{"answer":{"on":"2026-11-24"}}', '{"answer":{"on":"24.11."}}'),
        (("json",), '{"answer":{"on":"[1]"}}', '{"answer":{"on":"[1"}}'),
        (("integer", "null"), '{"answer":{"on":null}}', '{"answer":{"on":1.5}}'),
        (("string",), '{"answer":{"on":""}}', '{"answer":{}}'),
    ],
)
def test_a_field_is_of_one_of_the_formats(events: Events, policy_with: Policies, formats: tuple[str, ...], good: str, bad: str) -> None:
    rule = FormatRule(*HEAD, "output", "/answer/on", formats)
    frame = events({"kind": "tool", "output": good}, {"kind": "tool", "output": bad}, {"kind": "agent", "output": bad})
    assert failures(policy_with(rule), frame) == [(1, " or ".join(formats))]


HEADER = """\
id: p
version: "1"
purpose: Tests.
handling: {public: keep, internal: keep, personal: hash, secret: drop}
pii: {score_threshold: 0.4, user_id: hash, entities: {EMAIL_ADDRESS: mask}, identifier_entities: [EMAIL_ADDRESS]}
rules:
  - id: r
    description: A rule.
    verdict: deny
    action: quarantine
    severity: error
"""


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ("    type: schema\n    tools: {refund: {type: objekt}}", "rules[0].tools.refund: no JSON Schema that can be checked in linear time"),
        ("    type: schema\n    schema: {$ref: 'https://example.com/s.json'}", "rules[0].schema: no JSON Schema that can be checked in linear time"),
        ("    type: schema\n    schema: {pattern: '(?=a)b'}", "rules[0].schema: no JSON Schema that can be checked in linear time"),
        ("    type: schema\n    schema: [1]", "rules[0].schema: must be a JSON Schema, which is a mapping"),
        ("    type: schema", "rules[0]: a schema rule needs either tools (a schema for each) or schema (one for all); leave one"),
        ("    type: format\n    column: output\n    formats: [dates]", "rules[0].formats[0]: must be one of object, array"),
        (
            "    type: format\n    column: output\n    path: a.b\n    formats: [date]",
            "rules[0].path: must be a JSON pointer to a key, e.g. /answer/date",
        ),
        ("    type: urls", "rules[0]: a urls rule needs one of allow_domains"),
        ("    type: urls\n    allow_ports: [70000]", "rules[0].allow_ports[0]: must be a whole number from 1 to 65535, came 70000"),
        ("    type: urls\n    deny_disguised: maybe", "rules[0].deny_disguised: must be true or false, came a text"),
        ("    type: files", "rules[0]: a files rule needs one of extensions, contents, allow_extensions, allow_contents; add one"),
        (
            "    type: files\n    extensions: [exe]\n    allow_extensions: [exe]",
            "rules[0].allow_extensions: 'exe' is denied by the same rule, and deny wins",
        ),
        ("    type: topics\n    allow: {}", "rules[0].allow: no topic is allowed; name at least one with its words"),
        ("    type: topics\n    allow: {flights: ['--']}", "rules[0].allow.flights: '--' holds neither letter nor digit; write words"),
        ("    type: files\n    extensions: [.exe]", "rules[0].extensions[0]: must be letters and digits in lower case without a dot, came '.exe'"),
        ("    type: terms\n    terms: [Stock]", "rules[0].terms[0]: must be words in lower case ASCII"),
        ("    type: terms\n    terms: [stock]\n    count_min: 2", "rules[0].count_min: must be a whole number from 1 to 1, came 2"),
        ("    type: characters\n    classes: [tag]\n    count_min: 2", "rules[0].classes[0]: must be one of tags, zero_width, bidi, came 'tag'"),
        (
            "    type: patterns\n    patterns: [{name: a, regex: b}]\n    applies_to: {origin: trusted}",
            "rules[0].applies_to.origin: must be one of any, untrusted",
        ),
    ],
)
def test_a_mistake_is_reported_with_its_place_and_fix(rule: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_policy(f"{HEADER}{rule}\n", "p.yaml")
    (only,) = caught.value.problems
    assert problem in only
    assert only.startswith("p.yaml:")
