"""Inspect: the rules that need no raw value, and the sum of all hits of an event."""

from __future__ import annotations

from typing import Final

import polars as pl

from governance.policy import Policy
from governance.rules import KINDS, ScoresRule, SizeRule, ToolsRule
from operators.contract import Outcome
from operators.guardrails.fold import fold
from operators.guardrails.globs import agents_condition, tools_pattern
from schemas.errors import FatalError

_ROW: Final = "_row"
_HIT: Final = "_hit"


class _Tools:
    """One tools rule, compiled."""

    def __init__(self, rule: ToolsRule) -> None:
        self._deny = tools_pattern(rule.deny)
        self._allow = None if rule.allow is None else tools_pattern(rule.allow)
        self._agents = agents_condition(rule.agents)

    def _forbidden(self, name: str) -> bool:
        spelt = fold(name).strip().lower()
        return self._deny.fullmatch(spelt) is not None or (self._allow is not None and self._allow.fullmatch(spelt) is None)

    def condition(self, names: list[str]) -> pl.Expr:
        """Gives the rows that hit; ``names`` are the distinct tool names of the batch."""
        return pl.col("tool_name").is_in([name for name in names if self._forbidden(name)]) & self._agents


def _too_large(rule: SizeRule) -> pl.Expr:
    sizes = (pl.col("value_bytes") if field == "value" else pl.col(field).str.len_bytes() for field in rule.fields)
    return pl.any_horizontal(size > rule.bytes_max for size in sizes)


class Inspect:
    """Adds ``hits``: the ids of all rules that hit an event, sorted; null where none did.

    The raw-value rules (domains, phrases, secrets) ran inside ``mask`` on decoded strings, so that no JSON escape hides a phrase and no masked span
    hides a domain; their hits arrive in ``raw_hits`` and are held to the rules' kinds here. Size, tools and scores rules run here, on columns.

    Shapes: any rows of EVENT, MASKED and SCORED; the same rows with INSPECTED (``hits``).
    Bounds: the distinct tool names of a batch are looked at one by one, nothing else is.

    Args:
        policy: The same that ``mask`` compiled its raw-value rules from.

    Raises:
        FatalError: ``raw_hits`` names a rule that the policy does not have.
    """

    name: Final = "inspect"

    def __init__(self, policy: Policy) -> None:
        self._sizes = [(rule, _too_large(rule)) for rule in policy.rules if isinstance(rule, SizeRule)]
        self._scores = [(rule, pl.col(f"{rule.label}_ppm") >= rule.threshold_ppm) for rule in policy.rules if isinstance(rule, ScoresRule)]
        self._tools = [(rule, _Tools(rule)) for rule in policy.rules if isinstance(rule, ToolsRule)]
        raw = [rule for rule in policy.rules if rule.needs_raw]
        self._raw_ids = [rule.id for rule in raw]
        self._unlimited = [rule.id for rule in raw if set(rule.kinds) == set(KINDS)]
        self._limited = pl.DataFrame(
            [(rule.id, kind) for rule in raw for kind in rule.kinds if rule.id not in self._unlimited],
            schema={_HIT: pl.String, "kind": pl.String},
            orient="row",
        )

    def __call__(self, batch: pl.DataFrame) -> Outcome:
        """Maps one batch; every row goes on."""
        names = batch.get_column("tool_name").drop_nulls().unique().to_list()
        conditions = [
            *self._sizes,
            *self._scores,
            *((rule, tools.condition(names)) for rule, tools in self._tools),
        ]
        # One narrow frame of booleans, for the wide one is only to be copied once.
        tests = batch.select((pl.col("kind").is_in(rule.kinds) & condition).alias(rule.id) for rule, condition in conditions)
        has_raw = batch.get_column("raw_hits").null_count() < batch.height
        if not has_raw and not any(test.any() for test in tests):
            return Outcome(batch.with_columns(pl.lit(None, dtype=pl.List(pl.String)).alias("hits")))
        found = [pl.DataFrame({_ROW: test.fill_null(False).arg_true(), _HIT: test.name}, schema={_ROW: pl.UInt32, _HIT: pl.String}) for test in tests]
        hits = pl.concat([*found, self._raw_hits(batch)]).unique().group_by(_ROW).agg(pl.col(_HIT).sort().alias("hits"))
        column = pl.select(pl.int_range(batch.height, dtype=pl.UInt32).alias(_ROW)).join(hits, on=_ROW, how="left", maintain_order="left")
        return Outcome(batch.with_columns(column.get_column("hits").cast(pl.List(pl.String))))

    def _raw_hits(self, batch: pl.DataFrame) -> pl.DataFrame:
        """Gives (row, rule id) for raw hits whose rule applies to the kind of event."""
        rows = batch.select(pl.int_range(pl.len(), dtype=pl.UInt32).alias(_ROW), "kind", pl.col("raw_hits").alias(_HIT))
        hits = rows.filter(pl.col(_HIT).list.len() > 0).explode(_HIT)
        unknown = hits.filter(~pl.col(_HIT).is_in(self._raw_ids)).height
        if unknown:
            raise FatalError(f"inspect: {unknown} raw hits name a rule that is not in the policy; build mask and inspect from the same policy")
        anywhere = hits.filter(pl.col(_HIT).is_in(self._unlimited))
        limited = hits.join(self._limited, on=[_HIT, "kind"], how="semi")
        return pl.concat([anywhere, limited]).select(_ROW, _HIT)
