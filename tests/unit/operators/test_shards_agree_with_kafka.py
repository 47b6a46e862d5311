"""Keys land on the partition where Kafka's Java client and librdkafka put them."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.shards import murmur2, shard_of

# Apache Kafka, clients/src/test/java/org/apache/kafka/common/utils/UtilsTest.java, testMurmur2 (signed as Java prints them)
JAVA = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}
# librdkafka, src/rdmurmur2.c, unittest_murmur2
LIBRDKAFKA = {
    b"kafka": 0xD067CF64,
    b"giberish123456789": 0x8F552B0C,
    b"1234": 0x9FC97B14,
    b"234": 0xE7C009CA,
    b"34": 0x873930DA,
    b"4": 0x5A4B5CA1,
    b"PreAmbleWillBeRemoved,ThePrePartThatIs": 0x78424F1C,
    b"reAmbleWillBeRemoved,ThePrePartThatIs": 0x4A62B377,
    b"eAmbleWillBeRemoved,ThePrePartThatIs": 0xE0E4E09E,
    b"AmbleWillBeRemoved,ThePrePartThatIs": 0x62B8B43F,
    b"": 0x106E08D9,
}


@pytest.mark.parametrize(("data", "signed"), JAVA.items(), ids=lambda value: str(value)[:24])
def test_murmur2_gives_the_vectors_of_the_java_client(data: bytes, signed: int) -> None:
    assert murmur2(data) == signed & 0xFFFFFFFF


@pytest.mark.parametrize(("data", "hashed"), LIBRDKAFKA.items(), ids=lambda value: str(value)[:24])
def test_murmur2_gives_the_vectors_of_librdkafka(data: bytes, hashed: int) -> None:
    assert murmur2(data) == hashed


@given(keys=st.lists(st.text(max_size=9), max_size=20), count=st.integers(1, 40))
def test_a_shard_is_the_positive_hash_modulo_the_count(keys: list[str], count: int) -> None:
    shards = shard_of(pl.Series("agent_id", keys, dtype=pl.String), count)
    assert shards.dtype == pl.Int32
    assert shards.name == "agent_id"
    assert shards.to_list() == [(murmur2(key.encode()) & 0x7FFFFFFF) % count for key in keys]


def test_a_null_key_is_refused() -> None:
    with pytest.raises(AssertionError, match="1 of 2 keys are null"):
        shard_of(pl.Series(["a", None]), 3)
