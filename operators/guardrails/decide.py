"""Decide: hits become a verdict and an action."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

import polars as pl

from governance.policy import Policy
from governance.verdict import NO_HIT, Decision, Enforcement, Severity, resolve
from operators.contract import Outcome
from operators.guardrails.account import Account
from schemas.coordinates import alert_uid
from schemas.errors import FatalError
from schemas.events import COORDINATES, SCORED
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
    "evidence",
    "content_hmac",
    *COORDINATES,
    *SCORED,
    "user_id",
    "masked_spans",
)

#: Fields of ``alert.avsc``.
ALERT_COLUMNS: Final = ("alert_uid", "agent_id", "event_time", "severity", "rule_id", "message", "event_uid", "policy_version")
ALERT: Final = pl.Schema({name: output_schema("alerts")[name] for name in ALERT_COLUMNS})


class Decide:
    """Adds verdict, action and policy; puts out a decision for every event with a hit and an alert for every critical, enforced hit.

    Several hits join by the lattice of ``governance.verdict``, so their order and number do not matter. A decision depends on the row's hits and
    the policy alone.

    Shapes: rows with ``hits``; the same rows with DECIDED. Outputs ``guardrail_decisions`` and ``alerts``.
    Facts: ``("verdicts", verdict)`` counts events, ``("rule_hits", rule id)`` counts hits.
    Bounds: only rows with hits are looked at one by one; their distinct hit lists are decided once.

    Args:
        policy: The same that ``inspect`` ran.

    Raises:
        FatalError: ``hits`` names a rule that the policy does not have.
    """

    name: Final = "decide"

    def __init__(self, policy: Policy) -> None:
        nothing = pl.lit(None, dtype=pl.String).alias("redactions")
        self._policy = pl.lit(policy.id).alias("policy_id"), pl.lit(policy.version).alias("policy_version"), nothing
        self._account = Account(policy)
        self._no_outputs = {topic: output_schema(topic).to_frame() for topic in ("guardrail_decisions", "alerts")}
        self._quiet = (pl.lit(NO_HIT.verdict.value).alias("verdict"), pl.lit(NO_HIT.action.value).alias("action"), *self._policy)
        self._decisions: Mapping[str, Decision] = {rule.id: rule.decision for rule in (*policy.rules, *policy.limits.agents)}
        self._alerting = {
            rule.id: rule
            for rule in (*policy.rules, *policy.limits.agents)
            if rule.severity is Severity.CRITICAL and rule.enforcement is Enforcement.ENFORCE
        }

    def __call__(self, batch: pl.DataFrame) -> Outcome:
        """Maps one batch; every row goes on."""
        hits = batch.get_column("hits")
        found = hits.is_not_null().arg_true() if hits.null_count() < batch.height else None
        lists = {} if found is None else {row: tuple(of_row) for row, of_row in zip(found, hits[found].to_list(), strict=True) if of_row}
        if not lists:
            quiet = batch.with_columns(*self._quiet)
            return Outcome(quiet, outputs=self._no_outputs, facts={("verdicts", NO_HIT.verdict.value): batch.height} if batch.height else {})
        by_list = {one: self._decide(one) for one in set(lists.values())}
        verdicts, actions = [NO_HIT.verdict.value] * batch.height, [NO_HIT.action.value] * batch.height
        for row, of_row in lists.items():
            verdicts[row], actions[row] = by_list[of_row].verdict.value, by_list[of_row].action.value
        decided = batch.with_columns(pl.Series("verdict", verdicts), pl.Series("action", actions), *self._policy)
        accounts = self._account.of(decided, lists)
        decided = decided.with_columns(accounts.redactions)
        reported = [by_list[of_row].enforcement.reported for of_row in lists.values()]
        hit = decided[list(lists)].with_columns(pl.Series("enforcement", reported), accounts.evidence)
        outputs = {"guardrail_decisions": hit.select(DECISION_COLUMNS), "alerts": self._alerts(hit)}
        facts = {("verdicts", verdict): count for verdict, count in Counter(verdicts).items()}
        facts |= {("rule_hits", rule): count for rule, count in Counter(rule for of_row in lists.values() for rule in of_row).items()}
        return Outcome(decided, outputs=outputs, facts=facts)

    def _decide(self, hits: tuple[str, ...]) -> Decision:
        unknown = [rule_id for rule_id in hits if rule_id not in self._decisions]
        if unknown:
            raise FatalError(f"decide: {len(unknown)} hits name a rule that is not in the policy; build inspect and decide from the same policy")
        return resolve(self._decisions[rule_id] for rule_id in hits)

    def _alerts(self, hit: pl.DataFrame) -> pl.DataFrame:
        rows = hit.select("hits", "agent_id", "event_time", "event_uid", "policy_version").iter_rows()
        raised = [
            (alert_uid(event, rule), agent, at, self._alerting[rule].severity.value, rule, self._alerting[rule].description, event, version)
            for rules, agent, at, event, version in rows
            for rule in rules
            if rule in self._alerting
        ]
        return pl.DataFrame(raised, schema=ALERT, orient="row")
