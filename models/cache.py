"""Results of texts seen before, by model, version and build; holds keyed digests of the texts, never the texts."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final

import numpy as np
from cachetools import LRUCache

from models.results import GuardScores, Served

_DIGEST_BYTES: Final = 16
#: What an entry weighs beside its value, in bytes: measured, with digest, key and the cache's own two dictionaries.
_ENTRY_BYTES: Final = 480
_SPAN_BYTES: Final = 160
_WINDOW_BYTES: Final = 220

#: Model, what of it answered, digest of the text.
Key = tuple[str, Served, bytes]


def weight_bytes(value: object) -> int:
    """Gives what an entry with this value takes in memory, about."""
    if isinstance(value, np.ndarray):
        return _ENTRY_BYTES + 120 + int(value.nbytes)
    if isinstance(value, GuardScores):
        return _ENTRY_BYTES + 200 + _WINDOW_BYTES * len(value.windows)
    return _ENTRY_BYTES + 60 + _SPAN_BYTES * (len(value) if isinstance(value, tuple) else 1)


class ResultCache:
    """Least recently used results within a bound in bytes; safe for threads.

    Failures are never put here. A tagger's results are offsets, and a digest cannot be tried out without the key, which every process makes anew:
    nothing in here is personal.

    Args:
        bytes_max: Bound on what it holds; 0 holds nothing.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._hasher = blake2b(key=secrets.token_bytes(32), digest_size=_DIGEST_BYTES, person=b"headrace-models")
        weigh: Callable[[Any], float] = weight_bytes
        self._entries: LRUCache[Key, Any] = LRUCache(max(bytes_max, 1), getsizeof=weigh)
        self._lock = threading.Lock()

    def key(self, model: str, served: Served, text: str) -> Key:
        """Gives the name of a text's result."""
        hasher = self._hasher.copy()
        hasher.update(text.encode("utf-8", "surrogatepass"))
        return (model, served, hasher.digest())

    def get(self, key: Key) -> Any | None:
        """Gives a result, or None."""
        with self._lock:
            return self._entries.get(key)

    def put(self, key: Key, value: Any) -> None:
        """Keeps a result; one that is larger than the whole bound is let go."""
        if weight_bytes(value) <= self._bytes_max:
            with self._lock:
                self._entries[key] = value

    @property
    def size_bytes(self) -> int:
        """What it holds now, about."""
        with self._lock:
            return int(self._entries.currsize)

    def __len__(self) -> int:
        with self._lock:
            return len(self._entries)
