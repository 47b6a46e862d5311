"""Counts different terms of a list in a text, whole words only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_WORD: Final = re.compile("[a-z0-9]+")


class TermFinder:
    """Finds the terms of a list, in time linear in the text.

    Args:
        terms: Words or groups of words in lower case.
        count_min: With fewer different terms nothing is found.

    Example:
        >>> find = TermFinder(["stock", "share price"], count_min=2)
        >>> find("Which stock? The share-price fell."), find("A stock of stock.")
        ([(6, 11), (17, 28)], [])
    """

    def __init__(self, terms: Sequence[str], count_min: int = 1) -> None:
        self._terms = frozenset(tuple(_WORD.findall(term)) for term in terms)
        self._lengths = sorted({len(term) for term in self._terms}, reverse=True)
        self._count_min = count_min

    def __call__(self, text: str) -> list[tuple[int, int]]:
        """Gives the places of the terms in a folded text; none where too few different ones stand in it."""
        words = [(found.group(), found.start(), found.end()) for found in _WORD.finditer(text.lower())]
        places: list[tuple[int, int]] = []
        seen: set[tuple[str, ...]] = set()
        for first in range(len(words)):
            for length in self._lengths:
                group = words[first : first + length]
                term = tuple(word for word, _, _ in group)
                if term in self._terms:
                    seen.add(term)
                    places.append((group[0][1], group[-1][2]))
                    break
        return places if len(seen) >= self._count_min else []
