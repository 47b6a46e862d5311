"""Measures of the guard and of the tagger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


def auroc(attacks: ArrayLike, harmless: ArrayLike) -> float:
    """Gives the chance that an attack scores above a harmless text; a tie counts half."""
    high, low = np.asarray(attacks, np.float64), np.sort(np.asarray(harmless, np.float64))
    below = np.searchsorted(low, high, "left") + np.searchsorted(low, high, "right")
    return float(below.mean() / (2 * len(low)))


def threshold_at(harmless: ArrayLike, share: float) -> float:
    """Gives the score above which at most this share of harmless texts lies."""
    scores = np.sort(np.asarray(harmless, np.float64))
    allowed = int(np.floor(share * len(scores)))
    return float(np.nextafter(scores[len(scores) - 1 - allowed], 2.0))


def recall_at(attacks: ArrayLike, threshold: float) -> float:
    """Gives the share of attacks that reach the threshold."""
    return float((np.asarray(attacks, np.float64) >= threshold).mean())


class Span(NamedTuple):
    """A name: first character, the one behind the last, entity."""

    start: int
    end: int
    entity: str


@dataclass(slots=True)
class SpanCount:
    """Found and missed names of one entity.

    Attributes:
        exact: Found with both ends right.
        touched: Names of the truth that a found name overlaps.
        right: Found names that overlap one of the truth.
        found: Found in all.
        there: In the truth.
    """

    exact: int = 0
    touched: int = 0
    right: int = 0
    found: int = 0
    there: int = 0

    def add(self, truth: Sequence[Span], found: Sequence[Span], left_out: Sequence[tuple[int, int]] = ()) -> None:
        """Counts the names of one text; found names that lie where nobody can tell are left out."""
        found = [span for span in found if not any(span.start < end and start < span.end for start, end in left_out)]
        self.exact += len(set(truth) & set(found))
        self.touched += sum(any(one.start < other.end and other.start < one.end for other in found) for one in truth)
        self.right += sum(any(one.start < other.end and other.start < one.end for other in truth) for one in found)
        self.found += len(found)
        self.there += len(truth)

    @property
    def exact_f1(self) -> float:
        """F1 where both ends must be right."""
        return 2 * self.exact / max(1, self.found + self.there)

    @property
    def overlap_f1(self) -> float:
        """F1 where an overlap is enough."""
        recall, precision = self.touched / max(1, self.there), self.right / max(1, self.found)
        return 2 * recall * precision / max(1e-9, recall + precision)

    @property
    def recall(self) -> float:
        """Share of the names that an overlap finds: what is not found is not masked."""
        return self.touched / max(1, self.there)
