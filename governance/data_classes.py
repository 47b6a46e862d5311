"""Data classes of outgoing fields and what is done with a value of each.

public    may be shown to anybody
internal  about the fleet, not about a person: ids of agents, counts, times
personal  says something about a person, or can be tied to one
secret    opens something: passwords, keys, tokens
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class DataClass(StrEnum):
    """How much a value may hurt somebody, in rising order."""

    PUBLIC = "public"
    INTERNAL = "internal"
    PERSONAL = "personal"
    SECRET = "secret"


class Handling(StrEnum):
    """What becomes of a value."""

    DROP = "drop"  # the value is left out: null, or the empty text inside a text
    MASK = "mask"  # a placeholder that names the entity stands in its place
    HASH = "hash"  # a keyed hash: equal values stay equal, nobody without the key can test a guess
    ENCRYPT = "encrypt"  # a ciphertext that `headrace reveal` opens: equal values stay equal under one key
    TOKENISE = "tokenise"  # a token; what it stands for lies in the vault, sealed under the key of the person
    KEEP = "keep"  # the value stays


#: What can become of a whole field: to seal one, name its entity.
FIELD_HANDLINGS: Final = (Handling.DROP, Handling.MASK, Handling.HASH, Handling.KEEP)
