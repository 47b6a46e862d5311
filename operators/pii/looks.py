"""What one event says to look for in its own texts: the id of its user, a name that stands there in parts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from operators.pii.spans import Span

_PATTERNS_COUNT_MAX: Final = 1_024


class Look(NamedTuple):
    """One thing that is looked for.

    Attributes:
        entity: What it is.
        expression: How it is written: an expression of ``re``. Whole words only, in any case.
        recogniser: What says so.
    """

    entity: str
    expression: str
    recogniser: str


Looks = tuple[Look, ...]
NO_LOOKS: Final[Looks] = ()


def looked_up(leaves: Sequence[str], looks: Iterable[Look]) -> list[tuple[int, Span]]:
    """Gives where it stands: the index of the leaf, and the span in it.

    Example:
        >>> looked_up(["of Mia Li"], [Look("PERSON", "mia li", "SplitValues")])
        [(0, Span(entity='PERSON', start=3, end=9, score=1.0, recogniser='SplitValues'))]
    """
    patterns = [(look, _bounded(look.expression)) for look in looks]
    return [
        (index, Span(look.entity, *match.span(), 1.0, look.recogniser))
        for index, leaf in enumerate(leaves)
        for look, pattern in patterns
        for match in pattern.finditer(leaf)
    ]


@lru_cache(maxsize=_PATTERNS_COUNT_MAX)
def _bounded(expression: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![^\W_]){expression}(?![^\W_])", re.IGNORECASE)
