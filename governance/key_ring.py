"""A key ring as a value: keys with ids, of which one of each use is active and the older ones only read.

A key file has one key a line, ``USE KID HEX``: what the key is for, its id, and 32 bytes as 64 hexadecimal digits. The last line of a use is the
active key. Blank lines and what follows ``#`` do not count. Where a file is not wanted, lines may be joined by ``;`` in an environment variable.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from schemas.errors import ConfigError

KEY_BYTES: Final = 32
#: Six of the letters a to p: an id stands inside masked texts, where digits or words could be taken for data.
KID_CHARS: Final = 6
KID_LETTERS: Final = "abcdefghijklmnop"
_KID: Final = re.compile(rf"[{KID_LETTERS[0]}-{KID_LETTERS[-1]}]{{{KID_CHARS}}}")
_HEX: Final = re.compile(rf"[0-9a-fA-F]{{{KEY_BYTES * 2}}}")


class KeyUse(StrEnum):
    """What a key is for; no key serves two uses."""

    HASH = "hash"  # keyed hashes that stand for identifiers and values
    SEAL = "seal"  # values that can be read again: encrypted in the text, or behind a token in the vault
    WRAP = "wrap"  # the keys of persons, as the database holds them


@dataclass(frozen=True, slots=True)
class Key:
    """One key.

    Attributes:
        use: What it is for.
        kid: Its id, which may be shown: six letters from a to p.
        secret: 32 bytes.
    """

    use: KeyUse
    kid: str
    secret: bytes = field(repr=False)

    @property
    def line(self) -> str:
        """The key as a line of a key file. Holds the secret."""
        return f"{self.use} {self.kid} {self.secret.hex()}"


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Keys in the order in which they were made."""

    keys: tuple[Key, ...] = ()

    def active(self, use: KeyUse) -> Key | None:
        """Gives the key that new values of a use are made with; None where the ring has none."""
        return next((key for key in reversed(self.keys) if key.use is use), None)

    def of(self, use: KeyUse) -> tuple[Key, ...]:
        """Gives all keys of a use, the active one first."""
        return tuple(key for key in reversed(self.keys) if key.use is use)

    def key(self, use: KeyUse, kid: str) -> Key | None:
        """Gives the key of an id; None where it is not in the ring, any more or at all."""
        return next((key for key in self.keys if key.use is use and key.kid == kid), None)

    def require(self, use: KeyUse, why: str) -> Key:
        """Gives the active key of a use.

        Raises:
            ConfigError: The ring has none.
        """
        key = self.active(use)
        if key is None:
            raise ConfigError(f"privacy.keys_file: {why} needs a key of the use '{use}', and there is none; make one with: headrace keys new")
        return key


NO_KEYS: Final = KeyRing()


def parse_key_ring(text: str, where: str) -> KeyRing:
    """Gives the ring that a key file says.

    Args:
        text: The lines.
        where: Name of the file or variable, as it stands in messages.

    Raises:
        ConfigError: With every problem, by number of the line; never with what stands in it.

    Example:
        >>> parse_key_ring("hash abcdef " + "0" * 64, "keys").active(KeyUse.HASH)
        Key(use=<KeyUse.HASH: 'hash'>, kid='abcdef')
    """
    keys: list[Key] = []
    problems: list[str] = []
    for number, line in enumerate(text.splitlines() if "\n" in text else text.split(";"), 1):
        parts = line.partition("#")[0].split()
        if not parts:
            continue
        problem = _problem(parts, {key.kid for key in keys})
        if problem is not None:
            problems.append(f"{where}, line {number}: {problem}")
        else:
            keys.append(Key(KeyUse(parts[0]), parts[1], bytes.fromhex(parts[2])))
    if problems:
        raise ConfigError(*problems)
    return KeyRing(tuple(keys))


def _problem(parts: list[str], taken: Collection[str]) -> str | None:
    """Says what is wrong with a line, without repeating any of it."""
    uses = [use.value for use in KeyUse]
    if len(parts) != 3:
        return f"a key is USE KID HEX, three words; came {len(parts)}"
    if parts[0] not in uses:
        return f"the first word must be one of {', '.join(uses)}"
    if _KID.fullmatch(parts[1]) is None:
        return f"the second word, the id, must be {KID_CHARS} letters from {KID_LETTERS[0]} to {KID_LETTERS[-1]}"
    if parts[1] in taken:
        return "the id is taken by an earlier line; every key has an id of its own"
    if _HEX.fullmatch(parts[2]) is None:
        return f"the third word, the key, must be {KEY_BYTES} bytes as {KEY_BYTES * 2} hexadecimal digits; came {len(parts[2])} characters"
    return None
