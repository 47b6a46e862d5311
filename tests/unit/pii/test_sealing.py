"""A sealed value opens again under its key and no other, and equal values have equal ciphertexts."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governance.key_ring import Key, KeyRing, KeyUse
from operators.pii.replace import Action, Actions, Placeholders
from operators.pii.seal import VALUE_BYTES_MAX, Sealer, sealed_bytes, sealed_letters
from schemas.errors import ConfigError, SealBroken

OLD = Key(KeyUse.SEAL, "aaaaab", bytes([7]) * 32)
NEW = Key(KeyUse.SEAL, "aaaaac", bytes([8]) * 32)
SEALER = Sealer(KeyRing((OLD,)))
ROTATED = Sealer(KeyRing((OLD, NEW)))
QUICK = settings(max_examples=150, deadline=None)
VALUES = st.text(st.characters(exclude_categories=()), max_size=80)  # surrogates too: JSON can hold them
ENTITIES = st.sampled_from(["PERSON", "US_SSN"])


def sealed(value: str, entity: str = "US_SSN", sealer: Sealer = SEALER) -> str:
    made = sealer.sealed(entity, value)
    assert made is not None
    return made


@QUICK
@given(VALUES, ENTITIES)
def test_what_is_sealed_opens_and_is_letters_of_a_bounded_length(value: str, entity: str) -> None:
    made = sealed(value, entity)
    assert SEALER.opened(entity, OLD.kid, made) == value
    assert re.fullmatch(r"(?:[a-p]{32}){2,}", made)
    assert len(made) <= 2 * (len(value.encode("utf-8", "surrogatepass")) + 32)
    assert sealed_letters(sealed_bytes(made)) == made


@QUICK
@given(VALUES, VALUES, ENTITIES, ENTITIES)
def test_equal_values_of_an_entity_and_only_they_have_equal_ciphertexts_and_tokens(one: str, other: str, entity: str, second: str) -> None:
    same = (one, entity) == (other, second)
    assert (sealed(one, entity) == sealed(other, second)) is same
    assert (SEALER.token(OLD.kid, sealed(one, entity)) == SEALER.token(OLD.kid, sealed(other, second))) is same


@QUICK
@given(VALUES, st.integers(0, 10_000), st.integers(1, 15))
def test_a_changed_ciphertext_does_not_open(value: str, at: int, by: int) -> None:
    made = sealed(value)
    at %= len(made)
    changed = made[:at] + "abcdefghijklmnop"[(ord(made[at]) - ord("a") + by) % 16] + made[at + 1 :]
    for broken in (changed, made[:-32], made[2:], ""):
        with pytest.raises(SealBroken, match="does not open"):
            SEALER.opened("US_SSN", OLD.kid, broken)
        assert not SEALER.is_own("US_SSN", OLD.kid, broken)


def test_another_key_or_entity_does_not_open_and_no_message_holds_the_value() -> None:
    made = sealed("078-05-1120")
    impostor = Sealer(KeyRing((Key(KeyUse.SEAL, OLD.kid, bytes([9]) * 32),)))
    with pytest.raises(SealBroken, match="was made with another key") as told:
        impostor.opened("US_SSN", OLD.kid, made)
    assert "078" not in str(told.value)
    assert made not in str(told.value)
    assert told.value.__cause__ is None
    assert told.value.__context__ is None
    with pytest.raises(SealBroken):
        SEALER.opened("PERSON", OLD.kid, made)


def test_after_a_rotation_new_values_are_told_apart_and_old_ones_still_open() -> None:
    before, after = sealed("Ada"), sealed("Ada", sealer=ROTATED)
    assert ROTATED.kid == NEW.kid
    assert before != after
    assert ROTATED.opened("US_SSN", OLD.kid, before) == ROTATED.opened("US_SSN", NEW.kid, after) == "Ada"
    assert ROTATED.token(OLD.kid, before) != ROTATED.token(NEW.kid, after)
    with pytest.raises(SealBroken, match=r"sealed under aaaaac, which is not in the key ring"):
        SEALER.opened("US_SSN", NEW.kid, after)


def test_a_value_that_is_too_long_is_masked_and_not_sealed() -> None:
    actions = Actions(bytes(16), {"PERSON": Action.ENCRYPT}, sealer=SEALER)
    assert SEALER.sealed("PERSON", "x" * (VALUE_BYTES_MAX + 1)) is None
    assert actions.replacement("PERSON", "x" * (VALUE_BYTES_MAX + 1)) == "<PERSON>"
    assert len(actions.replacement("PERSON", "x" * VALUE_BYTES_MAX)) < 2 * VALUE_BYTES_MAX + 100


@pytest.mark.parametrize("action", [Action.HASH, Action.ENCRYPT, Action.TOKENISE])
def test_what_takes_the_place_of_a_value_is_a_placeholder_and_names_its_key(action: Action) -> None:
    actions = Actions(bytes(16), {"PERSON": action}, kid="abcdef", sealer=SEALER)
    made = actions.replacement("PERSON", "Ada")
    assert Placeholders({"PERSON"}).is_one(made)
    assert not Placeholders({"US_SSN"}).is_one(made)
    assert made.split(":")[-2] == ("abcdef" if action is Action.HASH else OLD.kid)
    assert actions.replacement("PERSON", "Ada") == made != actions.replacement("PERSON", "Bob")


def test_data_in_the_shape_of_a_placeholder_is_none() -> None:
    known = Placeholders({"PERSON"})
    for text in (
        "<PERSON:e:abcdef:123-45-6789>",
        "<PERSON:s:abcdef:" + "a" * 31 + ">",
        "<PERSON:t:abcdef:mia.li@example.com>",
        "<PERSON:x:abcdef:aaaa>",
    ):
        assert not known.is_one(text)


@pytest.mark.parametrize("action", [Action.ENCRYPT, Action.TOKENISE])
def test_sealing_without_a_key_is_refused_before_the_first_value(action: Action) -> None:
    with pytest.raises(ConfigError, match="make one with: headrace keys new"):
        Actions(bytes(16), {"PERSON": action})
    with pytest.raises(ConfigError, match="make one with: headrace keys new"):
        Sealer(KeyRing())
