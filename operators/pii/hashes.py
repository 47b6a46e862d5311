"""The keyed hash that stands for a person's user id: in outputs, in the vault, in the audit log.

A hash made with a key of a key ring names that key, ``u_abcdef_0123456789abcdef``, so that joins across a rotation can be told apart; one made with
a lone key does not, ``u_0123456789abcdef``.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from governance.key_ring import KeyRing, KeyUse

_HASH_BYTES: Final = 8


class UserHash:
    """Hashes user ids under one key.

    Args:
        key: At least 16 bytes.
        kid: Its id in a key ring; None for a lone key.

    Example:
        >>> UserHash(bytes(32), "abcdef").of("mia_li_3668")
        'u_abcdef_d5834d97a526077d'
    """

    def __init__(self, key: bytes, kid: str | None = None) -> None:
        self._key = blake2b(key, digest_size=32, person=b"headrace-user").digest()
        self._prefix = "u_" if kid is None else f"u_{kid}_"

    def of(self, user_id: str) -> str:
        """Gives the hash of a user id."""
        return self._prefix + blake2b(user_id.encode("utf-8", "surrogatepass"), key=self._key, digest_size=_HASH_BYTES).hexdigest()


def hash_kid(ring: KeyRing, key: bytes) -> str | None:
    """Gives the id of a hash key; None where it is not of the ring."""
    return next((one.kid for one in ring.of(KeyUse.HASH) if one.secret == key), None)


def person_hashes(user_id: str, ring: KeyRing, hash_key: bytes) -> tuple[str, ...]:
    """Gives every hash that stands for a user id, under the key in use first, then under the ring's others: what an erasure has to look for."""
    keys = {hash_key: hash_kid(ring, hash_key)} | {key.secret: key.kid for key in ring.of(KeyUse.HASH)}
    return tuple(UserHash(key, kid).of(user_id) for key, kid in keys.items())


def digest_key(ring: KeyRing, hash_key: bytes) -> bytes:
    """Gives the key that contents of records are digested with: the ring's oldest hash key, so that a duplicate is known across a rotation."""
    keys = ring.of(KeyUse.HASH)
    return keys[-1].secret if keys else hash_key
