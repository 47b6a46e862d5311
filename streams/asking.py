"""Asks one model for a batch of texts, and tells what to do where it is away: wait, go on without it, or reject, as policy says.

Texts go in calls of a bounded size, each with a deadline, so that what was answered stays answered: a try after an outage asks only for the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Generic, Protocol, TypeVar

from governance.policy import Outage, WhenDown
from models.failures import FailureKind, ModelFailure
from schemas.errors import RetryableError

Answer = TypeVar("Answer")
Answered = TypeVar("Answered", covariant=True)

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
class Question:
    """A text that a model is to read.

    Attributes:
        text: The text.
        key: Of whom it is: texts of one key go to the same version of a model while two are served.
    """

    text: str
    key: str


#: A text, and which of the versions beside each other reads it.
_Asked = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Answers(Generic[Answer]):
    """What a model said.

    Attributes:
        by_text: Its answers by text and side; of some texts none, where it was away.
        sides: Of each key that was asked for.
        otherwise: Fate of an event of which a text has no answer.
    """

    by_text: Mapping[tuple[str, str], Answer]
    sides: Mapping[str, str]
    otherwise: Fate = Fate.REJECTED

    def to(self, question: Question) -> Answer | None:
        """Gives the answer to a question, or None."""
        return self.by_text.get((question.text, self.sides[question.key]))


class Ask(Protocol[Answered]):
    """Answers for all texts in their order within a deadline, or raises RetryableError."""

    def __call__(self, texts: Sequence[str], deadline_s: float, keys: Sequence[str] | None = None) -> Sequence[Answered]: ...


class ModelQuestions(Generic[Answer]):
    """Asks one model, each text once a side. One thread at a time.

    Args:
        model: Its name, for messages.
        ask: Asks it.
        is_answer: Says whether an answer can be one for its text; where it is not, nothing is known of the text.
        outage: What policy wants done while the model is away.
        settings: Bounds.
        clock: Seconds that only grow; tells how long an outage lasts.
        side_of: Tells which of two versions reads what is of a key; one and the same while there is one version.
    """

    def __init__(
        self,
        model: str,
        ask: Ask[Answer],
        is_answer: Callable[[str, Answer], bool],
        outage: Outage,
        settings: AskSettings,
        clock: Callable[[], float] = time.monotonic,
        side_of: Callable[[str], str] = lambda _key: "",
    ) -> None:
        self._model = model
        self._ask = ask
        self._is_answer = is_answer
        self._outage = outage
        self._settings = settings
        self._clock = clock
        self._side_of = side_of
        self._away_since: float | None = None
        #: Answers of a batch that is not through; bounded by the batches that wait.
        self._held: dict[_Asked, Answer] = {}

    def answers(self, questions: Iterable[Question]) -> Answers[Answer]:
        """Gives what the model says of the texts; without texts it is not asked.

        Raises:
            RetryableError: The model is away and policy waits. The same texts must be asked for again.
        """
        sides: dict[str, str] = {}
        keys: dict[_Asked, str] = {}
        for question in questions:
            if question.key not in sides:
                sides[question.key] = self._side_of(question.key)
            keys.setdefault((question.text, sides[question.key]), question.key)
        failure = self._failure(keys)
        answered = {asked: self._held[asked] for asked in keys if asked in self._held}
        if failure is None:
            if keys:
                self._away_since = None
            self._held.clear()
            return Answers(answered, sides)
        now = self._clock()
        self._away_since = now if self._away_since is None else self._away_since
        fate = _FATES.get(self._outage.reaction)
        if fate is None or now - self._away_since < self._outage.after_s:
            raise failure
        self._held.clear()
        return Answers(answered, sides, fate)

    def _failure(self, wanted: Mapping[_Asked, str]) -> RetryableError | None:
        """Asks for what is not known yet, call by call; gives why something has no answer."""
        missing = [(asked, key) for asked, key in wanted.items() if asked not in self._held]
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
        return None if all(asked in self._held for asked in wanted) else first

    def _asked(self, part: Sequence[tuple[_Asked, str]]) -> RetryableError | None:
        """Makes one call and keeps what can be an answer."""
        try:
            answers = self._ask([text for (text, _), _ in part], self._settings.deadline_s, [key for _, key in part])
        except RetryableError as error:
            return error
        if len(answers) != len(part):
            return self._wrong(f"{len(answers)} answers for {len(part)} texts")
        self._held.update((asked, answer) for (asked, _), answer in zip(part, answers, strict=True) if self._is_answer(asked[0], answer))
        bad = sum(asked not in self._held for asked, _ in part)
        return self._wrong(f"{bad} of {len(part)} answers out of bounds") if bad else None

    def _wrong(self, came: str) -> RetryableError:
        return RetryableError(
            f"model {self._model}: must answer for each text within its bounds, came {came}; look at the model server's log and at what it serves",
            _RETRY_AFTER_MS,
        )
