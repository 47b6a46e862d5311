"""Windows over the tokens of a text: every token is in one at least, and none is longer than the encoder may read.

strides of 6, overlapping by 2        sentences of 3, 2, 4 and 3 tokens, windows of 6 that may share 2

0 1 2 3 4 5                           a a a b b
        4 5 6 7 8 9                         b b c c c c
                8 9 10 11                               d d d
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .tokens import SPECIAL_COUNT, Tokens

#: Where a sentence may end: its mark (and what closes after it) before a space, marks of scripts that write no spaces, and ends of lines.
_SENTENCE_END: Final = re.compile(r"[.!?…][\"'”’)\]}]{0,3}(?=\s)|[。！？]|[\r\n]")


class Window(NamedTuple):
    """Tokens ``first`` to before ``stop`` of a text."""

    first: int
    stop: int


def room(window_tokens: int) -> int:
    """Tokens of a text that fit into a window of so many, special ones included."""
    return window_tokens - SPECIAL_COUNT


def strides(count: int, size: int, overlap: int) -> list[Window]:
    """Cuts so many tokens into windows of ``size``, each of which shares ``overlap`` with the one before; the last may be shorter.

    Args:
        count: Tokens of the text; 0 gives no window.
        size: Tokens of a window, without special ones.
        overlap: 0 to ``size - 1``.
    """
    return [Window(first, min(first + size, count)) for first in range(0, max(1, count - overlap), size - overlap)] if count else []


def sentence_starts(text: str, tokens: Tokens) -> NDArray[np.int64]:
    """Gives the first token of each sentence, in order; the first is token 0."""
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    starts = np.searchsorted(tokens.starts, np.array([0, *ends], np.int64))
    return np.unique(starts[starts < tokens.count])


def sentence_windows(starts: Sequence[int] | NDArray[np.int64], count: int, size: int, overlap: int) -> list[Window]:
    """Packs whole sentences into windows; one begins at the start of a sentence wherever that is possible.

    A window takes as many whole sentences as fit. The next begins at the earliest start of a sentence that lies within its last ``overlap`` tokens,
    if it then reaches the end of a further sentence: so what a border parts is also seen together. Else it begins right behind. A sentence longer
    than a window is cut in strides that overlap.

    Args:
        starts: First token of each sentence, ascending, the first 0.
        count: Tokens of the text; 0 gives no window.
        size: Tokens of a window at most, without special ones.
        overlap: Tokens that two neighbours share at most, 0 to ``size - 1``.
    """
    borders = np.append(np.asarray(starts, np.int64), count)
    windows: list[Window] = []
    first = 0
    while first < count:
        inside = borders[(index := int(np.searchsorted(borders, first, "right"))) : int(np.searchsorted(borders, first + size, "right"))]
        stop = int(inside[-1]) if len(inside) else min(first + size, count)
        windows.append(Window(first, stop))
        if stop == count:
            break
        if len(inside):
            after = borders[int(np.searchsorted(borders, stop, "right"))]
            shared = borders[index : int(np.searchsorted(borders, stop))]
            shared = shared[(shared >= stop - overlap) & (after - shared <= size)]
            first = int(shared[0]) if len(shared) else stop
        else:
            first = stop - overlap
    return windows


def most_central(windows: Sequence[Window], count: int) -> NDArray[np.int64]:
    """Gives for each token the number of the window to take its class from: the one whose cuts are farthest from it.

    The begin and the end of the text are no cuts. Of two that are equally far, the earlier window is taken.
    """
    chosen = np.zeros(count, np.int64)
    farthest = np.full(count, -1, np.int64)
    for number, (first, stop) in enumerate(windows):
        places = np.arange(first, stop)
        before = places - first if first else np.full(stop - first, count)
        behind = stop - 1 - places if stop < count else np.full(stop - first, count)
        distance = np.minimum(before, behind)
        better = distance > farthest[first:stop]
        chosen[first:stop][better] = number
        farthest[first:stop][better] = distance[better]
    return chosen
