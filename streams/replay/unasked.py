"""Models that are never asked: what was not recorded of an event stays unknown, and the event says that it went on without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from models.results import GuardScores, NameSpan
from schemas.errors import RetryableError


class UnaskedModels:
    """Implements TextModels by answering nothing; to be used under ``streams.replay.side.without_models``."""

    def embed(self, texts: Sequence[str], deadline_s: float, keys: Sequence[str] | None = None) -> NoReturn:
        """Raises RetryableError."""
        self._nothing()

    def guard(self, texts: Sequence[str], deadline_s: float, keys: Sequence[str] | None = None) -> list[GuardScores]:
        """Raises RetryableError."""
        self._nothing()

    def tag(self, texts: Sequence[str], deadline_s: float, keys: Sequence[str] | None = None) -> list[tuple[NameSpan, ...]]:
        """Raises RetryableError."""
        self._nothing()

    def side(self, model: str, key: str) -> str:
        """There is one version."""
        return ""

    def _nothing(self) -> NoReturn:
        raise RetryableError("a replay asks no model; give --ask-models", 0)
