"""The section ``limits`` of a policy: what it says becomes values, and every problem is told with its place."""

from __future__ import annotations

from importlib import resources

import pytest

from governance.limits import Budget, Command, Concurrency, Depth, Measure, Per, Quota, Scope
from governance.parse import default_policy, parse_policy
from governance.policy import Policy, canonical
from governance.rules import KINDS
from governance.verdict import Action, Enforcement, Severity, Verdict
from schemas.errors import ConfigError

_DEFAULT = resources.files("governance").joinpath("policies/default.yaml").read_text(encoding="utf-8")
_BEFORE = _DEFAULT[: _DEFAULT.index("\nlimits:")] + "\n"
_LINE = _BEFORE.count("\n")


def policy(section: str) -> Policy:
    return parse_policy(_BEFORE + section, "p.yaml")


def test_each_type_of_limit_becomes_a_value() -> None:
    limits = policy(
        """limits:
  hold: {throttle_s: 5}
  agents:
    - {id: a, type: budget, description: d, verdict: deny, action: throttle, severity: error, per: session, measure: tokens, window_s: 2, max: 7}
    - {id: b, type: concurrency, description: d, verdict: warn, action: pass, enforcement: flag, severity: info, kinds: [agent], max: 3, ends: [end]}
    - {id: c, type: depth, description: d, verdict: deny, action: stop_agent, severity: critical, max: 4, memory_s: 9}
  quotas:
    - {id: d, description: d, severity: info, per: tool, measure: failures, window_s: 60, max: 0, control: stop}
    - {id: e, description: d, severity: info, per: fleet, measure: events, window_s: 60, max: 1, control: pause, hold_s: 3}
"""
    ).limits
    head = ("d", Verdict.DENY, Action.THROTTLE, Enforcement.ENFORCE, Severity.ERROR, KINDS)
    assert limits.agents == (
        Budget("a", *head, Per.SESSION, Measure.TOKENS, 2_000, 7),
        Concurrency("b", "d", Verdict.WARN, Action.PASS, Enforcement.FLAG, Severity.INFO, ("agent",), 3, ("end",), 600_000),
        Depth("c", "d", Verdict.DENY, Action.STOP_AGENT, Enforcement.ENFORCE, Severity.CRITICAL, KINDS, 4, 9_000),
    )
    counted = ("d", Enforcement.ENFORCE, Severity.INFO, KINDS)
    assert limits.quotas == (
        Quota("d", *counted, Scope.TOOL, Measure.FAILURES, 60_000, 0, Command.STOP, None),
        Quota("e", *counted, Scope.FLEET, Measure.EVENTS, 60_000, 1, Command.PAUSE, 3_000),
    )
    assert (limits.throttle_ms, limits.pause_ms) == (5_000, 600_000)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("  agents: [{id: a}]", "limits.agents[0].type: is missing; add one of budget, concurrency, depth"),
        ("  agents: [{type: budgit}]", "must be one of budget, concurrency, depth, came 'budgit'; did you mean 'budget'?"),
        ("  agents: [{type: depth, deep: 1}]", "limits.agents[0].deep: unknown key"),
        ("  agents: [{type: depth, id: size.value_x, max: 0}]", "limits.agents[0].max: must be a whole number from 1 to 10000, came 0"),
        ("  agents: [{type: depth, id: secrets.leaked}]", "'secrets.leaked' is taken by an earlier rule or limit; choose another"),
        ("  agents: [{type: depth, id: Not it}]", "must be lower case words joined by '.', '_' or '-'"),
        ("  agents: [{type: depth, verdict: allow, action: throttle}]", "limits.agents[0].action: must be pass where the verdict is allow"),
        ("  agents: [{type: budget, per: user}]", "must be one of agent, session, execution, call, came 'user'"),
        ("  agents: [{type: budget, window_s: 90000}]", "must be a whole number from 1 to 86400, came 90000"),
        ("  agents: [{type: concurrency}]", "limits.agents[0].ends: is missing; add it"),
        ("  quotas: [{per: session}]", "must be one of agent, user, tool, fleet, came 'session'"),
        ("  quotas: [{control: resume}]", "must be one of throttle, pause, stop, came 'resume'"),
        ("  quotas: [{hold_s: 3}]", "says how long a command holds and there is none; add control, or remove it"),
        ("  quotas: [{verdict: deny}]", "limits.quotas[0].verdict: unknown key"),
        ("  hold: {throttle_s: 0}", "limits.hold.throttle_s: must be a whole number from 1 to 86400, came 0"),
    ],
)
def test_a_problem_is_told_with_its_place(entry: str, problem: str) -> None:
    with pytest.raises(ConfigError) as told:
        policy(f"limits:\n{entry}\n")
    [line] = [line for line in told.value.problems if problem in line]
    assert line.startswith(f"p.yaml:{_LINE + 2}:")


def test_limits_take_part_in_the_digest_of_a_policy() -> None:
    one = "  agents:\n    - {id: a, type: depth, description: d, verdict: deny, action: pass, severity: info, max: "
    assert policy(f"limits:\n{one}4}}\n").digest != policy(f"limits:\n{one}5}}\n").digest
    assert '"type":"depth"' in canonical(policy(f"limits:\n{one}4}}\n"))
    assert default_policy().limits.quotas == ()
