"""The step ``tag``: asks a model for names in the leaves that ``mask`` will examine, before they are masked.

It is the one step that shows raw text to something outside of this process, so the model's server is on this machine or behind mTLS
(``models.endpoint``). What it hands on is a column of places, which ``mask`` merges with what patterns find and takes away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import ClassVar, Final

import polars as pl

from governance.pii import NAME_ENTITIES
from governance.policy import Policy, TaggerPolicy
from models.results import NameSpan, TextModels
from operators.contract import StateSpec
from operators.pii.names import Names, encoded, worth_reading
from operators.pii.recognise import readable
from operators.pii.spans import Span
from operators.pii.step import examined_leaves
from schemas.events import CONTENT, COORDINATES, NAMED
from streams.asking import Answers, AskSettings, Fate, ModelQuestions, Question
from streams.model_step import ModelStep, facts_of

MODEL: Final = "pii_tagger"
_FACTS: Final = pl.Schema({**COORDINATES, "fate": pl.String(), **NAMED})


class Tag(ModelStep[dict[str, str]]):
    """Adds ``names`` (null where policy asks for none) and ``degraded``.

    Args:
        policy: Whose leaves are read, and what is done while the model is away.
        tagger: That part of it.
        models: The model.
        settings: Bounds.
    """

    name: ClassVar[str] = "tag"
    model: ClassVar[str] = MODEL
    facts_spec: ClassVar[StateSpec] = StateSpec(1, _FACTS, "about 60 bytes x rows since the last committed snapshot")

    def __init__(self, policy: Policy, tagger: TaggerPolicy, models: TextModels, settings: AskSettings) -> None:
        super().__init__(tagger.outage.after_s)
        self._columns: Mapping[str, frozenset[str]] = {
            kind: frozenset(column for choice in tagger.leaves if kind in choice.kinds for column in choice.columns)
            for kind in {kind for choice in tagger.leaves for kind in choice.kinds}
        }
        self._reader = examined_leaves(policy)
        self._questions = ModelQuestions(MODEL, models.tag, _is_answer, tagger.outage, settings, side_of=partial(models.side, MODEL))

    def _wanted(self, batch: pl.DataFrame) -> dict[int, dict[str, str]]:
        """Gives the content in which names are looked for, by row and column."""
        wanted = {}
        for row, (kind, *contents) in enumerate(batch.select("kind", *CONTENT).iter_rows()):
            columns = self._columns.get(kind, frozenset())
            texts = {column: text for column, text in zip(CONTENT, contents, strict=True) if text is not None and column in columns}
            if texts:
                wanted[row] = texts
        return wanted

    def _decided(self, batch: pl.DataFrame, wanted: Mapping[int, Mapping[str, str]]) -> pl.DataFrame:
        """Asks for the distinct leaves and gives the facts."""
        keys = batch["agent_id"]
        leaves = {text: self._reader.examined(text) for texts in wanted.values() for text in texts.values()}
        asked = {leaf: sent for of in leaves.values() for leaf in worth_reading(of) for sent in readable([leaf])}
        places = dict.fromkeys((text, keys[row]) for row, texts in wanted.items() for text in texts.values())
        answers = self._questions.answers(Question(asked[leaf], key) for text, key in places for leaf in leaves[text] if leaf in asked)
        names: dict[tuple[str, str], Names | None] = {(text, key): _names(leaves[text], asked, key, answers) for text, key in places}
        rows: list[tuple[str | None, ...]] = []
        for row, texts in wanted.items():
            found = {column: names[text, keys[row]] for column, text in texts.items()}
            complete = {column: of for column, of in found.items() if of is not None}
            is_answered = len(complete) == len(found)
            rows.append((Fate.ANSWERED.value, encoded(complete)) if is_answered else (answers.otherwise.value, None))
        return facts_of(batch, wanted, rows, _FACTS)

    def _told(self, batch: pl.DataFrame, told: pl.DataFrame, is_degraded: pl.Series) -> pl.DataFrame:
        degraded = pl.when(is_degraded).then(pl.lit([MODEL])).cast(pl.List(pl.String)).alias("degraded")
        return batch.with_columns(told["names"], degraded)

    def _unexamined(self, rejected: pl.DataFrame) -> pl.DataFrame:
        return rejected.with_columns(pl.lit(None, dtype=pl.String).alias("agent_id"))  # ids are examined by mask, which these rows never reach


def _names(leaves: Sequence[str], asked: Mapping[str, str], key: str, answers: Answers[tuple[NameSpan, ...]]) -> Names | None:
    """Gives the names in the leaves of one text; None where a leaf has no answer."""
    found = []
    for index, leaf in enumerate(leaves):
        sent = asked.get(leaf)
        if sent is None:
            continue
        spans = answers.to(Question(sent, key))
        if spans is None:
            return None
        found += [(index, Span(span.entity, span.start, span.end, span.score)) for span in spans]
    return tuple(found)


def _is_answer(text: str, spans: Sequence[NameSpan]) -> bool:
    return all(0 <= span.start < span.end <= len(text) and span.entity in NAME_ENTITIES and 0.0 <= span.score <= 1.0 for span in spans)
