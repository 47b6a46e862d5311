"""Keeps what is tested out of what is learnt from: texts that share too many runs of words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

#: Words of a run.
_RUN_WORDS: Final = 6
#: A text that shares this part of its runs with test texts is left out.
SHARE_MOST: Final = 0.3
_WORD: Final = re.compile(r"\w+")

T = TypeVar("T")


def runs(text: str) -> set[int]:
    """Gives hashes of all runs of six words; of the whole text where it is shorter."""
    words = _WORD.findall(text.lower())
    if len(words) < _RUN_WORDS:
        return {hash(tuple(words))} if words else set()
    return {hash(tuple(words[at : at + _RUN_WORDS])) for at in range(len(words) - _RUN_WORDS + 1)}


def without_near_duplicates(items: Sequence[T], texts: Sequence[str], tests: Iterable[str]) -> list[T]:
    """Gives the items whose text shares few runs of words with the test texts.

    Args:
        items: What is filtered.
        texts: The text of each item.
        tests: Texts that models are tested on.
    """
    tested: set[int] = set()
    for test in tests:
        tested |= runs(test)
    kept = []
    for item, text in zip(items, texts, strict=True):
        mine = runs(text)
        if not mine or len(mine & tested) / len(mine) < SHARE_MOST:
            kept.append(item)
    return kept
