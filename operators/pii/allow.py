"""Values that a policy leaves as they are, although a recogniser finds them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import regex

from governance.pii import Allowed
from operators.pii.spans import Span

#: Seconds a pattern may take on one value; a value on which it does not finish is not allowed.
_TIMEOUT_S: Final = 0.2
_FLAGS: Final = regex.IGNORECASE | regex.MULTILINE | regex.DOTALL


class AllowList:
    """Says which values are allowed.

    Args:
        entries: As the policy names them.

    Example:
        >>> support = AllowList([Allowed(texts=("help@example.com",), entities=("EMAIL_ADDRESS",))])
        >>> support.allows("EMAIL_ADDRESS", "help@example.com"), support.allows("EMAIL_ADDRESS", "mia@example.com")
        (True, False)
    """

    def __init__(self, entries: Iterable[Allowed]) -> None:
        self._entries = [
            (frozenset(entry.texts), [regex.compile(pattern, _FLAGS) for pattern in entry.patterns], frozenset(entry.entities)) for entry in entries
        ]

    def allows(self, entity: str, value: str) -> bool:
        """Whether a whole value that was found as an entity is allowed."""
        return any(
            (not entities or entity in entities) and (value in texts or any(_matches(pattern, value) for pattern in patterns))
            for texts, patterns, entities in self._entries
        )

    def without(self, text: str, spans: Sequence[Span]) -> Sequence[Span]:
        """Gives the spans of a text that are not allowed; what lies inside an allowed span is a part of an allowed value."""
        if not self._entries:
            return spans
        left = [(span.start, span.end) for span in spans if self.allows(span.entity, text[span.start : span.end])]
        if not left:
            return spans
        return [span for span in spans if not any(start <= span.start and span.end <= end for start, end in left)]


def _matches(pattern: regex.Pattern[str], value: str) -> bool:
    try:
        return pattern.fullmatch(value, timeout=_TIMEOUT_S) is not None
    except TimeoutError:
        return False


NOTHING_ALLOWED: Final = AllowList(())
