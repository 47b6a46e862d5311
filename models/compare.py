"""How far two answers of a model about one text lie apart: 0 for equal, 1 for nothing in common."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.results import GuardScores


def difference(one: Any, other: Any) -> float:
    """Gives the difference of two results of the same model.

    Vectors: 1 less their cosine (at most 1). Scores: the largest difference of a label. Names: 1 less twice the spans in common over all spans
    (1 - F1); a span is its place and its entity.

    >>> difference(GuardScores(0.25, 0.5, 0.0), GuardScores(0.5, 0.5, 0.0))
    0.25
    """
    if isinstance(one, np.ndarray):
        return min(1.0, max(0.0, 1.0 - float(np.dot(one, other))))
    if isinstance(one, GuardScores):
        return max(abs(a - b) for a, b in zip(_labels(one), _labels(other), strict=True))
    here, there = ({(span.start, span.end, span.entity) for span in spans} for spans in (one, other))
    return 1.0 - 2 * len(here & there) / (len(here) + len(there)) if here or there else 0.0


def _labels(scores: GuardScores) -> tuple[float, float, float]:
    return (scores.injection, scores.jailbreak, scores.toxicity)
