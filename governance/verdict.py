"""Verdicts, actions and enforcement, and the lattice in which several hits become one decision.

A verdict is what the policy thinks of an event; an action is what is done with it; enforcement ties the two:

    enforce  the rule's verdict counts and its action is taken
    flag     the rule's verdict counts, nothing is done (action ``pass``)
    shadow   the hit is recorded, verdict and action stay what the other rules give

Each of the three is totally ordered and ``combine`` takes the stronger, so the order and the number of hits cannot show in a decision.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import reduce
from typing import Final


class Verdict(StrEnum):
    """What the policy thinks of an event, from weakest to strongest."""

    ALLOW = "allow"
    WARN = "warn"
    MODIFY = "modify"
    DENY = "deny"
    ESCALATE = "escalate"


class Action(StrEnum):
    """What is done with an event, from weakest to strongest.

    ``throttle``, ``pause_agent`` and ``stop_agent`` speak of the agent's future. Of the event itself: ``throttle`` leaves the content as it is,
    ``pause_agent`` and ``stop_agent`` take it out as ``quarantine`` does.
    """

    PASS = "pass"
    THROTTLE = "throttle"
    REDACT = "redact"
    QUARANTINE = "quarantine"
    PAUSE_AGENT = "pause_agent"
    STOP_AGENT = "stop_agent"


class Enforcement(StrEnum):
    """How seriously a rule is meant, from weakest to strongest."""

    SHADOW = "shadow"
    FLAG = "flag"
    ENFORCE = "enforce"

    @property
    def reported(self) -> str:
        """The word in ``guardrail_decision.avsc``."""
        return {"shadow": "shadowed", "flag": "flagged", "enforce": "enforced"}[self.value]


class Severity(StrEnum):
    """How urgent a hit is for people; ``critical`` and enforced raises an alert."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


VERDICTS: Final = tuple(Verdict)
ACTIONS: Final = tuple(Action)
ENFORCEMENTS: Final = tuple(Enforcement)

#: Actions by what they do to the content of the event itself.
REDACTING: Final = (Action.REDACT,)
REMOVING: Final = (Action.QUARANTINE, Action.PAUSE_AGENT, Action.STOP_AGENT)


def combine(left: Verdict, right: Verdict) -> Verdict:
    """Gives the stronger verdict: commutative, associative, idempotent, with ``allow`` neutral."""
    return max(left, right, key=VERDICTS.index)


@dataclass(frozen=True, slots=True)
class Decision:
    """What one hit, or all hits of an event together, mean.

    Attributes:
        verdict: Strongest verdict of the hits that count.
        action: Strongest action of the enforced hits.
        enforcement: Of the hits that gave the verdict, the strongest enforcement; ``shadow`` where only shadowed rules hit.
    """

    verdict: Verdict
    action: Action
    enforcement: Enforcement

    def join(self, other: Decision) -> Decision:
        """Gives the decision for both: commutative, associative, idempotent."""
        strongest = max(self, other, key=lambda one: (VERDICTS.index(one.verdict), ENFORCEMENTS.index(one.enforcement)))
        return Decision(strongest.verdict, max(self.action, other.action, key=ACTIONS.index), strongest.enforcement)


#: What an event without a hit gets; neutral in ``Decision.join``.
NO_HIT: Final = Decision(Verdict.ALLOW, Action.PASS, Enforcement.SHADOW)


def decision_of(verdict: Verdict, action: Action, enforcement: Enforcement) -> Decision:
    """Gives what one rule's hit means under its enforcement."""
    if enforcement is Enforcement.ENFORCE:
        return Decision(verdict, action, enforcement)
    if enforcement is Enforcement.FLAG:
        return Decision(verdict, Action.PASS, enforcement)
    return NO_HIT


def resolve(decisions: Iterable[Decision]) -> Decision:
    """Gives the decision for all hits of an event; NO_HIT for none."""
    return reduce(Decision.join, decisions, NO_HIT)
