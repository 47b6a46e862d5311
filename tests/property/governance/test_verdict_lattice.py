"""The verdict lattice: order and number of hits cannot show in a decision."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.verdict import NO_HIT, VERDICTS, Action, Decision, Enforcement, Verdict, combine, decision_of, resolve

decisions = st.builds(decision_of, st.sampled_from(Verdict), st.sampled_from(Action), st.sampled_from(Enforcement))


def is_semilattice(join: Callable[[Verdict, Verdict], Verdict]) -> bool:
    return all(
        join(a, b) == join(b, a) and join(join(a, b), c) == join(a, join(b, c)) and join(a, a) == a and join(a, Verdict.ALLOW) == a
        for a, b, c in product(VERDICTS, repeat=3)
    )


def test_combine_is_commutative_associative_idempotent_with_allow_neutral() -> None:
    assert is_semilattice(combine)


def test_combine_gives_the_stronger_in_the_stated_order() -> None:
    assert VERDICTS == ("allow", "warn", "modify", "deny", "escalate")
    assert all(combine(a, b) == VERDICTS[max(VERDICTS.index(a), VERDICTS.index(b))] for a, b in product(VERDICTS, repeat=2))


@pytest.mark.parametrize("mutant", [lambda a, b: a, lambda a, b: min(a, b, key=VERDICTS.index), lambda a, b: Verdict.DENY])
def test_the_law_kills_joins_that_are_none(mutant: Callable[[Verdict, Verdict], Verdict]) -> None:
    assert not is_semilattice(mutant)


@given(st.lists(decisions, max_size=6), st.randoms(use_true_random=False))
def test_a_decision_does_not_depend_on_order_or_number_of_hits(hits: list[Decision], random: object) -> None:
    shuffled = [*hits, *hits[:2]]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert resolve(shuffled) == resolve(hits)


@given(decisions, decisions, decisions)
def test_decisions_join_as_a_semilattice(a: Decision, b: Decision, c: Decision) -> None:
    assert a.join(b) == b.join(a)
    assert a.join(b).join(c) == a.join(b.join(c))
    assert a.join(a) == a
    assert a.join(NO_HIT) == a


def test_an_enforced_deny_takes_its_action() -> None:
    assert decision_of(Verdict.DENY, Action.QUARANTINE, Enforcement.ENFORCE) == Decision(Verdict.DENY, Action.QUARANTINE, Enforcement.ENFORCE)


def test_a_flagged_deny_keeps_its_verdict_and_passes() -> None:
    assert decision_of(Verdict.DENY, Action.QUARANTINE, Enforcement.FLAG) == Decision(Verdict.DENY, Action.PASS, Enforcement.FLAG)


@given(st.lists(decisions, max_size=4), st.sampled_from(Verdict), st.sampled_from(Action))
def test_a_shadowed_hit_changes_nothing(hits: list[Decision], verdict: Verdict, action: Action) -> None:
    assert resolve([*hits, decision_of(verdict, action, Enforcement.SHADOW)]) == resolve(hits)


def test_enforcement_is_that_of_the_rule_that_gave_the_verdict() -> None:
    warned = decision_of(Verdict.WARN, Action.REDACT, Enforcement.ENFORCE)
    flagged = decision_of(Verdict.DENY, Action.QUARANTINE, Enforcement.FLAG)
    assert resolve([warned, flagged]) == Decision(Verdict.DENY, Action.REDACT, Enforcement.FLAG)
