"""What the client tells about its work: facts without text, which the shell counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from models.breaker import BreakerState


class ModelObserver(Protocol):
    """Told from any thread; must return at once."""

    def batch_done(self, model: str, version: str, outcome: str, texts: int, seconds: float) -> None:
        """A batch came back: outcome ``ok`` or a kind of failure."""

    def batch_sent_again(self, model: str) -> None:
        """A batch that found the server away is tried again."""

    def cache_asked(self, model: str, hits: int, misses: int) -> None:
        """A call looked for its texts in the cache."""

    def breaker_changed(self, model: str, state: BreakerState) -> None:
        """A breaker opened, closed or lets one request try."""


class Silent:
    """Counts nothing."""

    def batch_done(self, model: str, version: str, outcome: str, texts: int, seconds: float) -> None:
        """Does nothing."""

    def batch_sent_again(self, model: str) -> None:
        """Does nothing."""

    def cache_asked(self, model: str, hits: int, misses: int) -> None:
        """Does nothing."""

    def breaker_changed(self, model: str, state: BreakerState) -> None:
        """Does nothing."""


class RouterObserver(Protocol):
    """Told by a router of two versions, from any thread; must return at once."""

    def candidate_answered(self, model: str, texts: int) -> None:
        """The candidate answered texts of its share."""

    def candidate_failed(self, model: str, texts: int) -> None:
        """The candidate did not answer; of a canary, the stable version did instead."""

    def shadow_compared(self, model: str, differences: Sequence[float]) -> None:
        """Both versions answered texts: how far apart, each 0 to 1 (``models.compare``)."""

    def shadow_dropped(self, model: str, texts: int) -> None:
        """The shadow is behind: these texts are not compared."""
