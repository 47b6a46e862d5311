"""Sealing of single values inside ``mask``: a ciphertext that only a key ring opens, and a token that stands for one.

Sealing is AES-SIV (RFC 5297): deterministic, so that ``mask`` stays a pure function and a replay gives the same bytes. Equal values of an entity
have equal ciphertexts under one key and can be joined by them; nothing else shows, but the length in steps of sixteen bytes. Ciphertexts are written
in the letters a to p, four bits each, because no recogniser takes such a word for data once more.
"""

from __future__ import annotations

import hmac
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from governance.key_ring import Key, KeyRing, KeyUse
from schemas.errors import SealBroken

#: Longer values are not sealed: a placeholder without a ciphertext stands in their place.
VALUE_BYTES_MAX: Final = 4_096
BLOCK_BYTES: Final = 16
#: Twelve bytes: among 2**32 values of one key two share a token with a chance of one in 2**33.
TOKEN_CHARS: Final = 24

_TO_LETTERS: Final = str.maketrans("0123456789abcdef", "abcdefghijklmnop")
_TO_HEX: Final = str.maketrans("abcdefghijklmnop", "0123456789abcdef")


class Sealer:
    """Seals under the active key of a ring and opens under any of its keys.

    Args:
        ring: Has a key of the use ``seal``.

    Raises:
        ConfigError: It has none.

    Example:
        >>> from governance.key_ring import Key, KeyRing, KeyUse
        >>> sealer = Sealer(KeyRing((Key(KeyUse.SEAL, "abcdef", bytes(32)),)))
        >>> sealed = sealer.sealed("US_SSN", "078-05-1120")
        >>> len(sealed), sealer.opened("US_SSN", "abcdef", sealed)
        (64, '078-05-1120')
    """

    def __init__(self, ring: KeyRing) -> None:
        self._active = ring.require(KeyUse.SEAL, "a policy that encrypts or tokenises")
        self._ciphers = {key.kid: AESSIV(_derived(key, b"value") + _derived(key, b"iv")) for key in ring.of(KeyUse.SEAL)}
        self._token_keys = {key.kid: _derived(key, b"token") for key in ring.of(KeyUse.SEAL)}

    @property
    def kid(self) -> str:
        """Id of the key that seals."""
        return self._active.kid

    def sealed(self, entity: str, value: str) -> str | None:
        """Gives the ciphertext of a value, in letters; None for a value of more than 4,096 bytes.

        Args:
            entity: What it is; it must be named again to open it.
            value: The raw value.
        """
        plain = value.encode("utf-8", "surrogatepass")
        if len(plain) > VALUE_BYTES_MAX:
            return None
        padded = plain + b"\x80" + bytes(-(len(plain) + 1) % BLOCK_BYTES)
        return self._ciphers[self.kid].encrypt(padded, _context(entity, self.kid)).hex().translate(_TO_LETTERS)

    def opened(self, entity: str, kid: str, sealed: str) -> str:
        """Gives the raw value.

        Raises:
            SealBroken: The key is not in the ring, or the ciphertext was changed or made for another entity or with another key.
        """
        cipher = self._ciphers.get(kid)
        if cipher is None:
            raise SealBroken(f"a value is sealed under {kid}, which is not in the key ring; put that line back into the key file")
        try:
            padded = cipher.decrypt(bytes.fromhex(sealed.translate(_TO_HEX)), _context(entity, kid))
            return padded.rstrip(b"\0").removesuffix(b"\x80").decode("utf-8", "surrogatepass")
        except (InvalidTag, ValueError):
            pass
        raise SealBroken(f"a value sealed under {kid} does not open: it was changed, or was made with another key; check the text and the key file")

    def is_own(self, entity: str, kid: str, sealed: str) -> bool:
        """Tells whether a ciphertext was made with a key of the ring, and not by somebody who wrote one into a text."""
        try:
            self.opened(entity, kid, sealed)
        except SealBroken:
            return False
        return True

    def token(self, kid: str, sealed: str) -> str:
        """Gives the 24 letters that stand for a ciphertext; equal for equal values of an entity under one key."""
        return hmac.digest(self._token_keys[kid], sealed.encode(), "sha256").hex()[:TOKEN_CHARS].translate(_TO_LETTERS)


def sealed_bytes(sealed: str) -> bytes:
    """Gives the bytes that stand as letters."""
    return bytes.fromhex(sealed.translate(_TO_HEX))


def sealed_letters(data: bytes) -> str:
    """Gives bytes as letters."""
    return data.hex().translate(_TO_LETTERS)


def _derived(key: Key, name: bytes) -> bytes:
    return hmac.digest(key.secret, b"headrace seal " + name, "sha256")


def _context(entity: str, kid: str) -> list[bytes]:
    return [entity.encode(), kid.encode()]
