"""Counts the characters that no reader sees."""

from __future__ import annotations

import re
from typing import Final

from governance.rules import CharactersRule

_CLASSES: Final = {
    "tags": "\U000e0000-\U000e007f",
    "zero_width": "\u200b\u2060-\u2064\ufeff\u00ad\u180e\u034f",
    "bidi": "\u202a-\u202e\u2066-\u2069",
}


class CharacterCount:
    """Says of a text whether it holds too many characters of the rule's classes.

    Args:
        rule: The rule.
    """

    def __init__(self, rule: CharactersRule) -> None:
        self.rule_id = rule.id
        self._any = re.compile(f"[{''.join(_CLASSES[name] for name in rule.classes)}]")
        self._count_min = rule.count_min

    def __call__(self, text: str) -> bool:
        """Looks at the text as it is written."""
        return self._any.search(text) is not None and len(self._any.findall(text)) >= self._count_min
