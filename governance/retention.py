"""Retention as a value: how long what is stored is kept, and for which purpose, by data class and by place."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from governance.data_classes import DataClass


class Kind(StrEnum):
    """Kinds of place that retention is applied to."""

    TABLE = "tables"
    TOPIC = "topics"
    COLLECTION = "collections"
    FILE = "files"


@dataclass(frozen=True, slots=True)
class Keep:
    """How long something is kept.

    Attributes:
        days: Age by event time at which it goes.
        purpose: What it is kept for, in words.
    """

    days: int
    purpose: str


@dataclass(frozen=True, slots=True)
class Retention:
    """How long everything is kept.

    Attributes:
        classes: By data class: for places that are not named, by the strictest class among their fields.
        places: By kind and name.
    """

    classes: tuple[tuple[DataClass, Keep], ...] = ()
    places: tuple[tuple[Kind, str, Keep], ...] = ()

    def of(self, kind: Kind, name: str, strictest: DataClass | None) -> Keep | None:
        """Gives how long a place is kept; None where policy says nothing of it.

        Args:
            kind: What it is.
            name: Its name, without the prefix of a deployment.
            strictest: The strictest data class among its fields; None asks only for what names the place.
        """
        named = next((keep for of_kind, of_name, keep in self.places if (of_kind, of_name) == (kind, name)), None)
        return named or (None if strictest is None else dict(self.classes).get(strictest))


#: A policy without the section: nothing is removed.
KEEP_ALL: Final = Retention()
