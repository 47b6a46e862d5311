"""What a case wants and what came, compared: only what is named counts.

A mapping wants the keys that it names; a list wants as many entries, each as named; anything else wants to be equal. Four tags say more:

    !contains TEXT      a text that holds it (of anything else: its JSON text)
    !lacks TEXT         a text that does not hold it, or nothing
    !matches REGEX      a text in which the expression is found
    !present ''         anything but null
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import regex

_SHOWN_MAX: Final = 300
_TIMEOUT_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Tagged:
    """A want that a tag makes."""

    tag: str
    text: str

    def holds(self, came: Any) -> bool:
        """Whether what came is as wanted."""
        if self.tag == "!present":
            return came is not None
        text = "" if came is None else came if isinstance(came, str) else _json(came)
        if self.tag == "!contains":
            return self.text in text
        if self.tag == "!lacks":
            return self.text not in text
        return regex.search(self.text, text, timeout=_TIMEOUT_S) is not None

    def __str__(self) -> str:
        return f"{self.tag} {self.text}".strip()


#: Tags by which a case says more than a value.
TAGS: Final = ("!contains", "!lacks", "!matches", "!present")


def differences(wanted: Any, came: Any, path: str = "") -> Iterator[str]:
    """Gives one line for each place where what came is not what is wanted."""
    if isinstance(wanted, Tagged):
        if not wanted.holds(came):
            yield f"{path}: wanted {wanted}, came {shown(came)}"
    elif isinstance(wanted, Mapping) and isinstance(came, Mapping):
        for key, value in wanted.items():
            yield from differences(value, came.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(wanted, Sequence) and isinstance(came, Sequence) and not isinstance(wanted, str) and not isinstance(came, str):
        if len(wanted) != len(came):
            yield f"{path}: wanted {len(wanted)} entries, came {len(came)}: {shown(came)}"
        else:
            for index, (one, other) in enumerate(zip(wanted, came, strict=True)):
                yield from differences(one, other, f"{path}[{index}]")
    elif wanted != came or isinstance(wanted, bool) is not isinstance(came, bool):
        yield f"{path}: wanted {shown(wanted)}, came {shown(came)}"


def shown(value: Any) -> str:
    """Gives a value as a reader of a terminal wants it: JSON, cut where it is long."""
    text = _json(value)
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}... ({len(text)} characters)"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
