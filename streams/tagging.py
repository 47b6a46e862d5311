"""The step ``tag``: asks a model for names in the leaves that ``mask`` will examine, before they are masked.

It is the one step that shows raw text to something outside of this process, so the model's server is on this machine or behind mTLS
(``models.endpoint``). What it hands on is a column of places, which ``mask`` merges with what patterns find and takes away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

import polars as pl

from governance.policy import NAME_ENTITIES, Policy, TaggerPolicy
from models.results import NameSpan, TextModels
from operators.contract import NO_DEAD, Outcome, StateSpec, dead_rows
from operators.pii.names import Names, encoded, worth_reading
from operators.pii.recognise import readable
from operators.pii.spans import Span
from operators.pii.step import examined_leaves
from schemas.errors import ModelUnavailable
from schemas.events import CONTENT, COORDINATES, NAMED
from streams.asking import AskSettings, Fate, ModelQuestions
from streams.facts import Facts, LastFacts, about, places_of

Wanted = TypeVar("Wanted")

MODEL: Final = "pii_tagger"
_FACTS: Final = pl.Schema({**COORDINATES, "fate": pl.String(), **NAMED})


class Tag:
    """Adds ``names`` (null where policy asks for none) and ``degraded``; one thread at a time.

    Facts for telemetry: ``("degraded_events", "pii_tagger")``. Dead letters: ``model_unavailable``.

    Args:
        policy: Whose leaves are read, and what is done while the model is away.
        tagger: That part of it.
        models: The model.
        settings: Bounds.
    """

    name: Final = "tag"
    facts_spec: Final = StateSpec(1, _FACTS, "about 60 bytes x rows since the last committed snapshot")

    def __init__(self, policy: Policy, tagger: TaggerPolicy, models: TextModels, settings: AskSettings) -> None:
        self._columns: Mapping[str, frozenset[str]] = {
            kind: frozenset(column for choice in tagger.leaves if kind in choice.kinds for column in choice.columns)
            for kind in {kind for choice in tagger.leaves for kind in choice.kinds}
        }
        self._after_s = tagger.outage.after_s
        self._reader = examined_leaves(policy)
        self._questions = ModelQuestions(MODEL, models.tag, _is_answer, tagger.outage, settings)
        self._facts: Facts = LastFacts(self.facts_spec)

    def keep_in(self, facts: Facts) -> None:
        """Says where facts are kept; before the first batch."""
        self._facts = facts

    def __call__(self, batch: pl.DataFrame) -> Outcome:
        """Tags one batch; raises RetryableError while the model is away and policy waits."""
        wanted = self._wanted(batch)
        places = places_of(batch, wanted)
        known = self._facts.known(places)
        new = wanted if not known.height else without(wanted, places, known)
        fresh = self._decided(batch, new)
        self._facts.record(fresh)
        return self._applied(batch, pl.concat([known, fresh]))

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
        leaves = {text: self._reader.examined(text) for texts in wanted.values() for text in texts.values()}
        asked = {leaf: sent for of in leaves.values() for leaf in worth_reading(of) for sent in readable([leaf])}
        answers = self._questions.answers(asked.values())
        names: dict[str, Names | None] = {text: _names(of, asked, answers.by_text) for text, of in leaves.items()}
        rows = []
        for texts in wanted.values():
            found = {column: names[text] for column, text in texts.items()}
            complete = {column: of for column, of in found.items() if of is not None}
            is_answered = len(complete) == len(found)
            rows.append((Fate.ANSWERED.value, encoded(complete)) if is_answered else (answers.otherwise.value, None))
        told = pl.DataFrame(rows, schema={"fate": pl.String, **NAMED}, orient="row")
        return pl.concat([places_of(batch, wanted), told], how="horizontal").cast(_FACTS)

    def _applied(self, batch: pl.DataFrame, facts: pl.DataFrame) -> Outcome:
        told = about(batch, facts)
        is_degraded, is_rejected = (told["fate"] == fate.value for fate in (Fate.DEGRADED, Fate.REJECTED))
        tagged = batch.with_columns(told["names"], degraded_by(MODEL, is_degraded))
        counts = {("degraded_events", MODEL): is_degraded.fill_null(False).to_list().count(True)} if is_degraded.any() else {}
        if not is_rejected.any():
            return Outcome(tagged, facts=counts)
        # The ids were not examined: they stay behind.
        dead = tagged.filter(is_rejected).with_columns(pl.lit(None, dtype=pl.String).alias("agent_id"))
        reason = unavailable(MODEL, self._after_s)
        rejected = dead_rows(dead, step=self.name, disposition="dead", code=ModelUnavailable.code, reason=reason)
        return Outcome(tagged.filter(~is_rejected.fill_null(False)), dead=rejected if rejected.height else NO_DEAD, facts=counts)


def degraded_by(model: str, is_degraded: pl.Series) -> pl.Series:
    """Gives the column ``degraded`` for events that did without a model."""
    return pl.select(pl.when(is_degraded.fill_null(False)).then(pl.lit([model])).alias("degraded").cast(pl.List(pl.String))).to_series()


def unavailable(model: str, after_s: int) -> str:
    """Gives the reason of a dead letter: the same in every life of the run."""
    return f"model {model}: policy requires it for this record and waits {after_s} s, it was away for longer; bring it back and send the record again"


def without(wanted: Mapping[int, Wanted], places: pl.DataFrame, known: pl.DataFrame) -> dict[int, Wanted]:
    """Gives the wanted rows that are not known."""
    seen = set(known.select(*COORDINATES).iter_rows())
    return {row: texts for (row, texts), place in zip(wanted.items(), places.iter_rows(), strict=True) if place not in seen}


def _names(leaves: Sequence[str], asked: Mapping[str, str], answers: Mapping[str, Sequence[NameSpan]]) -> Names | None:
    """Gives the names in the leaves of one text; None where a leaf has no answer."""
    found = []
    for index, leaf in enumerate(leaves):
        sent = asked.get(leaf)
        if sent is None:
            continue
        spans = answers.get(sent)
        if spans is None:
            return None
        found += [(index, Span(span.entity, span.start, span.end, span.score)) for span in spans]
    return tuple(found)


def _is_answer(text: str, spans: Sequence[NameSpan]) -> bool:
    return all(0 <= span.start < span.end <= len(text) and span.entity in NAME_ENTITIES and 0.0 <= span.score <= 1.0 for span in spans)
