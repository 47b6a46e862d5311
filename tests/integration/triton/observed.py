"""Remembers what the client tells about its work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from models.breaker import BreakerState


@dataclass
class Observed:
    """Facts in the order they came.

    Attributes:
        on_batch: Called at every batch, in the client's own loop.
    """

    batches: list[tuple[str, str, str, int]] = field(default_factory=list)
    sent_again: int = 0
    hits: int = 0
    misses: int = 0
    breaker: list[BreakerState] = field(default_factory=list)
    on_batch: Callable[[], None] = lambda: None

    def batch_done(self, model: str, version: str, outcome: str, texts: int, seconds: float) -> None:
        """Remembers it."""
        self.batches.append((model, version, outcome, texts))
        self.on_batch()

    def batch_sent_again(self, model: str) -> None:
        """Counts it."""
        self.sent_again += 1

    def cache_asked(self, model: str, hits: int, misses: int) -> None:
        """Counts it."""
        self.hits += hits
        self.misses += misses

    def breaker_changed(self, model: str, state: BreakerState) -> None:
        """Remembers it."""
        self.breaker.append(state)

    @property
    def answered(self) -> list[int]:
        """Texts of each batch that was answered."""
        return [texts for _, _, outcome, texts in self.batches if outcome == "ok"]
