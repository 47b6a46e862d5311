"""A named regular expression, as recognisers and rules are written with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PatternSpec:
    """One named regular expression.

    Attributes:
        name: Says what it finds; shown in reports.
        regex: The expression; case is ignored unless it says ``(?-i:...)``.
        score: 0 to 1, how sure a match is. As a recogniser: below the threshold it needs a context word. Rules do not look at it.
    """

    name: str
    regex: str
    score: float = 1.0
