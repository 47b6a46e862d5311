"""State packs: the touched buckets of a lane's state, one file a snapshot.

Bytewax writes the whole state of a key again whenever the key was awake in an epoch; 200 MiB of it stalls the flow. So the engine's
snapshot holds only a manifest: which bucket lies where in which pack. A pack is written once, before the snapshot that refers to it, and holds only
the buckets that were touched since the one before. Packs that no snapshot within reach refers to are deleted.

Bytewax takes in the records of an epoch only when the epoch before is committed (``tests/integration/bytewax/test_claims.py``), so a crash resumes
at the last snapshot of a lane or the one before; the packs of the last three are kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Final

import polars as pl

from operators.contract import EMPTY_STATE, KeyedStep, State
from operators.state_bytes import from_bytes, to_bytes
from schemas.errors import FatalError
from streams.recovery import make_durable_directory, write_durably

_SNAPSHOTS_KEPT: Final = 3


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the bytes of one bucket lie."""

    pack: str
    start: int
    size: int
    digest: str


@dataclass(slots=True)
class _Step:
    """What the last snapshot held of one step."""

    state: State = field(default_factory=lambda: EMPTY_STATE)
    places: dict[str, _Place] = field(default_factory=dict)


class LanePacks:
    """Writes and reads the state of one lane's keyed steps.

    Args:
        path: Directory of this lane's packs; no other lane writes there.
        steps: The keyed steps of the lane by name.
        manifest: What ``save`` gave last, or None for a fresh lane.

    Raises:
        ConfigError: A bucket has another state version than its step.
        FatalError: A pack is missing or damaged.
    """

    def __init__(self, path: Path, steps: Mapping[str, KeyedStep], manifest: bytes | None) -> None:
        self._path = path
        self._steps = steps
        self._saved: dict[str, _Step] = {name: _Step() for name in steps}
        self._number = 0
        make_durable_directory(path)
        if manifest is not None:
            self._load(json.loads(manifest))
        self._kept = [self._packs_in_use()]
        self._delete_unused()

    def states(self) -> dict[str, State]:
        """Gives the state of each step as last saved."""
        return {name: saved.state for name, saved in self._saved.items()}

    def save(self, states: Mapping[str, State]) -> bytes:
        """Writes what was touched since the last call, durably, and gives the manifest for the engine's snapshot."""
        self._number += 1
        name = f"{self._number:012d}.pack"
        chunks: list[bytes] = []
        at = 0
        for step_name, state in states.items():
            saved, spec = self._saved[step_name], self._steps[step_name].state_spec
            places: dict[str, _Place] = {}
            for bucket, frame in state.items():
                if saved.state.get(bucket) is frame:
                    places[bucket] = saved.places[bucket]
                    continue
                data = to_bytes(frame, spec.version)
                places[bucket] = _Place(name, at, len(data), blake2b(data, digest_size=16).hexdigest())
                chunks.append(data)
                at += len(data)
            self._saved[step_name] = _Step(state, places)
        if chunks:
            write_durably(self._path / name, b"".join(chunks))
        self._kept = [*self._kept, self._packs_in_use()][-_SNAPSHOTS_KEPT:]
        self._delete_unused()
        return self._manifest()

    def _manifest(self) -> bytes:
        steps = {
            name: {bucket: [place.pack, place.start, place.size, place.digest] for bucket, place in saved.places.items()}
            for name, saved in self._saved.items()
        }
        return json.dumps({"number": self._number, "steps": steps}, separators=(",", ":")).encode()

    def _load(self, manifest: Mapping[str, object]) -> None:
        number, steps = manifest["number"], manifest["steps"]
        assert isinstance(number, int)
        assert isinstance(steps, dict)
        self._number = number
        packs: dict[str, bytes] = {}
        for name, buckets in steps.items():
            places = {bucket: _Place(*place) for bucket, place in buckets.items()}
            state = {bucket: self._read(packs, name, bucket, place) for bucket, place in places.items()}
            self._saved[name] = _Step(state, places)

    def _read(self, packs: dict[str, bytes], step: str, bucket: str, place: _Place) -> pl.DataFrame:
        path = self._path / place.pack
        if place.pack not in packs:
            try:
                packs[place.pack] = path.read_bytes()
            except FileNotFoundError as error:
                raise FatalError(f"{path}: a state pack that the snapshot refers to is gone; restore the recovery directory from a backup") from error
        data = packs[place.pack][place.start : place.start + place.size]
        if blake2b(data, digest_size=16).hexdigest() != place.digest:
            raise FatalError(f"{path}: bucket {bucket} of step {step} is damaged (digest differs); restore the recovery directory from a backup")
        return from_bytes(data, self._steps[step].state_spec)

    def _packs_in_use(self) -> frozenset[str]:
        return frozenset(place.pack for saved in self._saved.values() for place in saved.places.values())

    def _delete_unused(self) -> None:
        wanted = frozenset().union(*self._kept)
        for path in self._path.iterdir():
            if path.name not in wanted:
                path.unlink()
