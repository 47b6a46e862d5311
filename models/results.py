"""What models answer, and the seam through which the shell asks them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class WindowScores:
    """Scores of one window of a text, each 0 to 1.

    Attributes:
        start: First character of the window.
        end: Character behind its last.
    """

    start: int
    end: int
    injection: float
    jailbreak: float
    toxicity: float


@dataclass(frozen=True, slots=True)
class GuardScores:
    """Scores of one text: the largest over its windows, each 0 to 1.

    Attributes:
        windows: The same window by window.
        version: Of the model that said so, as the server names it; empty where it is not known.
    """

    injection: float
    jailbreak: float
    toxicity: float
    windows: tuple[WindowScores, ...] = ()
    version: str = ""


@dataclass(frozen=True, slots=True)
class NameSpan:
    """A name in a text.

    Attributes:
        start: First character.
        end: Character behind the last.
        entity: PERSON, LOCATION or ORGANIZATION.
        score: 0 to 1.
    """

    start: int
    end: int
    entity: str
    score: float


class Served(NamedTuple):
    """What answered: equal ones answer equally.

    Attributes:
        version: Of the model, as the server names it.
        build: Which build of that version; empty where the server does not say.
    """

    version: str
    build: str = ""


class TextModels(Protocol):
    """Asks the models. Every call answers for all texts, in their order, or raises.

    ``keys`` say of whom each text is: while two versions are served, a key's texts go to one of them. Without keys a text is its own key.

    Raises:
        RetryableError: The model is away, slow, or answers what cannot be an answer (wrong shape, NaN, empty): nothing is known of any text. Its
            message holds no text.
    """

    def embed(self, texts: Sequence[str], deadline_s: float, keys: Sequence[str] | None = None) -> NDArray[np.float32]:
        """Gives float32[texts, 384], each row of length 1."""
        ...

    def guard(self, texts: Sequence[str], deadline_s: float, keys: Sequence[str] | None = None) -> list[GuardScores]:
        """Gives the scores of each text."""
        ...

    def tag(self, texts: Sequence[str], deadline_s: float, keys: Sequence[str] | None = None) -> list[tuple[NameSpan, ...]]:
        """Gives the names in each text, in order, not overlapping."""
        ...

    def side(self, model: str, key: str) -> str:
        """Tells which of two versions reads a key's texts: equal sides give equal answers to equal texts."""
        ...
