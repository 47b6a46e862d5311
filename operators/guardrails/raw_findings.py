"""What the rules found in raw texts, as columns that hold ids and places only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import polars as pl

from governance.policy import Policy
from governance.rules import AnyRule, TextScope
from operators.guardrails.evidence import Evidence, text_evidence, written
from operators.guardrails.rules import RawRules

_EVERYWHERE: Final = TextScope()


def _narrowed(rule: AnyRule) -> TextScope | None:
    scope: TextScope = getattr(rule, "scope", _EVERYWHERE)
    return None if scope == _EVERYWHERE else scope


class RawFindings:
    """Turns hits on raw texts into the columns ``raw_hits`` and ``raw_evidence``; only events with a hit cost anything.

    Args:
        policy: Says of which texts each rule speaks.
        rules: What the texts were scanned with.
    """

    def __init__(self, policy: Policy, rules: RawRules) -> None:
        self._rules = rules
        self._narrowed = {rule.id: scope for rule in policy.rules if (scope := _narrowed(rule)) is not None}

    def __call__(
        self,
        kinds: pl.Series,
        places: Sequence[tuple[str, int]],
        raw: Sequence[str],
        masked: Sequence[str | None],
        broken: Sequence[tuple[str, ...]],
        of_documents: Iterable[tuple[int, Evidence]] = (),
    ) -> list[pl.Series]:
        """Gives both columns for the rows of a batch.

        Args:
            kinds: Kind of each row.
            places: Column and row of each text.
            raw: The texts as they came.
            masked: The texts as they go on.
            broken: For each text, the ids of the rules that hit.
            of_documents: What rules over whole values found, by row.
        """
        hits: dict[int, set[str]] = {}
        evidence: dict[int, list[Evidence]] = {}
        known: dict[tuple[str, str, tuple[str, ...]], list[Evidence]] = {}
        for at, rule_ids in enumerate(broken):
            if not rule_ids:
                continue
            column, row = places[at]
            after = masked[at]
            counting = self._held(rule_ids, kinds[row], column)
            if not counting or after is None:
                continue
            case = column, raw[at], counting
            if case not in known:
                known[case] = text_evidence(self._rules, counting, column, raw[at], after)
            hits.setdefault(row, set()).update(counting)
            evidence.setdefault(row, []).extend(known[case])
        for row, piece in of_documents:
            hits.setdefault(row, set()).add(piece.rule)
            evidence.setdefault(row, []).append(piece)
        rows = range(len(kinds))
        return [
            pl.Series("raw_hits", [sorted(hits[row]) if row in hits else None for row in rows], dtype=pl.List(pl.String)),
            pl.Series("raw_evidence", [written(evidence[row]) if row in evidence else None for row in rows], dtype=pl.String),
        ]

    def _held(self, rule_ids: tuple[str, ...], kind: str, column: str) -> tuple[str, ...]:
        narrowed = self._narrowed
        if not narrowed:
            return rule_ids
        return tuple(rule for rule in rule_ids if rule not in narrowed or narrowed[rule].holds(kind, column))
