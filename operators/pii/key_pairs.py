"""Values that stand beside their key in a text: ``dob=1990-04-05&zip=78750``, ``"first_name": "Mia"`` inside a sentence, a dict in a log."""

from __future__ import annotations

import re
from typing import Final

from operators.pii.key_names import KeyNames
from operators.pii.spans import Span

RECOGNISER: Final = "KeyPairs"
#: Below what patterns score: where a pattern knows more of the text around (an address, a whole URL), its span stays whole.
SCORE: Final = 0.4
_ASSIGNED: Final = re.compile(r"(?<![A-Za-z0-9_.\-\[\]])([A-Za-z][A-Za-z0-9_.\-]{0,63})=([^&\s\"'<>;,#=][^&\s\"'<>;,#]{0,511})")
_QUOTED: Final = re.compile(r"(\\{0,3}[\"'])([A-Za-z][A-Za-z0-9_ .\-]{0,63})\1\s{0,4}:\s{0,4}(?:\1((?:(?!\1)[^\r\n]){1,512})|([0-9][0-9.+\-]{0,40}))")
#: What code and manuals write where data has a value; so does a value that is its own key (``send(email=email)``).
_NO_VALUES: Final = frozenset({"none", "null", "true", "false", "undefined", "str", "string", "required", "optional"})
_COLON: Final = re.compile(r"[\"']\s{0,4}:").search


class KeyPairs:
    """Finds values by the key that is written before them.

    Args:
        keys: Keys whose values are personal.

    Example:
        >>> KeyPairs(KeyNames({"dob": "DATE_OF_BIRTH"})).spans("/users?dob=5.4.90&page=2")
        [Span(entity='DATE_OF_BIRTH', start=11, end=17, score=0.4, recogniser='KeyPairs')]
    """

    def __init__(self, keys: KeyNames) -> None:
        self._keys = keys

    def spans(self, text: str) -> list[Span]:
        """Gives the values whose key is personal."""
        found: list[Span] = []
        if "=" in text:
            for match in _ASSIGNED.finditer(text):
                self._add(found, text, match.group(1), match.span(2))
        if ":" in text and _COLON(text) is not None:
            for match in _QUOTED.finditer(text):
                self._add(found, text, match.group(2), match.span(3) if match.group(3) is not None else match.span(4))
        return found

    def _add(self, found: list[Span], text: str, key: str, place: tuple[int, int]) -> None:
        entity = self._keys.entity(key)
        if entity is None:
            return
        value = text[place[0] : place[1]].rstrip(")]}:.")
        if value and value.lower() not in _NO_VALUES and value.lower() != key.lower():
            found.append(Span(entity, place[0], place[0] + len(value), SCORE, RECOGNISER))
