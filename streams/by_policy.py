"""Steps on a lane that judge each row by the policy that is stamped on it.

State is shared by all policies: a limit that two of them have goes on counting, one that the new one lacks is freed with its windows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

import polars as pl

from operators.contract import NO_DEAD, BatchStep, KeyedStep, Order, Outcome, State, StateSpec, Step

#: Column with the digest of the policy that judges the row; made behind the front, gone with the rows.
STAMP: Final = "policy_digest"

#: Gives the step that a policy (by digest) made; None for the one that judges new rows.
StepOf = Callable[[str | None], Step]


class BatchByPolicy:
    """A step without state, a version of it a policy.

    Args:
        name: Of the step.
        step_of: Its versions.
    """

    def __init__(self, name: str, step_of: StepOf) -> None:
        self.name = name
        self._step_of = step_of

    def __call__(self, batch: pl.DataFrame) -> Outcome:
        """Maps one batch, each run of rows by its own policy."""
        return joined([_batch_step(self._step_of(digest))(rows) for digest, rows in runs(batch)])


class KeyedByPolicy:
    """A step with state, a version of it a policy.

    Args:
        name: Of the step.
        step_of: Its versions; all hold state of the same schema.
    """

    def __init__(self, name: str, step_of: StepOf) -> None:
        self.name = name
        self._step_of = step_of

    @property
    def order(self) -> Order:
        """What its final values may depend on."""
        return _keyed_step(self._step_of(None)).order

    @property
    def state_spec(self) -> StateSpec:
        """Schema, version and bound of its state."""
        return _keyed_step(self._step_of(None)).state_spec

    def apply(self, state: State, batch: pl.DataFrame, watermark: int | None) -> tuple[State, Outcome]:
        """Folds a batch into the state, each run of rows by its own policy, in their order.

        The watermark stands behind the whole batch: told before the last run it would free state that later runs count in.
        """
        outcomes = []
        parts = list(runs(batch))
        for number, (digest, rows) in enumerate(parts, 1):
            state, outcome = _keyed_step(self._step_of(digest)).apply(state, rows, watermark if number == len(parts) else None)
            outcomes.append(outcome)
        return state, joined(outcomes)


def by_policy(step: Step, step_of: StepOf) -> Step:
    """Gives the step that stands in a topology for all versions of one."""
    return KeyedByPolicy(step.name, step_of) if isinstance(step, KeyedStep) else BatchByPolicy(step.name, step_of)


def runs(batch: pl.DataFrame) -> Iterator[tuple[str | None, pl.DataFrame]]:
    """Gives the longest runs of rows with the same stamp, in order; for an empty batch itself, under no policy."""
    stamps = batch.get_column(STAMP)
    if not len(stamps):
        yield None, batch
    elif stamps.n_unique() == 1:  # nearly always
        yield stamps[0], batch
    else:
        ends = [*(stamps.rle_id().diff() > 0).fill_null(False).arg_true().to_list(), len(stamps)]
        start = 0
        for end in ends:
            yield stamps[start], batch.slice(start, end - start)
            start = end


def joined(outcomes: list[Outcome]) -> Outcome:
    """Gives what several runs of one batch gave, as one outcome."""
    if len(outcomes) == 1:
        return outcomes[0]
    outputs: dict[str, list[pl.DataFrame]] = {}
    facts = Counter[tuple[str, str]]()
    for outcome in outcomes:
        facts.update(outcome.facts)
        for topic, frame in outcome.outputs.items():
            outputs.setdefault(topic, []).append(frame)
    dead = [outcome.dead for outcome in outcomes if outcome.dead.height]
    return Outcome(
        pl.concat([outcome.batch for outcome in outcomes]),
        outputs={topic: pl.concat(frames) for topic, frames in outputs.items()},
        dead=pl.concat(dead) if dead else NO_DEAD,
        facts=facts,
    )


def _batch_step(step: Step) -> BatchStep:
    assert not isinstance(step, KeyedStep), f"step {step.name} has a state under one policy and none under another"
    return step


def _keyed_step(step: Step) -> KeyedStep:
    assert isinstance(step, KeyedStep), f"step {step.name} has a state under one policy and none under another"
    return step
