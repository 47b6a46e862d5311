"""The committed weights: low-rank deltas and a head in one safetensors file, and how they change the base encoder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

#: Linears of a layer that have a delta.
LINEARS: Final = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
)

Arrays = dict[str, NDArray[np.float32]]


def lora_a(key: str) -> str:
    """Names the factor float[rank, in] of the delta of a weight of the base encoder."""
    return key + ".lora_a"


def lora_b(key: str) -> str:
    """Names the factor float[out, rank]."""
    return key + ".lora_b"


@dataclass(frozen=True, slots=True)
class Weights:
    """What training gives.

    Attributes:
        arrays: Factors by :func:`lora_a` and :func:`lora_b`, ``head.weight`` [labels, 384] and ``head.bias`` [labels].
        labels: What the rows of the head stand for.
        rank: Of the deltas.
        alpha: The delta of a weight is alpha / rank x B x A.
        thresholds: From which score on a label counts, set on validation sources.
        notes: How it was trained, by name.
    """

    arrays: Arrays
    labels: tuple[str, ...]
    rank: int
    alpha: float
    thresholds: Mapping[str, float]
    notes: Mapping[str, str]


def save(weights: Weights, path: Path) -> None:
    """Writes them as float16: half the size, and what it costs is far below what the INT8 encoder costs."""
    arrays = {key: np.ascontiguousarray(value, np.float16) for key, value in sorted(weights.arrays.items())}
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {
        **weights.notes,
        "lora_alpha": f"{weights.alpha:g}",
        "lora_rank": str(weights.rank),
        "labels": ",".join(weights.labels),
        "thresholds": json.dumps(dict(weights.thresholds), sort_keys=True),
    }
    save_file(arrays, path, metadata=metadata)
    path.chmod(0o644)


def load(path: Path) -> Weights:
    """Reads what :func:`save` wrote."""
    with safe_open(path, "numpy") as file:
        facts = dict(file.metadata())
        arrays = {key: file.get_tensor(key).astype(np.float32) for key in file.keys()}  # noqa: SIM118 - not a mapping
    labels, rank, alpha = facts.pop("labels"), int(facts.pop("lora_rank")), float(facts.pop("lora_alpha"))
    return Weights(arrays, tuple(labels.split(",")), rank, alpha, json.loads(facts.pop("thresholds")), facts)


def merged(base: Arrays, weights: Weights) -> Arrays:
    """Gives the base encoder with the deltas added in: W + alpha / rank x B x A."""
    result = dict(base)
    for key in base:
        if lora_a(key) in weights.arrays:
            result[key] = base[key] + np.float32(weights.alpha / weights.rank) * (weights.arrays[lora_b(key)] @ weights.arrays[lora_a(key)])
    return result
