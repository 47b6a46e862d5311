"""Non-ASCII text folded to what a scanner of ASCII patterns must see, one character for one."""

from __future__ import annotations

import re
import string
from functools import lru_cache
from typing import Final

import regex

_FLAGS: Final = regex.IGNORECASE | regex.MULTILINE | regex.DOTALL


def _letters(pattern_of: str) -> tuple[regex.Pattern[str], re.Pattern[str]]:
    return regex.compile(pattern_of, _FLAGS), re.compile(pattern_of, re.IGNORECASE)


@lru_cache(maxsize=1)
def _beyond_ascii() -> str:
    """Every character outside ASCII that can be encoded."""
    return "".join(map(chr, (*range(0x80, 0xD800), *range(0xE000, 0x110000))))


@lru_cache(maxsize=4_096)
def variants(char: str) -> frozenset[str]:
    """All characters outside ASCII that a character outside ASCII stands for in a pattern without regard to case, itself included.

    Found by asking both regular expression engines about every code point.
    """
    if char.casefold() == char.upper() == char:
        return frozenset(char)
    return frozenset(char).union(*(engine.findall(_beyond_ascii()) for engine in _letters(re.escape(char))))


@lru_cache(maxsize=1)
def fold_table() -> dict[int, str]:
    """For ``str.translate``: digits of any script to ``0``, and every character that a pattern takes for an ASCII letter to that letter.

    ``\\d`` matches the digits of every script, and without regard to case ``[a-z]`` matches U+0130, U+0131, U+017F and U+212A. Hyperscan knows
    neither. Built by asking both regular expression engines about every code point, so it holds whatever they know.
    """
    digits = (regex.compile(r"\d"), re.compile(r"\d"))
    any_letter = _letters("[a-z]")
    each_letter = [(letter, _letters(letter)) for letter in string.ascii_lowercase]
    # One search over all code points finds the few that matter; single characters are then asked one by one.
    everything = _beyond_ascii()
    table: dict[int, str] = {}
    for engine in any_letter:
        for match in engine.finditer(everything):
            char = match.group()
            named = [letter for letter, engines in each_letter if any(e.match(char) for e in engines)]
            table[ord(char)] = named[0] if named else "i"
    for engine in digits:
        table.update((ord(match.group()), "0") for match in engine.finditer(everything))
    return table
