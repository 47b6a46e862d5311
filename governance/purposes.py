"""Purposes for which what was masked may be read again."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

#: What a purpose is called.
PURPOSE_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")


@dataclass(frozen=True, slots=True)
class Purpose:
    """One purpose that ``headrace reveal`` takes.

    Attributes:
        name: As it stands on the command line and in the record of reveals.
        description: One sentence for people.
        entities: Entities that may be revealed for it; None for all.
    """

    name: str
    description: str
    entities: tuple[str, ...] | None = None

    def covers(self, entity: str) -> bool:
        """Tells whether an entity may be revealed for it."""
        return self.entities is None or entity in self.entities
