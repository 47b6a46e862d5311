"""Rules over what a column speaks of: only some topics are allowed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import polars as pl

from governance.policy import Policy
from governance.rules import TopicsRule
from operators.guardrails.evidence import Evidence
from operators.guardrails.expressions import native
from operators.guardrails.fold import OTHER, readings
from operators.guardrails.fold import fold as folded
from operators.guardrails.terms import TermFinder
from operators.guardrails.texts import texts_of

_NONE: Final = "no allowed topic"


class TopicRules:
    """The rules of a policy that allow topics; nothing to do where it has none.

    Args:
        policy: Its topics rules are compiled.

    Bounds: linear in the text; equal columns of a batch are read once.
    """

    def __init__(self, policy: Policy) -> None:
        self._rules = [(rule, _speaks_of(rule)) for rule in policy.rules if isinstance(rule, TopicsRule)]

    def __call__(self, batch: pl.DataFrame) -> list[tuple[int, Evidence]]:
        """Gives the columns that speak of none of the allowed topics, by row; a column that is not there speaks of nothing."""
        found: list[tuple[int, Evidence]] = []
        for rule, is_allowed in self._rules:
            known: dict[str, bool] = {}
            for column in rule.scope.columns:
                for row, (kind, text) in enumerate(batch.select("kind", column).iter_rows()):
                    if text is None or kind not in rule.kinds or not rule.scope.holds(kind, column):
                        continue
                    if text not in known:
                        known[text] = is_allowed(text)
                    if not known[text]:
                        found.append((row, Evidence(rule.id, _NONE, column)))
        return found


def _speaks_of(rule: TopicsRule) -> Callable[[str], bool]:
    """Gives what tells whether a column's JSON text speaks of an allowed topic, or of nothing."""
    words = [word for _, listed in rule.allow for word in listed]
    plain = TermFinder([folded(word).lower() for word in words if OTHER not in folded(word)])
    written = [native(word).strip() for word in words if OTHER in folded(word)]

    def is_allowed(content: str) -> bool:
        try:
            text = "\n".join(texts_of(content))
        except (RecursionError, ValueError):  # what cannot be read is not known to be allowed
            return False
        if len(text) < rule.chars_min:
            return True
        if any(plain(reading) for reading in readings(text)):
            return True
        seen = native(text) if written else b""
        return any(word in seen for word in written)

    return is_allowed
