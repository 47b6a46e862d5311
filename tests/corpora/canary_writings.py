"""Finds values in bytes, however they are written there: plain, in any case, base64, hexadecimal, percent, escapes of JSON and HTML, UTF-16."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote

import polars as pl

_BACKSLASHES: Final = re.compile(rb"\\+")
#: Shorter runs of base64 hold no value.
_RUN: Final = re.compile(rb"[A-Za-z0-9+/_-]{10,}")
_HEX_RUN: Final = re.compile(rb"[0-9A-Fa-f]{16,}")
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")


class Search:
    """Looks for many values at once.

    Args:
        values: What is looked for.
    """

    def __init__(self, values: Iterable[str]) -> None:
        self._needles = {needle.decode("latin-1"): value for value in values for needle in _written(value)}

    def found_in(self, data: bytes) -> set[str]:
        """Gives the values that stand in the bytes in any writing."""
        # Escapes within strings within strings differ only by the number of backslashes.
        data = _BACKSLASHES.sub(b"\\\\", data)
        # One byte is one character, so that what is no text is searched too.
        texts = pl.Series([part.lower().decode("latin-1") for part in (data, *_unwrapped(data))])
        hits = texts.str.extract_many(list(self._needles), overlapping=True).explode().drop_nulls().unique().to_list()
        return {self._needles[hit] for hit in hits}


def _written(value: str) -> Iterator[bytes]:
    """Its writings, in lower case, for the case of letters means nothing in them."""
    for text in {value, value.lower(), value.upper()}:
        data = text.encode()
        yield data.lower()
        yield json.dumps(text)[1:-1].encode().lower()
        yield quote(text, safe="").encode().lower()
        yield quote(text).encode().lower()
        yield "".join(f"%{byte:02x}" for byte in data).encode()
        yield text.encode("utf-16-le")[:-1].lower()  # without the last byte it stands in both orders
        yield "".join(f"\\u{ord(sign):04x}" for sign in text).encode()
        yield "".join(f"&#x{ord(sign):x};" for sign in text).encode()
        yield "".join(f"&#{ord(sign)};" for sign in text).encode()
        yield "".join(sign if sign.isalnum() or sign == " " else f"&#{ord(sign)};" for sign in text).encode().lower()
    if value.startswith("+1"):
        yield value[2:].encode()


def _unwrapped(data: bytes, layers: int = 2) -> Iterator[bytes]:
    """What runs of base64 and hexadecimal hold, wherever in them a value begins, and what is so written within it."""
    inner = []
    for run in _RUN.findall(data):
        plain = run.translate(_STANDARD)
        for start in range(4):
            whole = plain[start : start + (len(plain) - start) // 4 * 4]
            tail = plain[start + len(whole) :]
            if len(tail) > 1:
                whole += tail + b"=" * (4 - len(tail))
            inner.append(base64.b64decode(whole))
    for run in _HEX_RUN.findall(data):
        inner += [bytes.fromhex(run[start : start + (len(run) - start) // 2 * 2].decode()) for start in (0, 1)]
    if inner:
        found = b"\n".join(inner)
        yield found
        if layers > 1:
            yield from _unwrapped(found, layers - 1)
