"""The step ``score``: asks a model how masked texts look: injection, jailbreak, toxicity. Scores are columns, in whole parts per million.

Untrusted text is scored in every event, the rest in a sample that follows from the event's id. An event's score is the largest over its texts
(``operators.guardrails.texts``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import ClassVar, Final

import polars as pl

from governance.policy import PPM, GuardPolicy
from governance.rules import KINDS, SCORE_LABELS
from models.results import GuardScores, TextModels
from operators.contract import StateSpec
from operators.guardrails.texts import texts_of
from schemas.events import CONTENT, COORDINATES, SCORED
from streams.asking import AskSettings, Fate, ModelQuestions, Question
from streams.model_step import ModelStep, facts_of

MODEL: Final = "guard"
_PPM: Final = tuple(f"{label}_ppm" for label in SCORE_LABELS)
_SCORES: Final = {name: dtype for name, dtype in SCORED.items() if name != "degraded"}
_FACTS: Final = pl.Schema({**COORDINATES, "fate": pl.String(), **_SCORES})
#: Hex digits of the event's id from which the sample is drawn: the id is a digest, so any of them are even.
_SAMPLE_DIGITS: Final = 12


class Score(ModelStep[list[str]]):
    """Fills the columns of SCORED that ``mask`` made.

    Args:
        guard: Which texts are scored, and what is done while the model is away.
        models: The model.
        settings: Bounds.
    """

    name: ClassVar[str] = "score"
    model: ClassVar[str] = MODEL
    facts_spec: ClassVar[StateSpec] = StateSpec(1, _FACTS, "about 80 bytes x rows since the last committed snapshot")

    def __init__(self, guard: GuardPolicy, models: TextModels, settings: AskSettings) -> None:
        super().__init__(guard.outage.after_s)
        self._always: Mapping[str, frozenset[str]] = {
            kind: frozenset(column for choice in guard.always if kind in choice.kinds for column in choice.columns) for kind in KINDS
        }
        self._sampled_ppm = guard.sampled_ppm
        self._questions = ModelQuestions(MODEL, models.guard, _is_answer, guard.outage, settings, side_of=partial(models.side, MODEL))

    def _wanted(self, batch: pl.DataFrame) -> dict[int, list[str]]:
        """Gives the texts to score, by row."""
        digest = pl.col("event_uid").str.slice(0, _SAMPLE_DIGITS).str.to_integer(base=16, dtype=pl.Int64)
        sampled = batch.select((digest % PPM < self._sampled_ppm).fill_null(False).alias("sampled")).to_series()
        texts: dict[str, list[str]] = {}
        wanted = {}
        for row, (is_sampled, kind, *contents) in enumerate(batch.select(sampled, "kind", *CONTENT).iter_rows()):
            columns = CONTENT if is_sampled else self._always.get(kind, frozenset())
            found: dict[str, None] = {}
            for column, content in zip(CONTENT, contents, strict=True):
                if content is not None and column in columns:
                    if content not in texts:
                        texts[content] = texts_of(content)
                    found |= dict.fromkeys(texts[content])
            if found:
                wanted[row] = list(found)
        return wanted

    def _decided(self, batch: pl.DataFrame, wanted: Mapping[int, Sequence[str]]) -> pl.DataFrame:
        """Asks for the distinct texts and gives the facts."""
        keys = batch["agent_id"]
        asked = {row: [Question(text, keys[row]) for text in texts] for row, texts in wanted.items()}
        answers = self._questions.answers(question for questions in asked.values() for question in questions)
        rows: list[tuple[str | int | None, ...]] = []
        for questions in asked.values():
            scores = [score for question in questions if (score := answers.to(question)) is not None]
            if len(scores) == len(questions):
                rows.append((Fate.ANSWERED.value, *_largest(scores), _scored_by(scores)))
            else:
                rows.append((answers.otherwise.value, *[None] * len(_SCORES)))
        return facts_of(batch, wanted, rows, _FACTS)

    def _told(self, batch: pl.DataFrame, told: pl.DataFrame, is_degraded: pl.Series) -> pl.DataFrame:
        degraded = pl.when(is_degraded).then(pl.concat_list(pl.col("degraded").fill_null([]), pl.lit([MODEL]))).otherwise(pl.col("degraded"))
        return batch.with_columns(*told.select(*_SCORES), degraded.alias("degraded") if is_degraded.any() else pl.col("degraded"))


def _largest(scores: Iterable[GuardScores]) -> list[int]:
    return [round(max(of) * PPM) for of in zip(*((one.injection, one.jailbreak, one.toxicity) for one in scores), strict=True)]


def _scored_by(scores: Iterable[GuardScores]) -> str:
    """Gives model and version; both versions where one took over from the other between two texts."""
    versions = sorted({score.version for score in scores} - {""})
    return f"{MODEL}/{'+'.join(versions)}" if versions else MODEL


def _is_answer(_text: str, scores: GuardScores) -> bool:
    return all(0.0 <= score <= 1.0 for score in (scores.injection, scores.jailbreak, scores.toxicity))
