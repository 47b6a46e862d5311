"""Finds names of files whose type is not among those allowed."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from governance.file_endings import FILE_ENDINGS

#: What may be the name of a file: a name, a dot, an ending, and nothing that goes on with it.
FILE_NAME: Final = r"[\w)\]-]\.[a-z0-9]{1,16}(?:$|[^\w./\\-]|\.(?:$|\s))"

_NAME: Final = re.compile(r"[\w)\]-]\.([a-z0-9]{1,16})(?=$|[^\w./\\-]|\.(?:$|\s))", re.IGNORECASE | re.MULTILINE)
#: What a path or an address reaches back over; longer ones are cut, and then stand in a path anyway.
_BEFORE_CHARS_MAX: Final = 1_024
_BREAK: Final = re.compile(r"[\s\"'`<>|,;(){}=]")
_SCHEME: Final = re.compile(r"^[a-z][a-z0-9+.-]{0,30}:[/\\]{2}", re.IGNORECASE)


class FileFinder:
    """Finds file names that have another ending than the allowed ones.

    A name counts where it stands in a path (also that of a URL), or where its ending is a known one. A host is no file.

    Args:
        allowed: Endings in lower case, without the dot.

    Example:
        >>> find = FileFinder(["pdf"])
        >>> [bool(find(text)) for text in ("a/report.pdf", "run setup.sh", "C:\\\\tmp\\\\x.odd", "https://example.com", "mia@example.pl", "v1.2")]
        [False, True, True, False, False, False]
    """

    def __init__(self, allowed: Collection[str]) -> None:
        self._allowed = frozenset(allowed)

    def __call__(self, text: str) -> list[tuple[int, int]]:
        """Gives the places of the endings in a folded text."""
        return [(found.start(1) - 1, found.end(1)) for found in _NAME.finditer(text) if self._is_forbidden(text, found)]

    def _is_forbidden(self, text: str, found: re.Match[str]) -> bool:
        ending = found[1].lower()
        if ending in self._allowed or ending.isdigit():
            return False
        before = text[max(0, found.start() - _BEFORE_CHARS_MAX) : found.start()]
        broken = [one.end() for one in _BREAK.finditer(before)]
        before = before[broken[-1] :] if broken else before
        scheme = _SCHEME.match(before)
        path = before[scheme.end() :] if scheme is not None else before
        if "/" in path or "\\" in path:
            return True
        return scheme is None and "@" not in path and ending in FILE_ENDINGS
