"""Inspect: size, tools, and the raw hits that came from mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import polars as pl
import pytest

from governance.parse import default_policy
from governance.policy import Policy
from governance.rules import DomainsRule, ScoresRule, SizeRule, ToolsRule
from governance.verdict import Action, Enforcement, Severity, Verdict
from operators.guardrails.inspect import Inspect
from schemas.errors import FatalError

Events = Callable[..., pl.DataFrame]
Policies = Callable[..., Policy]

HEAD = ("a hit", Verdict.WARN, Action.PASS, Enforcement.ENFORCE, Severity.INFO)
ALL = ("agent", "tool", "reasoning", "workflow", "system")


def size(rule_id: str = "size", kinds: tuple[str, ...] = ALL, fields: tuple[str, ...] = ("input",), bytes_max: int = 4) -> SizeRule:
    return SizeRule(rule_id, *HEAD, kinds, fields, bytes_max)


def tools(agents: tuple[str, ...] = ("*",), allow: tuple[str, ...] | None = None, deny: tuple[str, ...] = ()) -> ToolsRule:
    return ToolsRule("tools", *HEAD, ALL, agents, allow, deny)


def hits(policy: Policy, frame: pl.DataFrame) -> list[list[str] | None]:
    outcome = Inspect(policy)(frame)
    assert outcome.batch.drop("hits").equals(frame), "inspect changes nothing but hits"
    assert outcome.dead.height == 0
    return outcome.batch.get_column("hits").to_list()


def test_size_is_counted_in_bytes_and_the_limit_itself_is_allowed(events: Events, policy_with: Policies) -> None:
    frame = events({"input": '"ab"'}, {"input": '"abc"'}, {"input": '"é"'}, {"input": '"éa"'}, {"input": None})
    assert hits(policy_with(size()), frame) == [None, ["size"], None, ["size"], None]


def test_one_field_over_the_limit_is_enough(events: Events, policy_with: Policies) -> None:
    frame = events({"output": '"123456789"'}, {"value_bytes": 11}, {"error": '"123456789"'}, {"value_bytes": 10})
    assert hits(policy_with(size(fields=("output", "value"), bytes_max=10)), frame) == [["size"], ["size"], None, None]


def test_a_rule_applies_to_its_kinds_only(events: Events, policy_with: Policies) -> None:
    frame = events({"input": '"abc"'}, {"input": '"abc"', "kind": "tool"})
    assert hits(policy_with(size(kinds=("tool",))), frame) == [None, ["size"]]


def test_a_score_hits_from_the_threshold_on_and_none_where_nothing_was_scored(events: Events, policy_with: Policies) -> None:
    rules = [ScoresRule(f"scores.{label}", *HEAD, ("agent",), label, 900_000) for label in ("injection", "jailbreak", "toxicity")]
    frame = events(
        {"injection_ppm": 899_999, "jailbreak_ppm": 0, "toxicity_ppm": 1_000_000},
        {"injection_ppm": 900_000, "jailbreak_ppm": 900_001, "toxicity_ppm": 5},
        {"injection_ppm": None},
        {"kind": "tool", "injection_ppm": 1_000_000},
    )
    assert hits(policy_with(*rules), frame) == [["scores.toxicity"], ["scores.injection", "scores.jailbreak"], None, None]


@pytest.mark.parametrize("name", ["shell", "SHELL", " shell\n", "ѕhеll", "ｓｈｅｌｌ", "sh\u200bell", "run_shell"])
def test_a_denied_tool_hits_however_it_is_spelt(events: Events, policy_with: Policies, name: str) -> None:
    assert hits(policy_with(tools(deny=("shell", "*_shell"))), events({"tool_name": name})) == [["tools"]]


@pytest.mark.parametrize("name", [None, "shellfish", "search", "she", "run_shells"])
def test_another_tool_does_not_hit(events: Events, policy_with: Policies, name: str | None) -> None:
    assert hits(policy_with(tools(deny=("shell", "*_shell"))), events({"tool_name": name})) == [None]


def test_an_allow_list_denies_the_rest_and_deny_wins(events: Events, policy_with: Policies) -> None:
    frame = events({"tool_name": "get_user"}, {"tool_name": "get_all"}, {"tool_name": "put_user"}, {"tool_name": None})
    assert hits(policy_with(tools(allow=("get_*",), deny=("get_all",))), frame) == [None, ["tools"], ["tools"], None]


def test_agents_are_named_by_globs(events: Events, policy_with: Policies) -> None:
    frame = events(
        *({"tool_name": "shell", "agent_id": agent} for agent in ("support-1", "support-12", "x-support-1", "support.1", "a+b", "aab", "support-1\n"))
    )
    found = hits(policy_with(tools(agents=("support-?", "a+b"), deny=("shell",))), frame)
    assert [bool(one) for one in found] == [True, False, False, False, True, False, False]


def test_raw_hits_are_kept_sorted_and_held_to_the_kinds_of_their_rule(events: Events, policy_with: Policies) -> None:
    anywhere = DomainsRule("z.anywhere", *HEAD, ALL, ("a.example",))
    limited = DomainsRule("b.limited", *HEAD, ("tool",), ("b.example",))
    both = ["z.anywhere", "b.limited", "z.anywhere"]
    frame = events({"raw_hits": both}, {"raw_hits": both, "kind": "tool", "input": '"abc"'}, {"raw_hits": []}, {})
    policy = policy_with(anywhere, limited, size("m.size"))
    assert hits(policy, frame) == [["z.anywhere"], ["b.limited", "m.size", "z.anywhere"], None, None]


def test_a_raw_hit_of_another_policy_stops_the_run(events: Events, policy_with: Policies) -> None:
    with pytest.raises(FatalError, match="build mask and inspect from the same policy"):
        Inspect(policy_with(size()))(events({"raw_hits": ["size"]}))


def test_rows_are_independent_of_one_another(events: Events) -> None:
    policy = default_policy()
    frame = events({"tool_name": "bash"}, {"raw_hits": ["secrets.leaked"]}, {}, {"input": f'"{"x" * 140_000}"'})
    whole = Inspect(policy)(frame).batch
    assert pl.concat([Inspect(policy)(frame[n : n + 1]).batch for n in range(frame.height)]).equals(whole)
    assert Inspect(policy)(frame[:0]).batch.schema == whole.schema


def test_a_policy_without_rules_hits_nothing(events: Events) -> None:
    assert hits(replace(default_policy(), rules=()), events({"tool_name": "bash"})) == [None]
