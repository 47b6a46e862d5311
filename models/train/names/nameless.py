"""Texts that people wrote and that hold no name: what the tagger must leave alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from models.train.names.pools import COUNTRIES, Pools
from models.train.sources import GUARD_SOURCES, TRAIN

#: Sources whose texts are looked through.
_SOURCES: Final = frozenset({"bfcl turns", "bfcl tools"})
_WORD: Final = re.compile(r"[^\W\d_]+")
#: A capital inside a sentence: perhaps a name.
_CAPITAL: Final = re.compile(r"(?<=[a-z,;] )[A-Z][a-z]+")
_LENGTH_LEAST: Final = 15
_LENGTH_MOST: Final = 600


def nameless(packages: Path, names: Pools) -> list[str]:
    """Gives texts without a word that is part of a known name and without a capital inside a sentence.

    Args:
        packages: Where the packages of training are installed.
        names: Known names.
    """
    known = {word.lower() for pair in names.people for name in pair for word in _WORD.findall(name)}
    known |= {word.lower() for place in (*names.cities, *COUNTRIES) for word in _WORD.findall(place)} - _COMMON
    texts = [
        text.text[:_LENGTH_MOST] for source in GUARD_SOURCES if source.use == TRAIN and source.name in _SOURCES for text in source.read(packages)
    ]
    return sorted(
        {
            text
            for text in texts
            if text.isascii()
            and len(text) >= _LENGTH_LEAST
            and not _CAPITAL.search(text)
            and not known & {word.lower() for word in _WORD.findall(text)}
        }
    )


#: Words of places that are words of any text too.
_COMMON: Final = frozenset(
    ["new", "united", "city", "south", "north", "la", "de", "of", "the", "san", "los", "st", "on", "in", "le", "les", "and", "am", "an", "as", "at"]
)
