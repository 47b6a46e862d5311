"""What several hits mean together: the strongest verdict that counts, the strongest action that is enforced."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_VERDICTS: Final = ("allow", "warn", "modify", "deny", "escalate")
_ACTIONS: Final = ("pass", "throttle", "redact", "quarantine", "pause_agent", "stop_agent")
_ENFORCEMENTS: Final = ("shadow", "flag", "enforce")
_REPORTED: Final = {"shadow": "shadowed", "flag": "flagged", "enforce": "enforced"}

#: Verdict, action and enforcement of a rule, in the words of a policy.
Rule = tuple[str, str, str]


def together(rules: Iterable[Rule]) -> tuple[str, str, str]:
    """Gives verdict, action and how the enforcement is reported."""
    verdict, action, enforcement = "allow", "pass", "shadow"
    for its_verdict, its_action, its_enforcement in rules:
        if its_enforcement == "shadow":
            continue
        if its_enforcement == "enforce" and _ACTIONS.index(its_action) > _ACTIONS.index(action):
            action = its_action
        stronger = (_VERDICTS.index(its_verdict), _ENFORCEMENTS.index(its_enforcement))
        if stronger > (_VERDICTS.index(verdict), _ENFORCEMENTS.index(enforcement)):
            verdict, enforcement = its_verdict, its_enforcement
    return verdict, action, _REPORTED[enforcement]
