"""The balance of a lane: every record that entered it has left it, as an event, as a dead letter or left out with a reason.

A source lane tells with each batch how many records of each topic it has ever given to the lane; the lane counts what it has put out. Batches come in
order, so after a fold both must be equal, whatever is still in flight. Both belong to the snapshot: the balance holds over restarts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

import polars as pl

SIDES: Final = ("passed", "dead", "filtered")


@dataclass(slots=True)
class Balance:
    """What entered a lane and what left it.

    Attributes:
        entered: Records ever given to the lane, by source lane and topic.
        left: Records that left it, by topic and side.
    """

    entered: dict[tuple[int, str], int] = field(default_factory=dict)
    left: Counter[tuple[str, str]] = field(default_factory=Counter)

    def enter(self, source: int, counts: Mapping[str, int]) -> None:
        """Takes in how many records of each topic a source lane has given so far."""
        for topic, count in counts.items():
            self.entered[source, topic] = max(count, self.entered.get((source, topic), 0))

    def leave(self, side: str, rows: pl.DataFrame | None) -> None:
        """Counts rows as out, by their topic."""
        if rows is not None and rows.height:
            for topic, count in rows.group_by("topic").len().iter_rows():
                self.left[topic, side] += count

    def sums(self) -> dict[tuple[str, str], int]:
        """Gives the records by topic and side, ``in`` among the sides."""
        sums = Counter(dict(self.left))
        for (_, topic), count in self.entered.items():
            sums[topic, "in"] += count
        return dict(sums)

    def unaccounted(self) -> dict[str, int]:
        """Gives by topic how many records entered and did not leave; below zero where more left than entered."""
        sums = self.sums()
        topics = {topic for topic, _ in sums}
        return {topic: sums.get((topic, "in"), 0) - sum(sums.get((topic, side), 0) for side in SIDES) for topic in topics}

    def to_rows(self) -> list[list[Any]]:
        """Gives the balance for a snapshot."""
        return [["in", source, topic, count] for (source, topic), count in sorted(self.entered.items())] + [
            [side, None, topic, count] for (topic, side), count in sorted(self.left.items())
        ]

    @classmethod
    def from_rows(cls, rows: Iterable[Iterable[Any]]) -> Self:
        """Reads what ``to_rows`` gave."""
        made = cls()
        for side, source, topic, count in rows:
            if side == "in":
                made.entered[source, topic] = count
            else:
                made.left[topic, side] = count
        return made
