"""The account of a decision: the evidence of every hit, and what of the content must go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import polars as pl

from governance.policy import Policy
from governance.rules import AnyRule, ScoresRule, SizeRule, ToolsRule
from governance.verdict import REDACTING, Action
from operators.guardrails.evidence import Evidence, read, written
from schemas.events import CONTENT

_SEEN: Final = ("tool_name", "raw_evidence", "value_bytes", *CONTENT)


class Accounts(NamedTuple):
    """Two columns.

    Attributes:
        evidence: Of the rows with hits.
        redactions: Of all rows.
    """

    evidence: pl.Series
    redactions: pl.Series


class Account:
    """Gives the evidence of decisions.

    Args:
        policy: The same that decided.
    """

    def __init__(self, policy: Policy) -> None:
        self._rules: Mapping[str, AnyRule] = {rule.id: rule for rule in policy.rules}
        self._redacting = frozenset(rule.id for rule in policy.rules if rule.decision.action in REDACTING)

    def of(self, decided: pl.DataFrame, hits: Mapping[int, tuple[str, ...]]) -> Accounts:
        """Gives the accounts of a batch.

        Args:
            decided: Rows with their action.
            hits: Ids of the rules that hit, by row.
        """
        rows = decided[list(hits)].select("action", *_SEEN).iter_rows(named=True)
        evidence: list[str | None] = []
        redactions: dict[int, str | None] = {}
        for (row, of_row), values in zip(hits.items(), rows, strict=True):
            pieces = list(self._pieces(of_row, values))
            evidence.append(written(pieces))
            if Action(values["action"]) in REDACTING:
                going = [piece for piece in pieces if piece.rule in self._redacting]
                if all(piece.column in CONTENT for piece in going):
                    redactions[row] = written(going)
        column = [redactions.get(row) for row in range(decided.height)] if redactions else [None] * decided.height
        return Accounts(pl.Series("evidence", evidence, dtype=pl.String), pl.Series("redactions", column, dtype=pl.String))

    def _pieces(self, hits: tuple[str, ...], values: Mapping[str, Any]) -> Iterator[Evidence]:
        found = [piece for piece in read(values["raw_evidence"]) if piece.rule in hits]
        yield from found
        placed = {piece.rule for piece in found}
        for rule_id in hits:
            if rule_id not in placed:
                yield from _of_columns(self._rules.get(rule_id), rule_id, values)


def _of_columns(rule: AnyRule | None, rule_id: str, values: Mapping[str, Any]) -> Iterator[Evidence]:
    """What rules over columns saw: columns and names of limits."""
    if isinstance(rule, SizeRule):
        sizes = {field: values["value_bytes"] if field == "value" else len((values[field] or "").encode()) for field in rule.fields}
        larger = [field for field, size in sizes.items() if (size or 0) > rule.bytes_max]
        yield from (Evidence(rule_id, "bytes_max", field) for field in larger or rule.fields)
    elif isinstance(rule, ToolsRule):
        yield Evidence(rule_id, None, "tool_name")
    elif isinstance(rule, ScoresRule):
        yield Evidence(rule_id, rule.label, f"{rule.label}_ppm")
    else:
        yield Evidence(rule_id, None, None)
