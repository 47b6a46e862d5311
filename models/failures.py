"""What can go wrong between a text and its answer: one error whose kind tells what happens next.

    ModelFailure (a RetryableError)
    ├── away      no server, no such model, a broken connection    sent again within the deadline; counted by the breaker
    ├── slow      no answer before the deadline                    counted by the breaker
    ├── refused   the model itself failed on this batch            a batch of several callers is cut up, so that each gets its own fate
    ├── invalid   the answer cannot be one: shape, NaN, offsets    likewise
    └── open      the breaker is open: nothing was sent

A message names model, kind and gRPC code, never what a server or a model said: that may quote a text.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from schemas.errors import RetryableError


class FailureKind(StrEnum):
    """Why there is no answer; bounded, so it can be a metric's label."""

    AWAY = "away"
    SLOW = "slow"
    REFUSED = "refused"
    INVALID = "invalid"
    OPEN = "open"


#: How long a caller should wait before it asks again, in ms, where nothing better is known.
RETRY_AFTER_MS: Final = 500

_ADVICE: Final = {
    FailureKind.AWAY: "is away",
    FailureKind.SLOW: "did not answer before the deadline",
    FailureKind.REFUSED: "failed on a batch",
    FailureKind.INVALID: "gave what cannot be an answer",
    FailureKind.OPEN: "is not asked, its last requests failed",
}
_LOOK: Final = "; look at Triton's log and at `headrace models status`"


class ModelFailure(RetryableError):
    """No answer from a model; nothing is known of any text.

    Args:
        model: Its name.
        kind: What happened.
        detail: More, without payload: a gRPC code, a shape.
        retry_after_ms: How long to wait before the next try.
    """

    def __init__(self, model: str, kind: FailureKind, detail: str = "", retry_after_ms: int = RETRY_AFTER_MS) -> None:
        super().__init__(f"model {model} {_ADVICE[kind]}{f' ({detail})' if detail else ''}{_LOOK}", retry_after_ms)
        self.model = model
        self.kind = kind
        self.detail = detail

    def fresh(self) -> ModelFailure:
        """Gives an equal one: each caller raises its own, from its own thread."""
        return ModelFailure(self.model, self.kind, self.detail, self.retry_after_ms)
