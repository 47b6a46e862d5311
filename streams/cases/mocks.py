"""Models that say what a case says: real to the pipeline, written down in data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.results import GuardScores, NameSpan
from models.spec import EMBEDDING_SIZE
from schemas.errors import RetryableError
from streams.cases.case import ModelSays

_RETRY_AFTER_MS = 1
_NAME_SCORE = 0.99


class SayingModels:
    """Implements ``TextModels`` in this process."""

    def __init__(self) -> None:
        self.says = ModelSays()

    def embed(self, texts: Sequence[str], deadline_s: float, keys: Sequence[str] | None = None) -> NDArray[np.float32]:
        """Gives the same vector for each text."""
        self._present("embedder")
        return np.full((len(texts), EMBEDDING_SIZE), EMBEDDING_SIZE**-0.5, dtype=np.float32)

    def guard(self, texts: Sequence[str], deadline_s: float, keys: Sequence[str] | None = None) -> list[GuardScores]:
        """Gives the largest of the scores that the case names for what a text holds."""
        self._present("guard")
        return [self._scores(text) for text in texts]

    def tag(self, texts: Sequence[str], deadline_s: float, keys: Sequence[str] | None = None) -> list[tuple[NameSpan, ...]]:
        """Gives the names of the case in each text."""
        self._present("pii_tagger")
        return [self._names(text) for text in texts]

    def side(self, model: str, key: str) -> str:
        """A case has one version of each model."""
        return ""

    def _present(self, model: str) -> None:
        if model in self.says.away:
            raise RetryableError(f"the case says that model {model} is away, and policy waits for it (when_down: pause)", _RETRY_AFTER_MS)

    def _scores(self, text: str) -> GuardScores:
        held = [one for one in self.says.scores if one.text in text]
        injection, jailbreak, toxicity = (max((getattr(one, label) for one in held), default=0.0) for label in ("injection", "jailbreak", "toxicity"))
        return GuardScores(injection, jailbreak, toxicity, version="case")

    def _names(self, text: str) -> tuple[NameSpan, ...]:
        found: list[NameSpan] = []
        for name in sorted(self.says.names, key=len, reverse=True):  # a longer name wins over one inside it
            start = text.find(name)
            while start >= 0:
                end = start + len(name)
                if all(end <= other.start or start >= other.end for other in found):
                    found.append(NameSpan(start, end, self.says.names[name], _NAME_SCORE))
                start = text.find(name, end)
        return tuple(sorted(found, key=lambda span: span.start))
