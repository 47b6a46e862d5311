"""Which events must be points of the vector collection, told a second time: the strings of the columns named, with enough beside placeholders."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

_PLACEHOLDER: Final = re.compile(r"<[A-Z_]+(?::[a-p]{12})?>")


@dataclass(frozen=True, slots=True)
class Choice:
    """Of the configuration: columns by kind of event, and the least and most characters of a text."""

    columns: Mapping[str, tuple[str, ...]]
    chars_min: int
    chars_max: int


def is_chosen(kind: str, content: Mapping[str, Any], choice: Choice) -> bool:
    """Tells whether an event with this published content becomes a point."""
    chars = size = 0
    for column in choice.columns.get(kind, ()):
        for key, text in _strings(content.get(column), None):
            chars += len(_PLACEHOLDER.sub("", text).strip())
            size += len(text) + 1 + (0 if key is None else len(key) + 2)
            if size > choice.chars_max:
                return chars >= choice.chars_min
    return chars >= choice.chars_min


def point_id(event: str) -> str:
    """Gives the id of an event's point: its 32 hex digits with dashes."""
    return "-".join((event[:8], event[8:12], event[12:16], event[16:20], event[20:]))


def _strings(node: Any, key: str | None) -> Iterator[tuple[str | None, str]]:
    if isinstance(node, str):
        if node.strip():
            yield key, node
    elif isinstance(node, dict):
        for name, one in node.items():
            yield from _strings(one, name)
    elif isinstance(node, list):
        for one in node:
            yield from _strings(one, key)
