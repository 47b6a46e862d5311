"""Texts as they read once their escapes are undone, with the way back to where each character stands.

Percent-encoding, HTML and JavaScript escapes, and base64 that decodes to text, in one another too. What is found in the decoded text is replaced in
the raw one: an escape is replaced whole, and so is a base64 value.
"""

from __future__ import annotations

import html
import re
from base64 import b64decode, b64encode
from binascii import Error
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import hyperscan

from operators.multipattern import CompiledStore, multipattern

#: Escapes within escapes are undone so many times; what is wrapped more often is searched as it is then.
LAYERS_MAX: Final = 4
#: Shorter ones hold no address or number: ``a@b.co`` alone takes eight.
BASE64_CHARS_MIN: Final = 12
#: A text and what it decodes to, all layers together, may have so many characters; beyond it inner layers stay as they are.
_DECODED_CHARS_MAX: Final = 8 * 1024 * 1024

#: By the number of its hint: how each kind of escape is written.
_KINDS: Final = {
    0: r"%[0-7][0-9A-Fa-f]|(?:%[89A-Fa-f][0-9A-Fa-f])+",
    1: r"&(?:\#[0-9]{1,7}|\#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});",
    2: r"\\u[dD][89abAB][0-9A-Fa-f]{2}\\u[dD][c-fC-F][0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}",
    3: rf"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{{{BASE64_CHARS_MIN},}}={{0,2}}",
}
#: Three bytes of ASCII that are no control characters, in base64: of the four letters the first three can only be some of the 64.
_ASCII_IN_BASE64: Final = rb"[CDI-Za-f][A-HQ-Xg-nw-z0-3][ABEFIJMNQRUVYZcdghklopstwx014589][A-Za-z0-9+/_-]"
_HINTS: Final = {
    0: rb"%[0-9A-Fa-f]{2}",
    1: rb"&(?:#[0-9xX]|[A-Za-z][A-Za-z0-9]{1,30};)",
    2: rb"\\(?:u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2})",
    3: rb"(?:%b){3}" % _ASCII_IN_BASE64,
}
_STANDARD: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}").fullmatch
_URL_SAFE: Final = re.compile(r"[A-Za-z0-9_-]+={0,2}").fullmatch
_RESERVED: Final = re.compile(r"[^A-Za-z0-9._~-]+")
_BLANKS: Final = str.maketrans("", "", "\t\n\r")


@dataclass(frozen=True, slots=True)
class Base64Text:
    """A base64 value that holds text.

    Attributes:
        text: What it decodes to.
        is_url_safe: Whether it is written with ``-`` and ``_``.
        is_padded: Whether it is filled up with ``=``.
    """

    text: str
    is_url_safe: bool
    is_padded: bool

    def again(self, text: str) -> str:
        """Gives another text in the same writing."""
        value = b64encode(text.encode("utf-8", "surrogatepass"), b"-_" if self.is_url_safe else None).decode()
        return value if self.is_padded else value.rstrip("=")


def base64_text(value: str) -> Base64Text | None:
    """Gives the text that a base64 value holds, None where it is no base64 or holds no text."""
    is_padded = value.endswith("=")
    body = value.rstrip("=")
    is_url_safe = _STANDARD(body) is None
    if len(body) < BASE64_CHARS_MIN or len(body) % 4 == 1 or (is_padded and len(value) % 4) or (is_url_safe and not _URL_SAFE(body)):
        return None
    try:
        text = b64decode(body + "=" * (-len(body) % 4), b"-_" if is_url_safe else None).decode()
    except (Error, UnicodeDecodeError):
        return None
    return Base64Text(text, is_url_safe, is_padded or len(body) % 4 == 0) if text.translate(_BLANKS).isprintable() else None


def percent_decoded(text: str) -> str:
    """Gives a percent-encoded text in plain letters."""
    decoded = decoded_once(text, (0,))
    return text if decoded is None else decoded.text


def percent_encoded(text: str) -> str:
    """Gives a text in percent-encoding: letters, digits and ``-._~`` stay (RFC 3986)."""
    return _RESERVED.sub(lambda match: "".join(f"%{byte:02X}" for byte in match.group().encode("utf-8", "surrogatepass")), text)


@dataclass(frozen=True, slots=True)
class Decoded:
    """A text after one layer of escapes was undone.

    Attributes:
        text: The decoded text.
        starts: Where each escape begins in the decoded text, in order.
        ends: Where it ends there.
        raw_starts: Where it begins in the raw text.
        raw_ends: Where it ends there.
    """

    text: str
    starts: Sequence[int]
    ends: Sequence[int]
    raw_starts: Sequence[int]
    raw_ends: Sequence[int]

    def raw(self, start: int, end: int) -> tuple[int, int]:
        """Gives where a piece of the decoded text stands in the raw text; an escape that it touches is part of it."""
        low = self._place(start, bisect_right(self.starts, start) - 1, start, self.raw_starts)
        return low, self._place(end, bisect_right(self.starts, end - 1) - 1, end - 1, self.raw_ends)

    def _place(self, offset: int, escape: int, character: int, edges: Sequence[int]) -> int:
        """An offset in the raw text: an edge of the escape where the character is of it, otherwise as far behind it as in the decoded text."""
        if escape < 0:
            return offset
        return edges[escape] if character < self.ends[escape] else self.raw_ends[escape] + offset - self.ends[escape]


def decoded_once(text: str, kinds: tuple[int, ...] = tuple(_KINDS)) -> Decoded | None:
    """Gives the text with one layer of escapes of some kinds undone, None where it has none."""
    pieces: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    raw_starts: list[int] = []
    raw_ends: list[int] = []
    position = size = 0
    for match in _escape(kinds).finditer(text):
        for raw_start, raw_end, meant in _meanings(match):
            plain = text[position:raw_start]
            size += len(plain)
            pieces += (plain, meant)
            starts.append(size)
            size += len(meant)
            ends.append(size)
            raw_starts.append(raw_start)
            raw_ends.append(raw_end)
            position = raw_end
    if not pieces:
        return None
    pieces.append(text[position:])
    return Decoded("".join(pieces), starts, ends, raw_starts, raw_ends)


@cache
def _escape(kinds: tuple[int, ...]) -> re.Pattern[str]:
    return re.compile("|".join(_KINDS[kind] for kind in kinds))


def _meanings(match: re.Match[str]) -> list[tuple[int, int, str]]:
    """Gives the parts of a match that are escapes, with what they mean."""
    value, start = match.group(), match.start()
    first = value[0]
    if first == "%":
        meant = bytes.fromhex(value.replace("%", "")).decode("utf-8", "replace")
    elif first == "&":
        meant = html.unescape(value)
    elif first == "\\":
        meant = value.encode().decode("unicode_escape").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    else:
        return _base64_parts(value, start)
    return [(start, match.end(), meant)] if meant != value else []


def _base64_parts(value: str, start: int) -> list[tuple[int, int, str]]:
    """The value, or where it is none as a whole, those of its parts between slashes that are: a path of a URL can hold one."""
    whole = base64_text(value)
    if whole is not None:
        return [(start, start + len(value), whole.text)]
    parts: list[tuple[int, int, str]] = []
    if "/" in value:
        for part in value.split("/"):
            inner = base64_text(part)
            if inner is not None:
                parts.append((start, start + len(part), inner.text))
            start += len(part) + 1
    return parts


class EncodedTexts:
    """Tells texts that may hold escapes from those that surely do not. Not for use by several threads at once (Hyperscan's scratch space).

    Args:
        store: Where compiled databases are kept.
    """

    def __init__(self, store: CompiledStore | None = None) -> None:
        self._hints: Any = multipattern(_HINTS, hyperscan.HS_FLAG_SINGLEMATCH, store)

    def layers(self, text: str) -> list[Decoded]:
        """Gives the layers of a text from the outermost to the innermost, each with one more layer of escapes undone; none of a text without."""
        found: list[Decoded] = []
        size = 0
        while len(found) < LAYERS_MAX and size <= _DECODED_CHARS_MAX and (kinds := self._kinds(text)):
            layer = decoded_once(text, kinds)
            if layer is None:
                break
            found.append(layer)
            text = layer.text
            size += len(text)
        return found

    def is_encoded(self, text: str) -> bool:
        """Whether the text holds an escape."""
        kinds = self._kinds(text)
        return bool(kinds) and decoded_once(text, kinds) is not None

    def _kinds(self, text: str) -> tuple[int, ...]:
        """The kinds of escapes that the text may hold."""
        if len(text) < BASE64_CHARS_MIN and "%" not in text and "&" not in text and "\\" not in text:
            return ()  # most keys and short values: a scan would cost more than all the rest of them
        hits: list[int] = []

        def on_match(index: int, start: int, end: int, flags: int, context: Any) -> None:
            hits.append(index)

        self._hints.scan(text.encode("utf-8", "surrogatepass"), match_event_handler=on_match)
        return tuple(sorted(hits))
