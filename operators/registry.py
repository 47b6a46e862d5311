"""The operators, one row each: what the fleet's laws are held against and what the docs list. To add one, add a row.

The factories build with small settings, so that a test of a few rows crosses window borders and outlives every entry of state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import polars as pl

from governance.limits import Budget, Command, Concurrency, Depth, LimitsPolicy, Measure, Per, Quota, Scope
from governance.parse import default_policy
from governance.rules import KINDS
from governance.verdict import Action, Enforcement, Severity, Verdict
from operators.audit import Audit
from operators.contract import KeyedStep, Order, StateSpec, Step
from operators.decode import Decode
from operators.deduplicate import Deduplicate
from operators.enrich import Enrich
from operators.erase import Erase
from operators.guardrails.concurrency import LimitConcurrency
from operators.guardrails.control import Control
from operators.guardrails.decide import Decide
from operators.guardrails.depth import LimitDepth
from operators.guardrails.hold import Hold
from operators.guardrails.inspect import Inspect
from operators.guardrails.limit import Limit
from operators.guardrails.quota import LimitQuota
from operators.pii.step import Mask
from operators.tally import TallyMasks
from operators.windows.measure import Measure as MeasureStep
from schemas.codec.decode import DecodeSettings
from schemas.events import DECIDED, EVENT, INSPECTED, MASKED, RAW, ROW_WATERMARK, SCORED, SHARED
from schemas.limits import Limits

_MARKED: Final = pl.Schema({**EVENT, **ROW_WATERMARK})
_MASKED: Final = pl.Schema({**_MARKED, **MASKED})
_SCORED: Final = pl.Schema({**_MASKED, **SCORED})
_INSPECTED: Final = pl.Schema({**_SCORED, **INSPECTED})
_DECIDED: Final = pl.Schema({**_INSPECTED, **DECIDED})

_TEST_KEY: Final = b"a key for tests only, 32 bytes.."


_COUNTED: Final = ("counts", Verdict.DENY, Action.THROTTLE, Enforcement.ENFORCE, Severity.WARNING, KINDS)
_WARNED: Final = ("counts", Enforcement.ENFORCE, Severity.WARNING, KINDS)
#: The default policy with limits that a few events pass.
SMALL: Final = replace(
    default_policy(),
    limits=LimitsPolicy(
        agents=(
            Budget("limit.events", *_COUNTED, Per.AGENT, Measure.EVENTS, 10, 2),
            Budget("limit.cost", *_COUNTED, Per.SESSION, Measure.COST_NANO_USD, 20, 10),
            Budget("limit.loop", *_COUNTED, Per.CALL, Measure.EVENTS, 20, 1),
            Concurrency("limit.open", *_COUNTED, 1, ("agent.failed",), 20),
            Depth("limit.depth", *_COUNTED, 1, 10),
        ),
        quotas=(
            Quota("quota.events", *_WARNED, Scope.USER, Measure.EVENTS, 10, 2, Command.PAUSE, 5),
            Quota("quota.cost", *_WARNED, Scope.USER, Measure.COST_NANO_USD, 5, 10, None, None),
        ),
        throttle_ms=10,
        pause_ms=20,
    ),
)


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator.

    Attributes:
        name: Name of the step.
        purpose: What it is for, in a line.
        takes: Schema of the frames it is handed.
        make: Gives a new step with small settings, whose answers equal those of every other one it gives.
        order: What its final values may depend on; None for a batch step, whose rows depend on nothing else.
        horizon_ms: With these settings, how long after the newest event time the step holds state; 0 where it holds none.
        entries_max: With these settings, how many entries of state an event can make.
    """

    name: str
    purpose: str
    takes: pl.Schema
    make: Callable[[], Step]
    order: Order | None = None
    horizon_ms: int = 0
    entries_max: int = 1

    @property
    def state(self) -> StateSpec | None:
        """How its state looks and how big it gets; None for a batch step."""
        if self.order is None:
            return None
        step = self.make()
        assert isinstance(step, KeyedStep), f"{self.name} declares an order and has no state"
        return step.state_spec


#: In the order in which the default pipeline runs them.
OPERATORS: Final = (
    Operator("decode", "Reads raw records into events.", RAW, lambda: Decode(DecodeSettings(Limits(record_bytes_max=400), _TEST_KEY))),
    Operator("mask", "Takes personal data out of every string of an event.", _MARKED, lambda: Mask(default_policy(), _TEST_KEY)),
    Operator("erase", "Leaves out events of persons who were erased.", _MASKED, lambda: Erase({"u_erased", "user-0"})),
    Operator("inspect", "Tells which rules an event hits.", _SCORED, lambda: Inspect(default_policy())),
    Operator(
        "deduplicate",
        "Lets the first record of each event pass.",
        _INSPECTED,
        lambda: Deduplicate(ttl_ms=30, bucket_ms=10),
        order=Order.LOG_ORDERED,
        horizon_ms=40,
    ),
    Operator(
        "limit",
        "Tells which budgets of its agent an event overdraws.",
        _INSPECTED,
        lambda: Limit(SMALL.limits),
        order=Order.LOG_ORDERED,
        horizon_ms=20,
        entries_max=3,
    ),
    Operator(
        "limit_concurrency",
        "Tells which events happen while too many executions of their agent are open.",
        _INSPECTED,
        lambda: LimitConcurrency(SMALL.limits),
        order=Order.LOG_ORDERED,
        horizon_ms=20,
    ),
    Operator(
        "limit_depth",
        "Tells which events have too long a chain of causes.",
        _INSPECTED,
        lambda: LimitDepth(SMALL.limits),
        order=Order.LOG_ORDERED,
        horizon_ms=20,
        entries_max=4,
    ),
    Operator("decide", "Turns hits into a verdict and an action.", _INSPECTED, lambda: Decide(default_policy())),
    Operator(
        "control",
        "Turns decisions about an agent's future into commands to it.",
        _DECIDED,
        lambda: Control(SMALL),
        order=Order.LOG_ORDERED,
        horizon_ms=20,
    ),
    Operator(
        "measure",
        "Counts events into windows and emits them as they close and change.",
        _DECIDED,
        lambda: MeasureStep(window_ms=10, lateness_ms=20),
        order=Order.COMMUTATIVE,
        horizon_ms=30,
    ),
    Operator("audit", "Writes down every verdict that is not a plain allow.", _DECIDED, Audit),
    Operator("hold", "Opens a review for each event that waits for a person.", _DECIDED, lambda: Hold(SMALL)),
    Operator(
        "tally",
        "Counts what was masked for the audit log.",
        _DECIDED,
        lambda: TallyMasks(window_ms=10, lateness_ms=20),
        order=Order.COMMUTATIVE,
        horizon_ms=30,
    ),
    Operator("enrich", "Applies the action and puts every event out.", _DECIDED, Enrich),
    Operator(
        "limit_quota",
        "Tells once a key and window that a quota was passed.",
        SHARED,
        lambda: LimitQuota(SMALL, lateness_ms=20),
        order=Order.COMMUTATIVE,
        horizon_ms=30,
        entries_max=2,
    ),
)
