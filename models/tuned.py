"""What training gives and the build merges in: low-rank deltas and a head in one safetensors file, written and read here alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from models.digest import sha256
from models.safetensor_files import read_arrays
from schemas.errors import ConfigError

#: Where the fine-tuned deltas and heads are committed.
WEIGHTS: Final = Path(__file__).parent / "weights"
#: Linears of a layer that have a delta.
LINEARS: Final = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
)
_A, _B = ".lora_a", ".lora_b"
_HEAD: Final = ("head.weight", "head.bias")
_FACTS: Final = ("labels", "lora_alpha", "lora_rank", "thresholds")

Arrays = dict[str, NDArray[np.float32]]


def lora_a(key: str) -> str:
    """Names the factor float[rank, in] of the delta of a weight of the base encoder."""
    return key + _A


def lora_b(key: str) -> str:
    """Names the factor float[out, rank]."""
    return key + _B


@dataclass(frozen=True, slots=True)
class Tuned:
    """Changes of the encoder, and a head.

    Attributes:
        arrays: Factors by :func:`lora_a` and :func:`lora_b`, ``head.weight`` float32[labels, 384] and ``head.bias`` float32[labels].
        labels: What the rows of the head stand for.
        rank: Of the deltas.
        alpha: The delta of a weight is alpha / rank x B x A.
        thresholds: From which score on a label or entity counts, set on validation sources.
        notes: How it was trained, by name.
        file: Name and hash of the file that it was read from; empty where it was not.
    """

    arrays: Arrays
    labels: tuple[str, ...]
    rank: int
    alpha: float
    thresholds: Mapping[str, float]
    notes: Mapping[str, str]
    file: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def scale(self) -> float:
        """alpha over rank."""
        return self.alpha / self.rank

    @property
    def head(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """float32[labels, 384] and float32[labels]."""
        return self.arrays[_HEAD[0]], self.arrays[_HEAD[1]]

    @property
    def provenance(self) -> dict[str, str]:
        """File and hash, and what training wrote beside the weights, for the manifest."""
        notes = {**self.notes, "lora_alpha": f"{self.alpha:g}", "lora_rank": str(self.rank)}
        return {**self.file, **{key: notes[key] for key in sorted(notes)}}

    def merged(self, base: Mapping[str, NDArray[np.float32]]) -> Arrays:
        """Gives the base with the deltas added: W + alpha / rank x B x A.

        Raises:
            ConfigError: A delta names no weight of the base, or has another shape.
        """
        deltas = {
            key.removesuffix(_A): np.float32(self.scale) * (self.arrays[key.removesuffix(_A) + _B] @ self.arrays[key])
            for key in sorted(self.arrays)
            if key.endswith(_A)
        }
        problems = [
            f"{self.file.get('file', 'weights')}: a delta of {list(delta.shape)} for {key}, "
            f"the base has {list(base[key].shape) if key in base else 'none'}"
            for key, delta in deltas.items()
            if key not in base or base[key].shape != delta.shape
        ]
        if problems:
            raise ConfigError(*problems)
        return {**base, **{key: base[key] + delta for key, delta in deltas.items()}}


def save_tuned(tuned: Tuned, path: Path) -> None:
    """Writes them as float16: half the size, and what it costs is far below what the INT8 encoder costs."""
    arrays = {key: np.ascontiguousarray(value, np.float16) for key, value in sorted(tuned.arrays.items())}
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {
        **tuned.notes,
        "lora_alpha": f"{tuned.alpha:g}",
        "lora_rank": str(tuned.rank),
        "labels": ",".join(tuned.labels),
        "thresholds": json.dumps(dict(tuned.thresholds), sort_keys=True),
    }
    save_file(arrays, path, metadata=metadata)
    path.chmod(0o644)


def load_tuned(path: Path, labels: tuple[str, ...]) -> Tuned:
    """Reads what :func:`save_tuned` wrote.

    Args:
        path: The file.
        labels: What the head must give, in this order.

    Raises:
        ConfigError: The file is missing, cannot be read, or does not fit; every problem is told.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; weights of this model are required; `headrace models train {path.stem}` makes them")
    arrays, metadata = read_arrays(path)
    problems = _problems(path, arrays, metadata, labels)
    if problems:
        raise ConfigError(*problems)
    thresholds = {str(label): float(value) for label, value in json.loads(metadata.get("thresholds", "{}")).items()}
    notes = {key: metadata[key] for key in sorted(metadata) if key not in _FACTS}
    rank, alpha = int(metadata["lora_rank"]), float(metadata["lora_alpha"])
    return Tuned(arrays, labels, rank, alpha, thresholds, notes, {"file": path.name, "sha256": sha256(path)})


def _problems(path: Path, arrays: Arrays, metadata: Mapping[str, str], labels: tuple[str, ...]) -> list[str]:
    problems = [f"{path}: {key} is missing" for key in _HEAD if key not in arrays]
    problems += [
        f"{path}: {key} has no partner"
        for key in sorted(arrays)
        for one, two in ((_A, _B), (_B, _A))
        if key.endswith(one) and key.removesuffix(one) + two not in arrays
    ]
    if metadata.get("labels", "").split(",") != list(labels):
        problems.append(f"{path}: its labels must be {','.join(labels)}, they are {metadata.get('labels') or 'not stated'}")
    if not problems and arrays[_HEAD[0]].shape[0] != len(labels):
        problems.append(f"{path}: head.weight has {arrays[_HEAD[0]].shape[0]} rows, required are {len(labels)}")
    if not {"lora_alpha", "lora_rank"} <= metadata.keys():
        problems.append(f"{path}: its metadata does not state lora_alpha and lora_rank")
    if not all(np.isfinite(array).all() for array in arrays.values()):
        problems.append(f"{path}: it holds numbers that are not finite")
    return problems
