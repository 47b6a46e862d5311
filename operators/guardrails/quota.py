"""Quota: what users, tools, agents and the whole fleet do over all partitions, held against a maximum.

A quota never judges an event, for which of two partitions' events came first is no fact of any log. It acts on the future: when the sum of a key and
window passes the maximum, one alert and one command go out. Sums of whole numbers that are not negative only grow, so whether a window breaches does
not depend on the order of its events; and what is told of a breach (quota, key, window, maximum) is the same whichever event tipped it over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from governance.limits import Measure, Quota, Scope
from governance.policy import Policy
from governance.verdict import Enforcement
from operators.audit import of_commands
from operators.contract import Order, Outcome, State, StateSpec
from operators.guardrails.control import CONTROL
from operators.guardrails.decide import ALERT
from operators.guardrails.limit import VALUE
from operators.guardrails.tallies import ENTRY, Ints, digest, free, keys_of, tally
from schemas.coordinates import alert_uid, breach_uid, control_uid
from schemas.events import SHARED

FLEET: Final = "fleet"
_NEVER: Final = -(2**63)
_COLUMN: Final = {Scope.AGENT: pl.col("agent_id"), Scope.USER: pl.col("user_id"), Scope.TOOL: pl.col("tool_name"), Scope.FLEET: pl.lit(FLEET)}
_SCOPES: Final = tuple(Scope)


class Spread:
    """Gives the rows of SHARED that a policy's quotas need of a batch of masked events: one for each scope that an event has a key of.

    Args:
        quotas: Of the policy.
    """

    def __init__(self, quotas: Sequence[Quota]) -> None:
        self._scopes = [scope for scope in Scope if any(quota.per is scope for quota in quotas)]

    def __call__(self, batch: pl.DataFrame) -> pl.DataFrame | None:
        """Maps one batch; None where no quota needs anything."""
        parts = [self._rows(batch, scope) for scope in self._scopes]
        return pl.concat(parts) if parts else None

    @staticmethod
    def _rows(batch: pl.DataFrame, scope: Scope) -> pl.DataFrame:
        made = {
            "event_uid": pl.lit(str(_SCOPES.index(scope))) + pl.col("event_uid").str.slice(1),
            "scope": pl.lit(scope.value),
            "scope_key": _COLUMN[scope],
            "failures": VALUE[Measure.FAILURES],
            "tokens": VALUE[Measure.TOKENS],
            "cost_nano_usd": VALUE[Measure.COST_NANO_USD],
            "execution_time_us": VALUE[Measure.EXECUTION_TIME_US],
        }
        return batch.filter(_COLUMN[scope].is_not_null()).select(made.get(name, pl.col(name)).alias(name) for name in SHARED)


class LimitQuota:
    """Tells once a key and window that a quota was passed.

    Lateness is decided by a row's own ``row_watermark``: a row whose window ended longer ago than the allowed lateness counts in none.

    Shapes: rows of SHARED; the same rows. Outputs ``alerts``, ``agent_control`` and ``audit_log``.
    Facts: ``("quota_breaches", quota id)`` counts breaches, shadowed ones too; ``("late_quota_rows", scope)`` counts late rows.

    Args:
        policy: Its quotas.
        lateness_ms: How long after its end a window takes in events.
    """

    name: Final = "limit_quota"
    order: Final = Order.COMMUTATIVE

    def __init__(self, policy: Policy, lateness_ms: int = 60_000) -> None:
        self._policy = policy
        self._quotas = [(quota, digest(quota.id)) for quota in policy.limits.quotas]
        self._lateness = lateness_ms

    @property
    def state_spec(self) -> StateSpec:
        """One entry a quota, key and window, 16 bytes."""
        return StateSpec(
            version=1,
            schema=ENTRY,
            bound="16 bytes x keys active in a window (agents, users, tools) x quotas, for windows not past their lateness at the slowest partition; "
            "at most twice that while runs wait to be merged",
        )

    def apply(self, state: State, batch: pl.DataFrame, watermark: int | None) -> tuple[State, Outcome]:
        """Adds the batch up, tells new breaches, frees windows past their lateness."""
        if not state and not self._quotas:
            return state, Outcome(batch)
        runs = dict(state)
        breaches: list[tuple[Quota, str, int]] = []
        facts: dict[tuple[str, str], int] = {}
        if batch.height:
            key = keys_of(batch, ("scope", "scope_key"))
            for quota, salt in self._quotas:
                value = _value(batch, quota)
                late = (batch["event_time"].to_numpy() // quota.window_ms + 1) * quota.window_ms + self._lateness <= _marks(batch)
                if (value[late] > 0).any():
                    facts["late_quota_rows", quota.per.value] = facts.get(("late_quota_rows", quota.per.value), 0) + int((value[late] > 0).sum())
                at = np.flatnonzero((value > 0) & ~late)
                breaches += self._passed(runs, batch[at], key[at] ^ salt, value[at], quota)
        free(runs, watermark, self._lateness)
        for quota, _, _ in breaches:
            facts["quota_breaches", quota.id] = facts.get(("quota_breaches", quota.id), 0) + 1
        return runs, Outcome(batch, outputs=self._told(breaches), facts=facts)

    @staticmethod
    def _passed(runs: dict[str, pl.DataFrame], rows: pl.DataFrame, key: Ints, value: Ints, quota: Quota) -> list[tuple[Quota, str, int]]:
        """Gives (quota, key, window start) of the windows that these rows tip over."""
        times = rows["event_time"].to_numpy()
        total = tally(runs, quota.window_ms, key, times, value)
        tipping = np.flatnonzero((total > quota.total_max) & (total - value <= quota.total_max))
        starts = times[tipping] // quota.window_ms * quota.window_ms
        return [(quota, name, start) for name, start in zip(rows["scope_key"].gather(tipping).to_list(), starts.tolist(), strict=True)]

    def _told(self, breaches: list[tuple[Quota, str, int]]) -> dict[str, pl.DataFrame]:
        """Gives alerts and commands of the breaches; nothing in them depends on which event tipped a window over."""
        alerts, commands = [], []
        version = self._policy.version
        for quota, key, start in breaches:
            if quota.enforcement is Enforcement.SHADOW:
                continue
            cause = breach_uid(quota.id, quota.per, key, quota.window_ms, start)
            alerts.append((alert_uid(cause, quota.id), key, start, quota.severity.value, quota.id, quota.description, None, version))
            if quota.control is not None and quota.enforcement is Enforcement.ENFORCE:
                until = None if quota.hold_ms is None else start + quota.window_ms + quota.hold_ms
                uid = control_uid(cause, quota.control)
                reasons = [quota.id]
                commands.append((uid, quota.per.value, key, quota.control.value, start, until, reasons, None, self._policy.id, version))
        told = pl.DataFrame(commands, schema=CONTROL, orient="row")
        return {"alerts": pl.DataFrame(alerts, schema=ALERT, orient="row"), "agent_control": told, **of_commands(told)}


def _value(batch: pl.DataFrame, quota: Quota) -> Ints:
    """Gives what each row adds to a quota."""
    measured = pl.lit(1, dtype=pl.Int64) if quota.measure is Measure.EVENTS else pl.col(quota.measure.value)
    counts = (pl.col("scope") == quota.per.value) & pl.col("kind").is_in(quota.kinds)
    return batch.select(pl.when(counts).then(measured).otherwise(0)).to_series().to_numpy()


def _marks(batch: pl.DataFrame) -> NDArray[np.int64]:
    return batch["row_watermark"].fill_null(_NEVER).to_numpy()
