"""Text folded to the ASCII that a reader sees: look-alike letters become the letters they look like, invisible characters go.

A language model reads "іgnоre" with Cyrillic letters, full-width or mathematical letters, letters with soft hyphens between them and Unicode tag
characters as the plain word. So do the rules. After folding a text is ASCII without control characters, and there Hyperscan, ``re`` and ``regex``
agree on what a letter, a word boundary and a space is.

Source: NFKD of Unicode Standard Annex 15; the look-alikes are the single letters of Unicode Technical Standard 39 (confusables) that occur in text.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

#: Stands for a character that looks like no ASCII character: neither letter, digit nor space.
OTHER: Final = "\x1a"

_TABLE_SIZE_MAX: Final = 1 << 16
_CONTROLS: Final = re.compile("[\x00-\x08\x0e-\x1f\x7f]")

# Each line: characters, then what they look like, in the same order.
_LOOK_ALIKES: Final = (
    # Cyrillic
    ("авекмнорстухіјѕԁԛԝһӏѵґєїүқңԍз", "abekmhopctyxijsdqwhlvreiykhg3"),
    ("АВЕКМНОРСТУХІЈЅԀԚԜҺӀѴҐЄЇҮҚҢԌЗ", "ABEKMHOPCTYXIJSDQWHIVREIYKHG3"),
    # Greek
    ("αβγεηικνορστυχωϲϳ", "abyenikvopotuxwcj"),
    ("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧϹ", "ABEZHIKMNOPTYXC"),
    # Armenian, Cherokee, Hebrew, Lisu
    ("օոսհցզքե", "onuhgqpe"),
    ("ᎪᏴᏟᎠᎬᎻᎫᏞᎷᏃᏢᏒᏚᎢᏙᎳᏀᏦᎥ", "ABCDEHJLMNPRSTVWGKi"),
    ("οסΟ০੦", "ooOoo"),
    ("ꓮꓐꓚꓓꓰꓝꓖꓧꓲꓙꓗꓡꓟꓠꓳꓑꓣꓢꓔꓴꓦꓪꓫꓬꓜ", "ABCDEFGHIJKLMNOPRSTUVWXYZ"),
    # Latin letters without a decomposition
    ("ıȷɡɑłŁđĐøØħŧɩʟɴʀɪʏʙɢʜᴀᴄᴅᴇᴊᴋᴍᴏᴘᴛᴜᴠᴡᴢꜱꜰ", "ijgalLdDoOhtilnriybghacdejkmoptuvwzsf"),
    # Punctuation that hosts and assignments are written with
    ("。．｡․‐‑‒–—―−⁃∕⁄＠：∶ː“”„‟‘’‚‛`´", "....--------//@:::\"\"\"\"''''''"),
)
_RANGES: Final = (
    (0x1F150, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"),  # negative circled
    (0x1F170, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"),  # negative squared
    (0x1F1E6, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"),  # regional indicators
)
_FIXED: Final[dict[str, str]] = {
    **{char: like for chars, likes in _LOOK_ALIKES for char, like in zip(chars, likes, strict=True)},
    **{chr(first + index): letter for first, letters in _RANGES for index, letter in enumerate(letters)},
    **{char: char for char in "\t\n\v\f\r"},
    "\x85": "\n",
    "\u2028": "\n",
    "\u2029": "\n",
}


class _Table(dict[int, str]):
    """For ``str.translate``: what each code point becomes, worked out at its first use; bounded, for texts come from anybody."""

    def __init__(self, invisible: str, *, tags: bool) -> None:
        super().__init__()
        self._invisible = invisible
        self._tags = tags

    def __missing__(self, code: int) -> str:
        if len(self) >= _TABLE_SIZE_MAX:
            self.clear()
        char = chr(code)
        folded = _FIXED[char] if char in _FIXED else "".join(self._one(part) for part in unicodedata.normalize("NFKD", char))
        self[code] = folded
        return folded

    def _one(self, char: str) -> str:
        if char in _FIXED:
            return _FIXED[char]
        category = unicodedata.category(char)
        if self._tags and 0xE0020 <= ord(char) <= 0xE007E:
            return chr(ord(char) - 0xE0000)
        if category in ("Cc", "Cf") or char in "\u115f\u1160\u3164\uffa0\u2800":
            return self._invisible
        if category in ("Mn", "Me"):
            return ""
        if char.isascii():
            return char
        if category == "Zs":
            return " "
        digit = unicodedata.digit(char, None)
        return OTHER if digit is None else str(digit)


_REMOVED: Final = _Table("", tags=False)
_SPACED: Final = _Table(" ", tags=False)
_TAGS: Final = _Table("", tags=True)


def is_plain(text: str) -> bool:
    """Says whether folding would leave the text as it is."""
    return text.isascii() and _CONTROLS.search(text) is None


def fold(text: str) -> str:
    """Gives the text as a reader sees it, in ASCII, with invisible characters removed."""
    return text if is_plain(text) else text.translate(_REMOVED)


def readings(text: str) -> tuple[str, ...]:
    """Gives every way in which a text can be read, without repetition.

    Invisible characters may stand inside a word (remove them) or between words (they are the spaces); tag characters may be noise or the message.
    """
    if is_plain(text):
        return (text,)
    return tuple(dict.fromkeys(text.translate(table) for table in (_REMOVED, _SPACED, _TAGS)))
