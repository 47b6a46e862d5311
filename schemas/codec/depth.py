"""How deep a JSON text is nested, found without a recursive parser and without building anything."""

from __future__ import annotations

import re
from typing import Final

from schemas.errors import JsonInvalid, NestingTooDeep

#: A JSON string with its quotes. Possessive, so that it is linear on hostile text.
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_NOT_BRACKETS: Final = bytes(code for code in range(256) if code not in b"[]{}")
_ONE_KIND: Final = bytes.maketrans(b"[]{}", b"()()")


def check_nesting(text: bytes, depth_max: int) -> None:
    """Passes a JSON text whose brackets outside strings nest at most ``depth_max`` deep.

    Cost: two counts for nearly every record; for one with more brackets than ``depth_max``, at most that many linear passes over brackets alone.

    Raises:
        NestingTooDeep: Nested deeper.
        JsonInvalid: The brackets do not balance.
    """
    if text.count(b"[") + text.count(b"{") <= depth_max:
        return
    brackets = _STRING.sub(b"", text).translate(_ONE_KIND, _NOT_BRACKETS)
    for _ in range(depth_max):
        # One pass removes the innermost level everywhere, so the number of passes that reach nothing is the depth.
        inner = brackets.replace(b"()", b"")
        if len(inner) == len(brackets):
            break
        brackets = inner
    if b"()" in brackets:
        raise NestingTooDeep(f"record: want JSON nested at most {depth_max} deep, got deeper; send the inner part as a string")
    if brackets:
        raise JsonInvalid("record: want JSON, got brackets that do not balance; send one whole JSON object")
