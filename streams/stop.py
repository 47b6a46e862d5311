"""The wish to stop: orderly while there is time, then at once."""

from __future__ import annotations

import threading
import time

from schemas.errors import FatalError


class Abandoned(FatalError):
    """The run was told to stop and a sink did not acknowledge within the grace. Nothing is lost: the next start replays what was in flight."""


class Stop:
    """Told once, asked from every thread.

    Args:
        grace_s: Seconds between the wish to stop and giving up on sinks that do not answer.
    """

    def __init__(self, grace_s: float = 30.0) -> None:
        self._grace_s = grace_s
        self._requested = threading.Event()
        self._give_up_at = float("inf")

    def request(self) -> None:
        """Asks for an orderly stop: poll no more, write what is in flight, take a snapshot."""
        if not self._requested.is_set():
            self._give_up_at = time.monotonic() + self._grace_s
            self._requested.set()

    @property
    def requested(self) -> bool:
        """Whether an orderly stop was asked for."""
        return self._requested.is_set()

    def check(self) -> None:
        """Raises Abandoned once the grace is over."""
        if time.monotonic() > self._give_up_at:
            raise Abandoned(
                f"stopped before every sink acknowledged: {self._grace_s:.0f} s of grace are over; the next start replays what was in flight"
            )

    def wait(self, seconds: float) -> None:
        """Waits, but not longer than until the wish to stop, or then until the grace is over."""
        if self.requested:
            time.sleep(min(seconds, max(0.0, self._give_up_at - time.monotonic()), 0.1))
        else:
            self._requested.wait(seconds)
        self.check()
