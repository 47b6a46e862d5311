"""Patience with a world that is away: a call is tried again for as long as its error says that trying helps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type
from tenacity.wait import wait_exponential_jitter

from schemas.errors import RetryableError
from streams.stop import Stop

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """How to wait between tries: never shorter than the error asks, doubling up to the longest.

    Attributes:
        first_s: Wait after the first failure, in seconds.
        longest_s: Longest wait, in seconds.
    """

    first_s: float = 0.1
    longest_s: float = 5.0

    def persist(self, call: Callable[[], T], stop: Stop, on_failure: Callable[[RetryableError], None]) -> T:
        """Gives the call's result; tries for ever while it raises RetryableError, until the stop's grace is over.

        Args:
            call: What to try; every other error goes through.
            stop: Ends the waiting.
            on_failure: Told of every failure.

        Raises:
            Abandoned: The run is to stop and the grace is over.
        """
        growing = wait_exponential_jitter(multiplier=self.first_s, max=self.longest_s, jitter=self.first_s)

        def wait(state: RetryCallState) -> float:
            assert state.outcome is not None
            error = state.outcome.exception()
            assert isinstance(error, RetryableError)
            on_failure(error)
            return max(growing(state), error.retry_after_ms / 1000)

        return Retrying(retry=retry_if_exception_type(RetryableError), wait=wait, sleep=stop.wait, reraise=True)(call)
