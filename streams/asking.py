"""Asks one model for a batch of texts, and tells what to do where it is away: wait, go on without it, or reject, as policy says.

Texts go in calls of a bounded size, each with a deadline, so that what was answered stays answered: a try after an outage asks only for the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Generic, TypeVar

from governance.policy import Outage, WhenDown
from models.failures import FailureKind, ModelFailure
from schemas.errors import RetryableError

Answer = TypeVar("Answer")

_RETRY_AFTER_MS: Final = 500


class Fate(StrEnum):
    """What became of an event that a model was to read: a recorded fact."""

    ANSWERED = "answered"
    DEGRADED = "degraded"
    REJECTED = "rejected"


#: Failures that may be of one text alone; the others are of the server.
_OF_A_TEXT: Final = frozenset({FailureKind.REFUSED, FailureKind.INVALID})
_FATES: Final = {WhenDown.RULES_ONLY: Fate.DEGRADED, WhenDown.REJECT: Fate.REJECTED}


@dataclass(frozen=True, slots=True)
class AskSettings:
    """How models are asked.

    Attributes:
        deadline_s: Longest time that one call may take, in seconds.
        texts_max: Texts of one call at most.
    """

    deadline_s: float = 10.0
    texts_max: int = 512


@dataclass(frozen=True, slots=True)
class Answers(Generic[Answer]):
    """What a model said.

    Attributes:
        by_text: Its answers; of some texts none, where it was away.
        otherwise: Fate of an event of which a text has no answer.
    """

    by_text: Mapping[str, Answer]
    otherwise: Fate = Fate.REJECTED


class ModelQuestions(Generic[Answer]):
    """Asks one model. One thread at a time.

    Args:
        model: Its name, for messages.
        ask: Answers for all texts in their order within a deadline, or raises RetryableError.
        is_answer: Says whether an answer can be one for its text; where it is not, nothing is known of the text.
        outage: What policy wants done while the model is away.
        settings: Bounds.
        clock: Seconds that only grow; tells how long an outage lasts.
    """

    def __init__(
        self,
        model: str,
        ask: Callable[[Sequence[str], float], Sequence[Answer]],
        is_answer: Callable[[str, Answer], bool],
        outage: Outage,
        settings: AskSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._ask = ask
        self._is_answer = is_answer
        self._outage = outage
        self._settings = settings
        self._clock = clock
        self._away_since: float | None = None
        #: Answers of a batch that is not through; bounded by the batches that wait.
        self._held: dict[str, Answer] = {}

    def answers(self, texts: Iterable[str]) -> Answers[Answer]:
        """Gives what the model says of the texts; without texts it is not asked.

        Raises:
            RetryableError: The model is away and policy waits. The same texts must be asked for again.
        """
        wanted = list(dict.fromkeys(texts))
        failure = self._failure(wanted)
        answered = {text: self._held[text] for text in wanted if text in self._held}
        if failure is None:
            if wanted:
                self._away_since = None
            self._held.clear()
            return Answers(answered)
        now = self._clock()
        self._away_since = now if self._away_since is None else self._away_since
        fate = _FATES.get(self._outage.reaction)
        if fate is None or now - self._away_since < self._outage.after_s:
            raise failure
        self._held.clear()
        return Answers(answered, fate)

    def _failure(self, wanted: Sequence[str]) -> RetryableError | None:
        """Asks for what is not known yet, call by call; gives why something has no answer."""
        missing = [text for text in wanted if text not in self._held]
        size = self._settings.texts_max
        parts = [missing[start : start + size] for start in range(0, len(missing), size)][::-1]
        first: RetryableError | None = None
        while parts:
            part = parts.pop()
            failure = self._asked(part)
            if failure is None:
                continue
            first = first or failure
            if not (isinstance(failure, ModelFailure) and failure.kind in _OF_A_TEXT):
                break
            if len(part) > 1:  # one text may be what the model fails on: the others must not share its fate
                half = len(part) // 2
                parts += [part[half:], part[:half]]
        return None if all(text in self._held for text in wanted) else first

    def _asked(self, part: Sequence[str]) -> RetryableError | None:
        """Makes one call and keeps what can be an answer."""
        try:
            answers = self._ask(part, self._settings.deadline_s)
        except RetryableError as error:
            return error
        if len(answers) != len(part):
            return self._wrong(f"{len(answers)} answers for {len(part)} texts")
        self._held.update((text, answer) for text, answer in zip(part, answers, strict=True) if self._is_answer(text, answer))
        bad = sum(text not in self._held for text in part)
        return self._wrong(f"{bad} of {len(part)} answers out of bounds") if bad else None

    def _wrong(self, came: str) -> RetryableError:
        return RetryableError(
            f"model {self._model}: must answer for each text within its bounds, came {came}; look at the model server's log and at what it serves",
            _RETRY_AFTER_MS,
        )
