"""How many rows the next poll takes: so many that the steps beside the source are done with them in a stated time.

Without models a full batch takes milliseconds, and this says nothing. A model on a CPU takes milliseconds a text: then a full batch would hold up
snapshots, lanes and a stop for minutes.
"""

from __future__ import annotations

from typing import Final

_ROWS_MIN: Final = 8
_GROWTH_MAX: Final = 2


class Pacing:
    """The size of polls of one source lane.

    Args:
        rows_max: Rows of one poll at most.
        target_s: How long the steps beside the source should take for one poll, in seconds.
    """

    def __init__(self, rows_max: int, target_s: float) -> None:
        self._rows_max = rows_max
        self._target_s = target_s
        self._rows = rows_max

    @property
    def rows(self) -> int:
        """Rows that the next poll should take at most."""
        return self._rows

    def took(self, rows: int, seconds: float) -> None:
        """Learns how long a poll of so many rows took: one that took too long shrinks the next; a full one that did not lets it grow."""
        if seconds > self._target_s:
            self._rows = max(int(rows * self._target_s / seconds), min(_ROWS_MIN, self._rows_max))
        elif rows >= self._rows:
            reached = int(rows * self._target_s / max(seconds, 1e-9))
            self._rows = min(max(reached, self._rows), self._rows * _GROWTH_MAX, self._rows_max)
