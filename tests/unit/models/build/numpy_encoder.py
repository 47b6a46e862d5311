"""The encoder written out in numpy, one row at a time, without padding: what every graph is held against."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_ERF = np.vectorize(math.erf, otypes=[np.float64])


def token_vectors(weights: Mapping[str, NDArray[np.float32]], ids: NDArray[np.int64], heads: int = 12) -> Array:
    """Gives float64[tokens, size] for one row of ids."""
    w = {key: value.astype(np.float64) for key, value in weights.items() if not key.startswith("embeddings.word")}
    words = weights["embeddings.word_embeddings.weight"][ids].astype(np.float64)
    x = words + w["embeddings.position_embeddings.weight"][: len(ids)] + w["embeddings.token_type_embeddings.weight"][0]
    x = _norm(w, "embeddings.LayerNorm", x)
    layers = sum(key.endswith("attention.self.query.weight") for key in w)
    for layer in (f"encoder.layer.{number}" for number in range(layers)):
        q, k, v = (_split(_linear(w, f"{layer}.attention.self.{part}", x), heads) for part in ("query", "key", "value"))
        alike = q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[-1])
        share = np.exp(alike - alike.max(axis=-1, keepdims=True))
        taken = (share / share.sum(axis=-1, keepdims=True)) @ v
        attended = taken.transpose(1, 0, 2).reshape(x.shape)
        x = _norm(w, f"{layer}.attention.output.LayerNorm", x + _linear(w, f"{layer}.attention.output.dense", attended))
        inner = _linear(w, f"{layer}.intermediate.dense", x)
        inner = inner * 0.5 * (1 + _ERF(inner / math.sqrt(2)))
        x = _norm(w, f"{layer}.output.LayerNorm", x + _linear(w, f"{layer}.output.dense", inner))
    return x


def _linear(w: Mapping[str, Array], key: str, x: Array) -> Array:
    return x @ w[f"{key}.weight"].T + w[f"{key}.bias"]


def _norm(w: Mapping[str, Array], key: str, x: Array) -> Array:
    middle = x - x.mean(axis=-1, keepdims=True)
    return middle / np.sqrt((middle**2).mean(axis=-1, keepdims=True) + 1e-12) * w[f"{key}.weight"] + w[f"{key}.bias"]


def _split(x: Array, heads: int) -> Array:
    return x.reshape(len(x), heads, -1).transpose(1, 0, 2)
