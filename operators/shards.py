"""The partition and lane of a key: Kafka's own default, so that every producer in any language puts a key where headrace puts it.

murmur2 with Kafka's seed, over the UTF-8 bytes of the key, without the sign bit, modulo the partition count. Source: ``Utils.murmur2`` and
``BuiltInPartitioner.partitionForKey`` of Apache Kafka, ``rdmurmur2.c`` of librdkafka.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import polars as pl

_SEED: Final = 0x9747B28C
_FACTOR: Final = 0x5BD1E995
_SHIFT: Final = 24
_MASK: Final = 0xFFFFFFFF
_POSITIVE: Final = 0x7FFFFFFF
#: Keys remembered; agents are few beside events, so nearly every look-up hits. About 150 bytes a key.
_MEMO: Final = 65_536


def murmur2(data: bytes) -> int:
    """Gives Kafka's murmur2 of the bytes, unsigned (0..2^32-1); Java prints the same 32 bits as a signed number."""
    length = len(data)
    mixed = _SEED ^ length
    whole = length & ~3
    for at in range(0, whole, 4):
        word = int.from_bytes(data[at : at + 4], "little") * _FACTOR & _MASK
        word ^= word >> _SHIFT
        mixed = (mixed * _FACTOR & _MASK) ^ (word * _FACTOR & _MASK)
    if whole < length:
        mixed = (mixed ^ int.from_bytes(data[whole:], "little")) * _FACTOR & _MASK
    mixed = (mixed ^ (mixed >> 13)) * _FACTOR & _MASK
    return mixed ^ (mixed >> 15)


@lru_cache(maxsize=_MEMO)
def _positive(key: str) -> int:
    return murmur2(key.encode("utf-8")) & _POSITIVE


def shard_of(keys: pl.Series, count: int) -> pl.Series:
    """Gives the partition of each key: Int32 in ``0..count-1``, same length and name.

    The hash is taken once for each distinct key of the series. A null key has no partition: reaching this with one is a bug of the caller.
    """
    assert count >= 1, f"partition count must be at least 1, came {count}"
    assert keys.null_count() == 0, f"{keys.null_count()} of {len(keys)} keys are null: only keyed rows are sharded"
    distinct = keys.unique()
    shards = pl.Series([_positive(key) % count for key in distinct.to_list()], dtype=pl.Int32)
    return keys.replace_strict(distinct, shards, return_dtype=pl.Int32).cast(pl.Int32)  # no replacement happens on no rows
