"""Erase: events of persons who were erased do not go on."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import polars as pl

from operators.contract import Outcome, dead_rows

#: Reason of filtering.
ERASED: Final = "erased"
REASON: Final = "the event is of a person who was erased"


class Erase:
    """Leaves out the events of erased persons: filtered with the code ``erased``, counted, published nowhere.

    Stands right behind ``mask``, which makes the hash by which persons are known; so nothing of an erased person is scored, judged, counted or
    written, in a replay of old records neither.

    Shapes: rows of EVENT and MASKED; those of them whose ``user_id`` is not among the erased.

    Args:
        persons: Hashes that stand for the user ids of erased persons.
    """

    name: Final = "erase"

    def __init__(self, persons: Collection[str]) -> None:
        self._persons = pl.Series("persons", sorted(persons), dtype=pl.String)

    def __call__(self, batch: pl.DataFrame) -> Outcome:
        """Maps one batch; free where nobody was erased."""
        if self._persons.is_empty():
            return Outcome(batch)
        erased = batch["user_id"].is_in(self._persons.implode()).fill_null(False)
        if not erased.any():
            return Outcome(batch)
        gone = dead_rows(batch.filter(erased), step=self.name, disposition="filtered", code=ERASED, reason=REASON)
        return Outcome(batch.filter(~erased), dead=gone)
