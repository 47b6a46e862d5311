"""What a rule found is gone from what goes on, the rest stays; evidence holds places and no values. Each law with the mutant that it kills."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governance.parse import default_policy
from governance.patterns import PatternSpec
from governance.rules import PatternsRule, TermsRule
from governance.verdict import Action, Decision, Enforcement, Severity, Verdict, resolve
from operators.guardrails.evidence import Evidence, text_evidence, written
from operators.guardrails.redact import redacted
from operators.guardrails.rules import RawRules

HEAD = ("r", "About r.", Verdict.MODIFY, Action.REDACT, Enforcement.ENFORCE, Severity.ERROR, ("agent",))
OTHER = replace(TermsRule(*HEAD, ("magic word", "zebra"), 1), id="s")
RULES = RawRules(replace(default_policy(), rules=(PatternsRule(*HEAD, (PatternSpec("drop", r"drop (?:table )+\w+"),)), OTHER)))
IDS = ("r", "s")
PIECES = (
    "drop table a",
    "drop table drop table b",
    "dr\u200bop table c",
    "magic  word",
    "zebra",
    "<REDACTED>",
    "kept",
    " ",
    "\n",
    "é",
    '"',
    "\\",
    "{",
    "[1]",
)
TEXTS = st.lists(st.sampled_from(PIECES), max_size=5).map("".join)
VALUES = st.recursive(
    TEXTS | st.integers(0, 3) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3) | inner.map(json.dumps),
    max_leaves=6,
)
Redact = Callable[[str, Iterable[Evidence]], str]


def found_in(content: str) -> set[str]:
    """Rules that hit any key or leaf, JSON inside strings included."""
    found: set[str] = set()
    waiting = [json.loads(content)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            waiting += [*node, *node.values()]
        elif isinstance(node, list):
            waiting += node
        elif isinstance(node, str):
            found.update(RULES([node])[0])
            try:
                inner = json.loads(node)
            except ValueError:
                continue
            waiting += [inner] if isinstance(inner, dict | list) else []
    return found


def leaves_nothing(content: str, redact: Redact) -> None:
    """What each rule found is gone; that a cut makes a word of what was none is no finding of another rule."""
    for rule in sorted(found_in(content)):
        assert rule not in found_in(redact(content, text_evidence(RULES, (rule,), "input", content, content)))


@given(VALUES)
@settings(max_examples=300, deadline=None)
def test_what_was_found_is_gone(value: object) -> None:
    leaves_nothing(json.dumps(value), redacted)


@given(VALUES)
@settings(max_examples=150, deadline=None)
def test_without_a_finding_nothing_changes(value: object) -> None:
    content = json.dumps(value)
    if not found_in(content):
        assert redacted(content, ()) == content


@given(VALUES)
@settings(max_examples=150, deadline=None)
def test_evidence_holds_no_leaf(value: object) -> None:
    content = json.dumps(["zebra of mia.li3668@example.com", value])
    hits = tuple(sorted(found_in(content)))
    assert "mia" not in (written(text_evidence(RULES, hits, "input", content, content)) or "")


def cuts_the_first_only(content: str, evidence: Iterable[Evidence]) -> str:
    return redacted(content, list(evidence)[:1])


def cuts_a_character_less(content: str, evidence: Iterable[Evidence]) -> str:
    return redacted(content, [one if one.start is None else one._replace(start=one.start + 5) for one in evidence])


def takes_no_column(content: str, evidence: Iterable[Evidence]) -> str:
    return redacted(content, [one for one in evidence if one.path is not None])


@pytest.mark.parametrize(
    ("mutant", "content"),
    [
        (cuts_the_first_only, '["zebra","zebra"]'),
        (cuts_a_character_less, '["magic word magic word","zebra zebra"]'),
        (takes_no_column, '{"zebra":1}'),
    ],
)
def test_the_law_kills_its_mutants(mutant: Redact, content: str) -> None:
    leaves_nothing(content, redacted)
    with pytest.raises(AssertionError):
        leaves_nothing(content, mutant)


DECISIONS = st.builds(Decision, st.sampled_from(list(Verdict)), st.sampled_from(list(Action)), st.sampled_from(list(Enforcement)))


@given(st.lists(DECISIONS, max_size=6), st.randoms(use_true_random=False))
def test_the_order_and_the_number_of_hits_do_not_show(decisions: list[Decision], random: object) -> None:
    mixed = [*decisions, *decisions[:2]]
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert resolve(mixed) == resolve(decisions)


def test_a_combination_that_takes_the_last_is_told() -> None:
    strong, weak = Decision(Verdict.DENY, Action.QUARANTINE, Enforcement.ENFORCE), Decision(Verdict.WARN, Action.PASS, Enforcement.ENFORCE)
    assert resolve([strong, weak]) == resolve([weak, strong]) != [strong, weak][-1]
