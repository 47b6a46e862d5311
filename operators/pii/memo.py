"""A bounded memory of what was made of a text, without the text: keys are keyed digests."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final, Generic, TypeVar

Value = TypeVar("Value")

_DIGEST_BYTES: Final = 16
_ENTRY_CHARS: Final = 600  # what an entry weighs beside its text: measured, in bytes, with its digest, counts and places


class DigestMemo(Generic[Value]):
    """Maps texts to values and holds only keyed digests of the texts.

    Two generations: when the young one is full it becomes the old one, and what is used again moves back. So what is used stays, and no
    more than twice the given weight is held.

    Args:
        key: Secret of this process or deployment; without it nobody can try texts against the digests.
        weight_chars_max: Characters one generation may hold, as weighed by ``put``.
    """

    def __init__(self, key: bytes, weight_chars_max: int) -> None:
        self._hasher = blake2b(key=blake2b(key, digest_size=32, person=b"headrace-memo").digest(), digest_size=_DIGEST_BYTES)
        self._weight_max = weight_chars_max
        self._weight = 0
        self._young: dict[bytes, Value] = {}
        self._old: dict[bytes, Value] = {}

    def digest(self, text: str) -> bytes:
        """The name of a text in this memo."""
        hasher = self._hasher.copy()
        hasher.update(text.encode("utf-8", "surrogatepass"))
        return hasher.digest()

    def get(self, digest: bytes) -> Value | None:
        """What is known of a text, or None."""
        value = self._young.get(digest)
        if value is None and (value := self._old.get(digest)) is not None:
            self.put(digest, value, 0)
        return value

    def put(self, digest: bytes, value: Value, weight_chars: int) -> None:
        """Remembers a value.

        Args:
            digest: Name of the text.
            value: Not None, and without anything of the raw text.
            weight_chars: Characters in the value.
        """
        self._weight += weight_chars + _ENTRY_CHARS
        if self._weight > self._weight_max:
            self._old, self._young, self._weight = self._young, {}, weight_chars + _ENTRY_CHARS
        self._young[digest] = value

    def __len__(self) -> int:
        return len(self._young) + len(self._old)
