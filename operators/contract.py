"""What an operator is: a pure function over frames.

``BatchStep``: ``frame -> Outcome``. Stateless: runs before the exchange, beside the source, or inside a keyed stage.
``KeyedStep``: ``(state, frame, watermark) -> (state, Outcome)``. State is a mapping of small frames, one a time bucket.

Neither reads a clock, draws a random number, does I/O, logs or looks at the environment; the shell does, and hands in what they need as
columns or arguments. From purity follow the laws that ``tests/property/test_laws.py`` holds for every registered step: split invariance, crash
anywhere, conservation, once, bounded state, and the order each keyed step declares.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Protocol, runtime_checkable

import polars as pl

from schemas.events import DEAD

#: State of one keyed step on one lane: frames by bucket id. A step never changes a frame in place: a bucket whose frame object is the
#: same after a batch was not touched, and is not written again by the snapshot. Dropping a key frees it.
State = Mapping[str, pl.DataFrame]

EMPTY_STATE: Final[State] = MappingProxyType({})
NO_DEAD: Final = DEAD.to_frame()


class Order(StrEnum):
    """What a keyed step's final values may depend on. There is no third kind."""

    COMMUTATIVE = "commutative"  # any interleaving of partitions gives the same final values
    LOG_ORDERED = "log_ordered"  # only the order within one partition of one topic matters


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step made of a batch.

    Attributes:
        batch: Rows that go on to the next step.
        outputs: Records to publish, by output topic; columns are the fields of the topic's schema.
        dead: Rows that do not go on (schema ``schemas.events.DEAD``): disposition ``dead`` or ``filtered``, each with a code.
        facts: Counts for telemetry, by (fact name, label), e.g. ``("masked_entities", "EMAIL_ADDRESS"): 3``. Labels come from bounded sets.

    Conservation: rows in = rows of ``batch`` + rows of ``dead``, counted by coordinates.
    """

    batch: pl.DataFrame
    outputs: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    dead: pl.DataFrame = field(default_factory=lambda: NO_DEAD)
    facts: Mapping[tuple[str, str], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StateSpec:
    """How a keyed step's state looks and how big it gets.

    Attributes:
        version: Raised when a bucket's frame changes meaning or schema; a snapshot of another version is a ConfigError at start.
        schema: Schema of every bucket's frame.
        bound: The stated bound, as a sentence: bytes per entry x rate x time to live.
    """

    version: int
    schema: pl.Schema
    bound: str


@runtime_checkable
class BatchStep(Protocol):
    """A stateless step."""

    @property
    def name(self) -> str:
        """Short name, unique in a topology; the ``step`` of its dead letters and the label of its timings."""
        ...

    def __call__(self, batch: pl.DataFrame) -> Outcome:
        """Maps one batch; rows are independent of one another."""
        ...


@runtime_checkable
class KeyedStep(Protocol):
    """A step with state, run on a lane that sees every row of its keys."""

    @property
    def name(self) -> str:
        """Short name, unique in a topology."""
        ...

    @property
    def order(self) -> Order:
        """What its final values may depend on."""
        ...

    @property
    def state_spec(self) -> StateSpec:
        """Schema, version and bound of its state."""
        ...

    def apply(self, state: State, batch: pl.DataFrame, watermark: int | None) -> tuple[State, Outcome]:
        """Folds a batch into the state.

        Args:
            state: State as this step last returned it, or EMPTY_STATE.
            batch: Rows of this lane in an order that keeps each partition's order; may be empty, when only the watermark moved.
                Each row has ``row_watermark``: its own partition's watermark before it (null before the first event), which alone decides lateness.
            watermark: Merged watermark of the lane in ms (minimum over partitions), None while some partition has none. It never goes back. It
                triggers emission and frees state, and decides nothing else.

        Returns:
            The new state (untouched buckets keep their frame objects) and the outcome.
        """
        ...


Step = BatchStep | KeyedStep


def dead_rows(rows: pl.DataFrame, *, step: str, disposition: str, code: str | pl.Expr, reason: str | pl.Expr) -> pl.DataFrame:
    """Gives the dead frame for event or raw rows; columns that the rows lack become null."""
    wanted = [
        pl.lit(step).alias("step"),
        pl.lit(disposition).alias("disposition"),
        (pl.lit(code) if isinstance(code, str) else code).alias("code"),
        (pl.lit(reason) if isinstance(reason, str) else reason).alias("reason"),
    ]
    have = rows.with_columns(wanted)
    return have.select(pl.col(name) if name in have.columns else pl.lit(None, dtype=dtype).alias(name) for name, dtype in DEAD.items()).cast(DEAD)
