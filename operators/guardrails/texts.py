"""What one text is to the model that scores: prose out of a JSON text, without JSON's own marks.

A string leaf of at least ``ALONE_CHARS_MIN`` characters is a text of its own: a message that a conversation repeats in every event, or a page that
a tool fetches twice, is then scored once. The shorter leaves of one JSON text make one text together, a line each, in the order in which they
stand, so that an attack that is spread over fields is read in one piece. A key counts as a leaf where a space stands in it; JSON inside strings
is taken apart. Leaves without a letter say nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

#: A message or a page, not a field: at about four characters a token some twenty tokens, enough to judge by itself.
ALONE_CHARS_MIN: Final = 80

_DECODE: Final = msgspec.json.Decoder().decode
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def texts_of(content: str) -> list[str]:
    """Gives the texts of a content column's JSON text, each once.

    Args:
        content: A JSON text after ``mask``: no object in it has a key twice, its depth is bounded.

    Example:
        >>> texts_of('{"id": 7, "city": "Oslo", "note": "short", "page": "' + "long " * 20 + '"}')[1]
        'Oslo\\nshort'
    """
    texts: dict[str, None] = {}
    short: list[str] = []
    for leaf in _leaves(_parsed(content)):
        if len(leaf) >= ALONE_CHARS_MIN:
            texts[_readable(leaf)] = None
        else:
            short.append(leaf)
    if short:
        texts[_readable("\n".join(short))] = None
    return list(texts)


def _leaves(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        inner = _parsed(node) if node.lstrip()[:1] in ("{", "[") else None
        if isinstance(inner, dict | list):
            yield from _leaves(inner)
        elif any(map(str.isalpha, node)):
            yield node
    elif isinstance(node, dict):
        for key, value in node.items():
            if " " in key:
                yield key
            yield from _leaves(value)
    elif isinstance(node, list):
        for item in node:
            yield from _leaves(item)


def _parsed(text: str) -> Any:
    """Gives a JSON text as objects; text that is no JSON as itself."""
    try:
        return _DECODE(text)
    except (msgspec.DecodeError, UnicodeError):
        pass
    try:
        return json.loads(text, parse_int=lambda _: 0, parse_float=lambda _: 0)  # numbers of any size, and lone surrogates
    except ValueError:
        return text


def _readable(text: str) -> str:
    """A lone surrogate cannot be sent: it is read as U+FFFD."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)
