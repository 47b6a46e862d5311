"""The operators, one row each: what the fleet's laws are held against and what the docs list. To add one, add a row.

The factories build with small settings, so that a test of a few rows crosses window borders and outlives every entry of state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import polars as pl

from governance.parse import default_policy
from operators.audit import Audit
from operators.contract import KeyedStep, Order, StateSpec, Step
from operators.decode import Decode
from operators.deduplicate import Deduplicate
from operators.enrich import Enrich
from operators.guardrails.decide import Decide
from operators.guardrails.inspect import Inspect
from operators.pii.step import Mask
from operators.windows.measure import Measure
from schemas.codec.decode import DecodeSettings
from schemas.events import DECIDED, EVENT, INSPECTED, MASKED, RAW, ROW_WATERMARK, SCORED
from schemas.limits import Limits

_MARKED: Final = pl.Schema({**EVENT, **ROW_WATERMARK})
_MASKED: Final = pl.Schema({**_MARKED, **MASKED})
_SCORED: Final = pl.Schema({**_MASKED, **SCORED})
_INSPECTED: Final = pl.Schema({**_SCORED, **INSPECTED})
_DECIDED: Final = pl.Schema({**_INSPECTED, **DECIDED})

_TEST_KEY: Final = b"a key for tests only, 32 bytes.."


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
    """

    name: str
    purpose: str
    takes: pl.Schema
    make: Callable[[], Step]
    order: Order | None = None
    horizon_ms: int = 0

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
    Operator("inspect", "Tells which rules an event hits.", _SCORED, lambda: Inspect(default_policy())),
    Operator(
        "deduplicate",
        "Lets the first record of each event pass.",
        _INSPECTED,
        lambda: Deduplicate(ttl_ms=30, bucket_ms=10),
        order=Order.LOG_ORDERED,
        horizon_ms=40,
    ),
    Operator("decide", "Turns hits into a verdict and an action.", _INSPECTED, lambda: Decide(default_policy())),
    Operator(
        "measure",
        "Counts events into windows and emits them as they close and change.",
        _DECIDED,
        lambda: Measure(window_ms=10, lateness_ms=20),
        order=Order.COMMUTATIVE,
        horizon_ms=30,
    ),
    Operator("audit", "Writes down every verdict that is not a plain allow.", _DECIDED, Audit),
    Operator("enrich", "Applies the action and puts every event out.", _DECIDED, Enrich),
)
