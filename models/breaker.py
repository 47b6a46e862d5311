"""A circuit breaker: after failures in a row nobody asks for a while, then one request tries.

    closed ── failures_max in a row ──> open ── open_s pass ──> half open ── the probe succeeds ──> closed
                                         ^                          │
                                         └───── the probe fails ────┘

Weighed against pybreaker: it reads the clock itself (tests would sleep), counts by what is raised through the call that it wraps (ours is spread over
callbacks of an event loop), and does not say how long it stays open, which a RetryableError must. The states are these thirty lines.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class BreakerState(StrEnum):
    """Whether requests pass."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(slots=True)
class Breaker:
    """Not safe for threads: one event loop owns it. Time is passed in, in seconds that only grow.

    Attributes:
        failures_max: Failures in a row that open it.
        open_s: How long it stays open.
        probe_s: After so long without an outcome, a probe counts as lost and another one goes.
    """

    failures_max: int = 5
    open_s: float = 1.0
    probe_s: float = 60.0
    _failures: int = field(default=0, init=False)
    #: When the next request may pass while it is not closed; None while it is.
    _next_s: float | None = field(default=None, init=False)
    _probing: bool = field(default=False, init=False)

    @property
    def state(self) -> BreakerState:
        """Its state after what was told so far."""
        if self._next_s is None:
            return BreakerState.CLOSED
        return BreakerState.HALF_OPEN if self._probing else BreakerState.OPEN

    def wait_s(self, now_s: float) -> float:
        """Gives 0 where a request may be sent now, which then is the probe; else the seconds until the next may try."""
        if self._next_s is None:
            return 0.0
        if now_s < self._next_s:
            return min(self._next_s - now_s, self.open_s)
        self._probing = True
        self._next_s = now_s + self.probe_s
        return 0.0

    def succeeded(self) -> None:
        """Told of every request that was answered."""
        self._failures, self._next_s, self._probing = 0, None, False

    def failed(self, now_s: float) -> None:
        """Told of every request that was not."""
        self._failures += 1
        if self._probing or self._failures >= self.failures_max:
            self._next_s, self._probing = now_s + self.open_s, False
