"""Decide: hits become a verdict and an action."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl

from governance.policy import Policy
from governance.verdict import NO_HIT, Decision, Enforcement, Severity, resolve
from operators.contract import Outcome
from schemas.coordinates import alert_uid
from schemas.errors import FatalError
from schemas.events import COORDINATES, DECIDED
from schemas.frames import output_schema

#: Fields of ``guardrail_decision.avsc``.
DECISION_COLUMNS: Final = (
    "event_uid",
    "event_id",
    "agent_id",
    "session_id",
    "kind",
    "event_type",
    "tool_name",
    "event_time",
    "verdict",
    "action",
    "enforcement",
    "hits",
    "policy_id",
    "policy_version",
    *COORDINATES,
)

#: Fields of ``alert.avsc``.
ALERT_COLUMNS: Final = ("alert_uid", "agent_id", "event_time", "severity", "rule_id", "message", "event_uid", "policy_version")

_KEY: Final = "_hits"
_TABLE: Final = {_KEY: pl.String(), "verdict": pl.String(), "action": pl.String(), "enforcement": pl.String()}


class Decide:
    """Adds verdict, action and policy; puts out a decision for every event with a hit and an alert for every critical, enforced hit.

    Several hits join by the lattice of ``governance.verdict``, so their order and number do not matter. A decision depends on the row's hits and
    the policy alone.

    Shapes: rows with ``hits``; the same rows with DECIDED. Outputs ``guardrail_decisions`` and ``alerts``.
    Facts: ``("verdicts", verdict)`` counts events, ``("rule_hits", rule id)`` counts hits.
    Bounds: one small table of the distinct hit lists of the batch.

    Args:
        policy: The same that ``inspect`` ran.

    Raises:
        FatalError: ``hits`` names a rule that the policy does not have.
    """

    name: Final = "decide"

    def __init__(self, policy: Policy) -> None:
        self._policy = pl.lit(policy.id).alias("policy_id"), pl.lit(policy.version).alias("policy_version")
        self._no_outputs = {topic: output_schema(topic).to_frame() for topic in ("guardrail_decisions", "alerts")}
        self._quiet = (pl.lit(NO_HIT.verdict.value).alias("verdict"), pl.lit(NO_HIT.action.value).alias("action"), *self._policy)
        self._decisions: Mapping[str, Decision] = {rule.id: rule.decision for rule in policy.rules}
        alerting = [rule for rule in policy.rules if rule.severity is Severity.CRITICAL and rule.enforcement is Enforcement.ENFORCE]
        self._alerting = pl.DataFrame(
            [(rule.id, rule.severity.value, rule.description) for rule in alerting],
            schema={"rule_id": pl.String, "severity": pl.String, "message": pl.String},
            orient="row",
        )

    def __call__(self, batch: pl.DataFrame) -> Outcome:
        """Maps one batch; every row goes on."""
        if batch.get_column("hits").null_count() == batch.height:
            quiet = batch.with_columns(*self._quiet)
            return Outcome(quiet, outputs=self._no_outputs, facts={("verdicts", NO_HIT.verdict.value): batch.height} if batch.height else {})
        key = pl.when(pl.col("hits").list.len() > 0).then(pl.col("hits").list.join("\n")).alias(_KEY)
        keys = batch.select(key)
        table = self._table(keys.get_column(_KEY).drop_nulls().unique().to_list())
        # The join is narrow, for the wide frame is only to be copied once.
        joined = keys.join(table, on=_KEY, how="left", maintain_order="left").with_columns(
            pl.col("verdict").fill_null(NO_HIT.verdict.value), pl.col("action").fill_null(NO_HIT.action.value), *self._policy
        )
        decided = batch.with_columns(joined.select(*DECIDED))
        hit = decided.with_columns(joined.get_column("enforcement")).filter(joined.get_column(_KEY).is_not_null())
        outputs = {"guardrail_decisions": hit.select(DECISION_COLUMNS), "alerts": self._alerts(hit)}
        return Outcome(decided, outputs=outputs, facts=_facts(decided))

    def _table(self, keys: list[str]) -> pl.DataFrame:
        """Gives the decision for each distinct list of hits."""
        decisions = [self._decide(key) for key in keys]
        rows = [(key, one.verdict.value, one.action.value, one.enforcement.reported) for key, one in zip(keys, decisions, strict=True)]
        return pl.DataFrame(rows, schema=_TABLE, orient="row")

    def _decide(self, key: str) -> Decision:
        unknown = [rule_id for rule_id in key.split("\n") if rule_id not in self._decisions]
        if unknown:
            raise FatalError(f"decide: {len(unknown)} hits name a rule that is not in the policy; build inspect and decide from the same policy")
        return resolve(self._decisions[rule_id] for rule_id in key.split("\n"))

    def _alerts(self, hit: pl.DataFrame) -> pl.DataFrame:
        columns = ("event_uid", "agent_id", "event_time", "policy_version")
        raised = hit.select(*columns, pl.col("hits").alias("rule_id")).explode("rule_id")
        raised = raised.join(self._alerting, on="rule_id", how="inner", maintain_order="left")
        uids = [alert_uid(event, rule) for event, rule in raised.select("event_uid", "rule_id").iter_rows()]
        return raised.with_columns(pl.Series("alert_uid", uids, dtype=pl.String)).select(ALERT_COLUMNS)


def _facts(decided: pl.DataFrame) -> dict[tuple[str, str], int]:
    verdicts = decided.get_column("verdict").value_counts().iter_rows()
    hits = decided.select(pl.col("hits").explode()).to_series().drop_nulls().value_counts().iter_rows()
    return {**{("verdicts", verdict): count for verdict, count in verdicts}, **{("rule_hits", rule_id): count for rule_id, count in hits}}
