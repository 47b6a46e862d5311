"""A topology is a value: which topics come in, which steps run before and after the exchange, which topics go out.

    inputs -> front steps (beside the source) -> exchange by key -> keyed steps (on a lane) -> outputs

Engines read this value and know no operator by name. Steps that share a key share the exchange.
"""

from __future__ import annotations

from dataclasses import dataclass

from governance.policy import Policy
from operators.contract import BatchStep, KeyedStep, Step
from schemas.errors import ConfigError


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

    def __post_init__(self) -> None:
        names = [step.name for step in (*self.front, *self.keyed)]
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
    def keyed_steps(self) -> tuple[KeyedStep, ...]:
        """The keyed steps that hold state, in order."""
        return tuple(step for step in self.keyed if isinstance(step, KeyedStep))
