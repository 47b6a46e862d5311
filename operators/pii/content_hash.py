"""The keyed hash of an event's content as it came: tells that two contents are equal, and nothing else of them."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

import polars as pl

from schemas.events import CONTENT

_HASH_BYTES: Final = 16
#: Between columns: no JSON text holds it.
_BETWEEN: Final = "\x1e"


class ContentHash:
    """Hashes the content columns of events.

    Args:
        hash_key: At least 16 bytes; the key of this use is derived from it.
    """

    def __init__(self, hash_key: bytes) -> None:
        self._key = blake2b(hash_key, digest_size=32, person=b"headrace-content").digest()

    def column(self, batch: pl.DataFrame) -> pl.Series:
        """Gives ``content_hmac``: BLAKE2b in keyed mode, 32 hex digits; null where an event has no content."""
        joined = batch.select(
            pl.when(pl.any_horizontal(pl.col(name).is_not_null() for name in CONTENT)).then(
                pl.concat_str([pl.col(name).fill_null("") for name in CONTENT], separator=_BETWEEN)
            )
        ).to_series()
        key, size = self._key, _HASH_BYTES
        hashes = [None if text is None else blake2b(text.encode(), key=key, digest_size=size).hexdigest() for text in joined.to_list()]
        return pl.Series("content_hmac", hashes, dtype=pl.String)
