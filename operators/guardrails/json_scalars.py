"""The scalars of a JSON text by where they stand in it, so that one can be replaced and the rest stays as it was written."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final

_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Scalar:
    """A string, number or constant; a key where ``is_key`` says so.

    Attributes:
        path: Where it stands, as a JSON pointer (RFC 6901).
        start: Index of its first character in the JSON text.
        end: Index behind its last.
        written: How it is written.
        is_key: Whether it is a key; its path is then that of the object.
    """

    path: str
    start: int
    end: int
    written: str
    is_key: bool = False

    @property
    def text(self) -> str:
        """A string without quotes and escapes, anything else as it is written."""
        return str(json.loads(self.written)) if self.written.startswith('"') else self.written


def scalars(text: str) -> list[Scalar]:
    """Gives the keys and scalars of a JSON text in their order.

    Args:
        text: A JSON text. What is not JSON gives ValueError, IndexError or scalars that mean nothing.

    Example:
        >>> [(scalar.path, scalar.text) for scalar in scalars('{"to": ["a", 7], "x/y": "b"}') if not scalar.is_key]
        [('/to/0', 'a'), ('/to/1', '7'), ('/x~1y', 'b')]
    """
    found: list[Scalar] = []
    path: list[int | str] = []  # where the reading is: an index for each array, a key for each object
    at_key = False
    for token in _TOKEN.finditer(text):
        written = token.group()
        if written in "[{":
            path.append(0 if written == "[" else "")
            at_key = written == "{"
        elif written in "]}":
            path.pop()
            at_key = False
        elif written == ",":
            last = path[-1]
            at_key = isinstance(last, str)
            path[-1] = "" if isinstance(last, str) else last + 1
        elif at_key:
            found.append(Scalar(_pointer(path[:-1]), token.start(), token.end(), written, is_key=True))
            path[-1] = str(json.loads(written))
            at_key = False
        elif written != ":":
            found.append(Scalar(_pointer(path), token.start(), token.end(), written))
    return found


def _pointer(path: list[int | str]) -> str:
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)
