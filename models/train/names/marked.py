"""Texts that say themselves where their names are: ``[[PERSON|Mia Li]] flies to [[LOCATION|Austin]]``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.front.tokens import Tokens
from models.spec import TOKEN_CLASSES

#: A piece that may or may not be a name: training leaves it out of the loss, evaluation out of the count.
UNSURE: Final = "UNSURE"
#: Class of a token that is left out of the loss.
LEFT_OUT: Final = -1
_MARK: Final = re.compile(r"\[\[([A-Z]+)\|(.*?)\]\]", re.DOTALL)


@dataclass(frozen=True, slots=True)
class NamedText:
    """A text and its names.

    Attributes:
        text: What the tagger is shown.
        spans: (start, end, entity), in order, not overlapping; entity is one of the tagger's, or :data:`UNSURE`.
    """

    text: str
    spans: tuple[tuple[int, int, str], ...]


def mark(entity: str, name: str) -> str:
    """Marks a name."""
    return f"[[{entity}|{name}]]"


def read_marks(marked: str) -> NamedText:
    """Gives the text without its marks, and where the marked names are in it."""
    pieces: list[str] = []
    spans: list[tuple[int, int, str]] = []
    at = length = 0
    for found in _MARK.finditer(marked):
        before, name = marked[at : found.start()], found[2]
        pieces += (before, name)
        length += len(before)
        if name.strip():
            spans.append((length, length + len(name), found[1]))
        length += len(name)
        at = found.end()
    return NamedText("".join([*pieces, marked[at:]]), tuple(spans))


def token_classes(example: NamedText, tokens: Tokens) -> NDArray[np.int64]:
    """Gives int64[tokens], numbers of :data:`models.spec.TOKEN_CLASSES`: B on the first token of a name, I on the rest of it."""
    classes = np.zeros(tokens.count, np.int64)
    for start, end, entity in example.spans:
        inside = np.flatnonzero((tokens.starts < end) & (tokens.ends > start))
        if not len(inside):
            continue
        if entity == UNSURE:
            classes[inside] = LEFT_OUT
            continue
        classes[inside] = TOKEN_CLASSES.index(f"I-{entity}")
        classes[inside[0]] = TOKEN_CLASSES.index(f"B-{entity}")
    return classes
