"""A linear model over hashed pieces of three to five bytes: what could stand in front of ``guard``, distilled from its scores.

A window of a text is the bag of its pieces, in lower case; its logit is the sum of their weights over the root of its length. A text scores as its
highest window, as with ``guard``. numpy alone: a piece is hashed for all places of a text at once, and windows are differences of one running sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

_PIECES: Final = (3, 4, 5)
_BITS: Final = 17
#: Bytes of a window, about those of 62 tokens, and how far windows lie apart.
_WINDOW: Final = 256
_STRIDE: Final = 128
_FACTOR: Final = np.uint64(0x9E3779B97F4A7C15)

Floats = NDArray[np.float64]


def pieces(text: str) -> NDArray[np.int64]:
    """Gives the hashes of the pieces that begin at each byte: int64[bytes, 3]."""
    data = np.frombuffer(text.lower().encode("utf-8", "replace") + b"\0" * max(_PIECES), np.uint8).astype(np.uint64)
    size = len(data) - max(_PIECES)
    columns = []
    for length in _PIECES:
        packed = np.full(size, length, np.uint64)
        for place in range(length):
            packed = (packed << np.uint64(8)) | data[place : place + size]
        columns.append((packed * _FACTOR) >> np.uint64(64 - _BITS))
    return np.stack(columns, axis=1).astype(np.int64)


@dataclass(slots=True)
class LinearStage:
    """The model.

    Attributes:
        weights: float64[2**17].
        bias: Added to the logit.
    """

    weights: Floats
    bias: float

    def __call__(self, text: str) -> float:
        """Gives the logit of the highest window."""
        found = self.weights[pieces(text)].sum(axis=1)
        if not len(found):
            return -np.inf
        sums = np.concatenate(([0.0], np.cumsum(found)))
        starts = np.arange(0, max(1, len(found) - _WINDOW + _STRIDE), _STRIDE)
        ends = np.minimum(starts + _WINDOW, len(found))
        logits = (sums[ends] - sums[starts]) / np.sqrt(ends - starts)
        return float(logits.max() + self.bias)


def distil(windows: Sequence[str], scores: Floats, epochs: int = 6, batch: int = 256, rate: float = 0.1, seed: int = 0) -> LinearStage:
    """Learns to say what the encoder says of windows: cross-entropy against its scores, Adagrad.

    Args:
        windows: Texts of windows.
        scores: float64[windows], 0 to 1.
        epochs: How often each is seen.
        batch: Windows of a step.
        rate: Of Adagrad.
        seed: Of the order.
    """
    random = np.random.default_rng(seed)
    bags = [pieces(window[:1_000]).ravel() for window in windows]
    sizes = np.array([max(1, len(bag)) for bag in bags])
    weights, squares = np.zeros(2**_BITS), np.full(2**_BITS, 1e-6)
    bias, bias_square = 0.0, 1e-6
    for _ in range(epochs):
        order = random.permutation([number for number, bag in enumerate(bags) if len(bag)])
        for start in range(0, len(order), batch):
            mine = order[start : start + batch]
            index = np.concatenate([bags[number] for number in mine])
            lengths = sizes[mine]
            norms = np.sqrt(lengths / len(_PIECES))
            begins = np.concatenate(([0], np.cumsum(lengths)[:-1]))
            logits = np.add.reduceat(weights[index], begins) / norms + bias
            slope = (1 / (1 + np.exp(-np.clip(logits, -30, 30))) - scores[mine]) / len(mine)
            step = np.bincount(index, np.repeat(slope / norms, lengths), 2**_BITS)
            squares += step * step
            weights -= rate * step / np.sqrt(squares)
            bias_square += slope.sum() ** 2
            bias -= rate * slope.sum() / np.sqrt(bias_square)
    return LinearStage(weights, float(bias))
