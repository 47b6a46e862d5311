"""State of keyed steps as entries of a map that an engine keeps: one entry a bucket, its value the bucket's Arrow bytes.

An engine that writes its map back at its own time asks for the bytes then: a bucket that a hundred batches touched meanwhile is encoded once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import polars as pl

from operators.contract import EMPTY_STATE, KeyedStep, State
from operators.state_bytes import from_bytes, to_bytes
from schemas.errors import ConfigError

_BETWEEN = "/"


class Bucket:
    """One bucket's frame; pickled as its bytes.

    Args:
        frame: The frame.
        version: Version of the step's state.
    """

    def __init__(self, frame: pl.DataFrame, version: int) -> None:
        self.frame = frame
        self.version = version

    def __reduce__(self) -> tuple[type[Sealed], tuple[bytes]]:
        return Sealed, (to_bytes(self.frame, self.version),)


class Sealed:
    """A bucket as it comes back from the engine: bytes that only their step can read."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __reduce__(self) -> tuple[type[Sealed], tuple[bytes]]:
        return Sealed, (self.data,)


class StateEntries:
    """The state of a lane's steps beside what the engine's map holds of it.

    Args:
        steps: The keyed steps of the lane.
        entries: What the engine's map holds.

    Raises:
        ConfigError: An entry has another state version than its step, or no step of this pipeline reads it.
    """

    def __init__(self, steps: Iterable[KeyedStep], entries: Iterable[tuple[str, Bucket | Sealed]]) -> None:
        self._steps = {step.name: step for step in steps}
        self.states: dict[str, State] = dict.fromkeys(self._steps, EMPTY_STATE)
        found: dict[str, dict[str, pl.DataFrame]] = {}
        for name, entry in entries:
            step, _, bucket = name.partition(_BETWEEN)
            if step not in self._steps:
                raise ConfigError(f"snapshot state: holds a bucket of step {step}, which this pipeline does not have; run the release that wrote it")
            spec = self._steps[step].state_spec
            frame = entry.frame if isinstance(entry, Bucket) else from_bytes(entry.data, spec)
            found.setdefault(step, {})[bucket] = frame
        self.states |= found

    def changes(self, states: Mapping[str, State]) -> tuple[dict[str, Bucket], list[str]]:
        """Gives the entries to put and the names of those to remove since the last call."""
        puts: dict[str, Bucket] = {}
        removed: list[str] = []
        for step, state in states.items():
            before, version = self.states[step], self._steps[step].state_spec.version
            if state is before:
                continue
            puts |= {f"{step}{_BETWEEN}{bucket}": Bucket(frame, version) for bucket, frame in state.items() if before.get(bucket) is not frame}
            removed += [f"{step}{_BETWEEN}{bucket}" for bucket in before if bucket not in state]
            self.states[step] = state
        return puts, removed
