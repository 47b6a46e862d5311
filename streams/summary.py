"""What became of a run's records: the counts every engine reports when it stops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RunSummary:
    """Counts of one run, by record and not by batch.

    Attributes:
        rows_in: Records read from the input.
        dead: Dead letters, by code.
        filtered: Records left out on purpose, by reason (``duplicate``).
        outputs: Records written, by output topic; without rows that a replay left out because they were there before.
    """

    rows_in: int
    dead: Mapping[str, int] = field(default_factory=dict)
    filtered: Mapping[str, int] = field(default_factory=dict)
    outputs: Mapping[str, int] = field(default_factory=dict)

    @property
    def passed(self) -> int:
        """Records that went the whole way: in less dead less filtered."""
        return self.rows_in - sum(self.dead.values()) - sum(self.filtered.values())
