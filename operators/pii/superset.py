"""A weaker pattern for Hyperscan from a pattern of the ``regex`` module: it matches wherever the original does, and sometimes elsewhere.

Derived from the parse tree of Python's ``re``. Whatever that cannot parse, or parses otherwise than ``regex`` does, has no superset here (None):
such a pattern is run on every text.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any, Final

from operators.pii.fold import fold_table, variants

#: Repeats are counted so far; longer ones are taken to go on for ever, which a superset may.
_COUNT_MAX: Final = 16
_ANY: Final = "."  # the databases are compiled with DOTALL
_CHARACTERS_MAX: Final = 64  # of a range outside ASCII; longer ones become "any"
_NEVER: Final = r"[^\x00-\x7f]"  # only written for texts that are ASCII
_REPEATS: Final = (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT)
_CATEGORY: Final = {
    op.CATEGORY_DIGIT: r"\d",
    op.CATEGORY_NOT_DIGIT: r"\D",
    op.CATEGORY_SPACE: r"\s",
    op.CATEGORY_NOT_SPACE: r"\S",
    op.CATEGORY_WORD: r"\w",
    op.CATEGORY_NOT_WORD: r"\W",
}
_ESCAPED_OR_CLASS: Final = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
#: ``{e<=1}`` is fuzzy matching to ``regex`` and plain text to ``re``.
_FUZZY: Final = re.compile(r"\{(?!\d+(?:,\d*)?\}|,\d+\})")


class _Unknown(Exception):
    """A construct without a superset here."""


def superset(pattern: str, *, ascii_text: bool) -> str | None:
    """A Hyperscan pattern (caseless, multi-line, dot matches all) that matches in every text in which the given one does.

    Args:
        pattern: Matched by ``regex`` with IGNORECASE, MULTILINE and DOTALL.
        ascii_text: True for texts of ASCII only, where word boundaries and classes mean the same to both. False for texts folded with
            ``operators.pii.fold`` and encoded in UTF-8: there every class that could hold a character outside ASCII becomes "any".

    Returns:
        The superset, or None where none is known; then the pattern has to be run on every text.
    """
    if _FUZZY.search(_ESCAPED_OR_CLASS.sub("x", pattern)):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # "possible nested set": syntax that regex reads otherwise
            tree = _parser.parse(pattern, re.IGNORECASE | re.MULTILINE | re.DOTALL)
        # A pattern that matches the empty string shuts no gate.
        return _Emitter(ascii_text).sequence(_trimmed(list(tree), ascii_text)) if tree.getwidth()[0] > 0 else None
    except (_Unknown, re.error, Warning, OverflowError, RecursionError):
        return None


def _trimmed(items: list[Any], ascii_text: bool) -> list[Any]:
    """The items without assertions and optional parts at the ends: where ``a?bc*`` matches, ``b`` does.

    What a look-behind at the start, or a look-ahead at the end, asks for stands beside the match: it becomes part of the pattern.
    """
    for end in (0, -1):
        while items:
            kind, value = items[end]
            if kind is op.SUBPATTERN and len(items) == 1:
                items = list(value[3])
            elif kind is op.ASSERT and value[0] == (-1 if end == 0 else 1):
                items = list(value[1]) + items[1:] if end == 0 else items[:-1] + list(value[1])
            elif kind in (op.ASSERT, op.ASSERT_NOT) or (kind is op.AT and not (ascii_text and value is op.AT_BOUNDARY)):
                items = items[1:] if end == 0 else items[:-1]
            elif kind in _REPEATS and value[0] in (0, 1):
                least = list(value[2]) * value[0]
                items = least + items[1:] if end == 0 else items[:-1] + least
            else:
                break
    return items


class _Emitter:
    """Writes a parse tree as a Hyperscan pattern."""

    def __init__(self, ascii_text: bool) -> None:
        self._ascii = ascii_text
        self._groups: dict[int, Any] = {}

    def sequence(self, items: Sequence[Any]) -> str:
        return "".join(self._one(kind, value) for kind, value in items)

    def _one(self, kind: Any, value: Any) -> str:
        if kind is op.LITERAL:
            return self._literal(value)
        if kind is op.NOT_LITERAL:
            return f"[^{_escaped(value)}]" if self._ascii and value < 128 else _ANY
        if kind is op.ANY:
            return _ANY
        if kind is op.IN:
            return self._set(value)
        if kind is op.BRANCH:
            return "(?:" + "|".join(self.sequence(branch) for branch in value[1]) + ")"
        if kind in _REPEATS:
            least, most, body = value
            # Counting states make a database slow to compile: 10 s for the default policy's, 3 s with the cap, and the same gates open.
            bounded = most is not op.MAXREPEAT and most <= _COUNT_MAX
            return f"(?:{self.sequence(body)}){{{min(least, _COUNT_MAX)},{most if bounded else ''}}}"
        if kind is op.SUBPATTERN:
            group, _, _, body = value
            if group is not None:
                self._groups[group] = body
            return f"(?:{self.sequence(body)})"
        if kind is op.ATOMIC_GROUP:
            return f"(?:{self.sequence(value)})"
        if kind is op.GROUPREF and value in self._groups:
            return f"(?:{self.sequence(self._groups[value])})"
        if kind in (op.ASSERT, op.ASSERT_NOT):
            return ""
        if kind is op.AT:
            return r"\b" if self._ascii and value is op.AT_BOUNDARY else ""
        raise _Unknown

    def _literal(self, code: int) -> str:
        if code < 128:
            return _escaped(code)
        return f"[{written}]" if (written := self._outside(code, code)) else _NEVER

    def _outside(self, low: int, high: int) -> str | None:
        """What characters outside ASCII may look like in the scanned text, as members of a set; None where they are too many to ask for."""
        table = fold_table()
        if self._ascii:
            # The long s of a pattern matches an ASCII s.
            return "".join(letter for code, letter in table.items() if low <= code <= high and letter != "0")
        if high - low >= _CHARACTERS_MAX:
            return None
        same = {other for code in range(low, high + 1) for other in variants(chr(code))}
        return "".join(sorted({_escaped(ord(table.get(ord(other), other))) for other in same}))

    def _set(self, members: Sequence[Any]) -> str:
        negated = members[0][0] is op.NEGATE
        if negated and not self._ascii:
            return _ANY
        written = ""
        for kind, value in members[negated:]:
            if kind is op.CATEGORY:
                if not self._ascii and value is not op.CATEGORY_DIGIT:
                    return _ANY
                written += _CATEGORY[value]
                continue
            if kind not in (op.LITERAL, op.RANGE):
                raise _Unknown
            low, high = value if kind is op.RANGE else (value, value)
            if high > 127 and not negated:
                outside = self._outside(max(low, 128), high)
                if outside is None:
                    return _ANY
                written += outside
            if low < 128:
                written += f"{_escaped(low)}-{_escaped(min(high, 127))}" if low < high else _escaped(low)
        if not written:
            return _ANY if negated else _NEVER
        return f"[{'^' if negated else ''}{written}]"


def _escaped(code: int) -> str:
    char = chr(code)
    if char.isascii():
        return char if char.isalnum() or char in "_ @:" else f"\\x{code:02x}"
    return f"\\x{{{code:x}}}"
