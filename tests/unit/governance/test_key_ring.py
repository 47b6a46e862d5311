"""A key ring says which key is active, keeps older ones for reading, and never repeats what stands in a file."""

from __future__ import annotations

import pytest

from governance.key_ring import Key, KeyRing, KeyUse, parse_key_ring
from schemas.errors import ConfigError

OLD, NEW, WRAP = "11" * 32, "ab" * 32, "cd" * 32
TEXT = f"""# made for a test
hash aaaaaa {OLD}
wrap aaaaab {WRAP}

hash aaaaac {NEW} # the active one; this is no key
"""


def test_the_last_key_of_a_use_is_active_and_older_ones_are_kept_for_reading() -> None:
    ring = parse_key_ring(TEXT, "keys")
    assert ring.active(KeyUse.HASH) == Key(KeyUse.HASH, "aaaaac", bytes.fromhex(NEW))
    assert [key.kid for key in ring.of(KeyUse.HASH)] == ["aaaaac", "aaaaaa"]
    assert ring.key(KeyUse.HASH, "aaaaaa") == Key(KeyUse.HASH, "aaaaaa", bytes.fromhex(OLD))
    assert ring.key(KeyUse.SEAL, "aaaaaa") is None
    assert ring.active(KeyUse.SEAL) is None


def test_a_ring_written_line_by_line_is_the_same_ring() -> None:
    ring = parse_key_ring(TEXT, "keys")
    assert parse_key_ring("\n".join(key.line for key in ring.keys), "keys") == ring
    assert parse_key_ring(";".join(key.line for key in ring.keys), "keys") == ring


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("hash aaaaaa", "a key is USE KID HEX, three words; came 2"),
        (f"sign aaaaaa {OLD}", "the first word must be one of hash, seal, wrap"),
        (f"hash k1 {OLD}", "the second word, the id, must be 6 letters from a to p"),
        (f"hash aaaaac {OLD}", "the id is taken by an earlier line; every key has an id of its own"),
        (f"hash aaaaaa {OLD[:-2]}", "the third word, the key, must be 32 bytes as 64 hexadecimal digits; came 62 characters"),
    ],
)
def test_each_wrong_line_is_told_by_its_number(line: str, problem: str) -> None:
    with pytest.raises(ConfigError) as told:
        parse_key_ring(f"seal aaaaac {NEW}\n{line}\nwrong", "keys")
    assert told.value.problems == (f"keys, line 2: {problem}", "keys, line 3: a key is USE KID HEX, three words; came 1")


def test_no_message_and_no_repr_holds_a_key() -> None:
    with pytest.raises(ConfigError) as told:
        parse_key_ring(f"hash {NEW} aaaaaa\nsign aaaaaa {NEW}\nhash aaaaaa {NEW}0", "keys")
    assert NEW not in str(told.value)
    shown = repr(parse_key_ring(TEXT, "keys"))
    assert "aaaaac" in shown
    assert repr(bytes.fromhex(NEW))[2:-1] not in shown
    assert NEW not in shown


def test_a_use_without_a_key_says_how_to_make_one() -> None:
    with pytest.raises(ConfigError, match=r"the vault needs a key of the use 'wrap', and there is none; make one with: headrace keys new"):
        KeyRing().require(KeyUse.WRAP, "the vault")
