"""What a Flink worker builds its part of the pipeline from. It travels with the job, so it holds no secret: each worker finds the keys itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from governance.audit_chain import Link
from governance.parse import parse_policy
from schemas.errors import ConfigError
from schemas.registry import SchemaRegistry
from streams.batch import Partition
from streams.config import Config, load_config, load_hash_key
from streams.pipeline import build_topology
from streams.registry import open_registry
from streams.topology import Topology
from streams.vault import keys_in_use

#: Sections, and their keys that are secrets or belong to the machine that submits.
_SHIPPED: Final[Mapping[str, frozenset[str]]] = {
    "pipeline": frozenset({"policy", "workers"}),
    "kafka": frozenset({"security"}),
    "source": frozenset(),
    "registry": frozenset({"basic_auth"}),
    "limits": frozenset(),
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """What every worker of a job is told.

    Attributes:
        settings: Dotted configuration keys with their values, secrets left out.
        policy_text: The policy in force.
        erased: Hashes of erased persons.
        starts: Every input partition with the first offset that the job reads of it where no state says otherwise.
        keys: What names the keys that values are hashed with (``streams.vault.keys_in_use``): a worker with another key must not run.
        config_path: The configuration file, where workers run on the machine that submits.
        heads: Last link of each chained output partition as an earlier pipeline left it.
    """

    settings: tuple[tuple[str, Any], ...]
    policy_text: str
    erased: frozenset[str]
    starts: tuple[tuple[Partition, int], ...]
    keys: str
    config_path: str | None = None
    heads: tuple[tuple[tuple[str, int], Link], ...] = ()

    @property
    def partitions(self) -> list[Partition]:
        """Every input partition, sorted."""
        return sorted(partition for partition, _ in self.starts)


@dataclass(frozen=True, slots=True)
class Worker:
    """What the stages of one worker process share.

    Attributes:
        config: The configuration as this process sees it.
        topology: The pipeline.
        registry: Where output schemas have their ids.
        front_lock: Front steps hold scratch memory, so one thread at a time runs them.
    """

    config: Config
    topology: Topology
    registry: SchemaRegistry
    front_lock: threading.Lock


def settings_of(config: Config) -> tuple[tuple[str, Any], ...]:
    """Gives the configuration as dotted keys, without secrets."""
    told = config.model_dump(mode="json", exclude_unset=False)
    sections = {name: {key: value for key, value in told[name].items() if key not in left_out} for name, left_out in _SHIPPED.items()}
    return tuple(_dotted((), sections))


def _dotted(at: tuple[str, ...], node: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _dotted((*at, key), value)
        elif value is not None:
            yield ".".join((*at, key)), tuple(value) if isinstance(value, list) else value


_making = threading.Lock()


def worker_of(recipe: Recipe) -> Worker:
    """Gives what the stages of this process share, built once a process and recipe.

    Raises:
        ConfigError: This machine's configuration is wrong, or it has another key than the machine that submitted the job.
    """
    with _making:
        return _worker(recipe)


@cache
def _worker(recipe: Recipe) -> Worker:
    config = load_config(None if recipe.config_path is None else Path(recipe.config_path), overrides=dict(recipe.settings))
    if keys_in_use(config) != recipe.keys:
        raise ConfigError(
            "privacy: this TaskManager hashes with another key than the command that submitted the job; set the same HEADRACE_PRIVACY__HASH_KEY "
            "(or the same key ring) for both"
        )
    policy, registry = parse_policy(recipe.policy_text), open_registry(config)
    topology = build_topology(config, policy, load_hash_key(config), registry, erased=recipe.erased)
    return Worker(config, topology, registry, threading.Lock())


def starts_of(offsets: Mapping[Partition, int]) -> tuple[tuple[Partition, int], ...]:
    """Gives offsets by partition in the form of a recipe."""
    return tuple(sorted(offsets.items()))
