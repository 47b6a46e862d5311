"""A topology is a value: which topics come in, which steps run before and after the exchange, which topics go out.

    inputs -> front steps (beside the source) -> exchange by key -> keyed steps (on a lane) -> outputs
                                              -> exchange of narrow rows by another key -> shared steps (on a lane) -> outputs

Engines read this value and know no operator by name. Steps that share a key share the exchange.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from governance.policy import Policy
from operators.contract import BatchStep, KeyedStep, Step
from schemas.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Shared:
    """A second exchange, for what is counted across the keys of the first: its rows travel in the same lane batches.

    Attributes:
        spread: Gives the rows to exchange of a batch that the front steps made, each with its own key; None where there is nothing to count.
        key: Column by which those rows are exchanged.
        schema: Of those rows.
        steps: Run on a lane, in order. Rows end with them: they put out records, and their dead rows have a dead letter of the first exchange.
    """

    spread: Callable[[pl.DataFrame], pl.DataFrame | None]
    key: str
    schema: pl.Schema
    steps: tuple[KeyedStep, ...]


@dataclass(frozen=True, slots=True)
class Topology:
    """One pipeline.

    Attributes:
        name: Names the pipeline: prefix of transactional ids and snapshots.
        inputs: Input topics.
        front: Stateless steps from raw records to masked events, run beside the source; the last one's rows are exchanged.
        key: Column by which rows are exchanged.
        lanes: Number of lanes of the exchange and of each sink; fixed for the life of the pipeline's state.
        shards: Number of partitions of each output topic; a key's lane is its shard modulo the lanes, so each lane owns whole partitions.
        window_ms: Length of a metric window; how far an idle stream is closed past its newest event.
        keyed: Steps run on a lane, in order; batch steps may stand among them.
        outputs: Output topics.
        policy: Policy in force; None where nothing judges. A start writes it down in the audit log.
        shared: What is counted across keys; None counts nothing so.
    """

    name: str
    inputs: tuple[str, ...]
    front: tuple[BatchStep, ...]
    key: str
    lanes: int
    shards: int
    window_ms: int
    keyed: tuple[Step, ...]
    outputs: tuple[str, ...]
    policy: Policy | None = None
    shared: Shared | None = None

    def __post_init__(self) -> None:
        names = [step.name for step in (*self.front, *self.keyed, *self.shared_steps)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(f"topology {self.name}: step names must be unique, came twice: {', '.join(twice)}; rename one")
        if self.lanes < 1:
            raise ConfigError(f"topology {self.name}: lanes must be at least 1, came {self.lanes}")
        if self.shards < self.lanes:
            raise ConfigError(
                f"topology {self.name}: {self.shards} output partitions cannot feed {self.lanes} lanes; raise kafka.output_partitions or lower lanes"
            )

    @property
    def shared_steps(self) -> tuple[KeyedStep, ...]:
        """The steps behind the second exchange, in order."""
        return () if self.shared is None else self.shared.steps

    @property
    def keyed_steps(self) -> tuple[KeyedStep, ...]:
        """The steps that hold state, in order."""
        return (*(step for step in self.keyed if isinstance(step, KeyedStep)), *self.shared_steps)
