"""Arrays and facts of a safetensors file, or why it cannot be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from schemas.errors import ConfigError


def read_arrays(path: Path) -> tuple[dict[str, NDArray[np.float32]], dict[str, str]]:
    """Gives the arrays of numbers as float32, and the metadata.

    Raises:
        ConfigError: It is no such file.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {key: file.get_tensor(key) for key in sorted(file.keys())}
            metadata: dict[str, str] = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"{path}: cannot be read as safetensors ({type(error).__name__})") from None
    return {key: array.astype(np.float32) for key, array in arrays.items() if array.dtype.kind == "f"}, metadata
