"""A step that asks a model about a batch: what is known stays as it was, the rest is decided once and recorded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, TypeVar

import polars as pl

from operators.contract import Outcome, StateSpec, dead_rows
from schemas.errors import ModelUnavailable
from schemas.events import COORDINATES
from streams.asking import Fate
from streams.facts import Facts, LastFacts, about, places_of

Wanted = TypeVar("Wanted")


class ModelStep(ABC, Generic[Wanted]):
    """One thread at a time. Facts for telemetry: ``("degraded_events", <model>)``. Dead letters: ``model_unavailable``.

    Args:
        after_s: How long policy waits before it does without the model.
    """

    name: ClassVar[str]
    model: ClassVar[str]
    facts_spec: ClassVar[StateSpec]

    def __init__(self, after_s: int) -> None:
        self._after_s = after_s
        self._facts: Facts = LastFacts(self.facts_spec)

    def keep_in(self, facts: Facts) -> None:
        """Says where facts are kept; before the first batch."""
        self._facts = facts

    def __call__(self, batch: pl.DataFrame) -> Outcome:
        """Reads one batch; raises RetryableError while the model is away and policy waits."""
        wanted = self._wanted(batch)
        places = places_of(batch, wanted)
        known = self._facts.known(places)
        new = wanted if not known.height else _without(wanted, places, known)
        fresh = self._decided(batch, new)
        self._facts.record(fresh)
        return self._applied(batch, pl.concat([known, fresh]))

    @abstractmethod
    def _wanted(self, batch: pl.DataFrame) -> dict[int, Wanted]:
        """Gives what the model is to read, by row."""

    @abstractmethod
    def _decided(self, batch: pl.DataFrame, wanted: Mapping[int, Wanted]) -> pl.DataFrame:
        """Asks, and gives the facts of these rows."""

    @abstractmethod
    def _told(self, batch: pl.DataFrame, told: pl.DataFrame, is_degraded: pl.Series) -> pl.DataFrame:
        """Gives the batch with what was found, row by row, and with the mark of those that did without."""

    def _unexamined(self, rejected: pl.DataFrame) -> pl.DataFrame:
        """Gives rejected rows without what nobody may see; a step behind ``mask`` has nothing to take away."""
        return rejected

    def _applied(self, batch: pl.DataFrame, facts: pl.DataFrame) -> Outcome:
        told = about(batch, facts)
        is_degraded, is_rejected = ((told["fate"] == fate.value).fill_null(False) for fate in (Fate.DEGRADED, Fate.REJECTED))
        read = self._told(batch, told, is_degraded)
        counts = {("degraded_events", self.model): is_degraded.to_list().count(True)} if is_degraded.any() else {}
        if not is_rejected.any():
            return Outcome(read, facts=counts)
        rejected = self._unexamined(read.filter(is_rejected))
        reason = _unavailable(self.model, self._after_s)
        dead = dead_rows(rejected, step=self.name, disposition="dead", code=ModelUnavailable.code, reason=reason)
        return Outcome(read.filter(~is_rejected), dead=dead, facts=counts)


def facts_of(batch: pl.DataFrame, wanted: Mapping[int, Any], rows: list[tuple[Any, ...]], schema: pl.Schema) -> pl.DataFrame:
    """Gives facts of these rows of a batch: their coordinates, and what stands in ``rows``, fate first."""
    columns = {name: dtype for name, dtype in schema.items() if name not in COORDINATES}
    told = pl.DataFrame(rows, schema=columns, orient="row")
    return pl.concat([places_of(batch, wanted), told], how="horizontal").cast(schema)


def _unavailable(model: str, after_s: int) -> str:
    """Gives the reason of a dead letter: the same in every life of the run."""
    return f"model {model}: policy requires it for this record and waits {after_s} s, it was away for longer; bring it back and send the record again"


def _without(wanted: Mapping[int, Wanted], places: pl.DataFrame, known: pl.DataFrame) -> dict[int, Wanted]:
    """Gives the wanted rows that are not known."""
    seen = set(known.select(*COORDINATES).iter_rows())
    return {row: texts for (row, texts), place in zip(wanted.items(), places.iter_rows(), strict=True) if place not in seen}
