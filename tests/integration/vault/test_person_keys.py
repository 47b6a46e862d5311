"""Keys of persons on a real server: one key each whoever asks first, wrapped, destroyed for ever."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from governance.key_ring import Key, KeyRing, KeyUse
from schemas.errors import ConfigError, FatalError, SealBroken
from sinks.person_keys import PersonKey, PersonKeys
from tests.integration.vault.conftest import RING

pytestmark = pytest.mark.integration

ANN, BOB, EVE = "u_00000000000000aa", "u_00000000000000bb", "u_00000000000000ee"


def key_of(keys: PersonKeys, connection: psycopg.Connection, person: str) -> PersonKey:
    found = keys.of(connection, [person])[person]
    assert found is not None
    return found


def test_a_person_keeps_the_key_and_no_two_share_one(connection: psycopg.Connection) -> None:
    made = PersonKeys(RING).of(connection, [ANN, BOB, ANN])
    again = PersonKeys(RING).of(connection, [BOB, ANN, EVE])
    assert again[ANN] == made[ANN]
    assert again[BOB] == made[BOB]
    assert len({key.secret for key in again.values() if key is not None}) == 3


def test_writers_at_the_same_time_end_up_with_one_key_each(vault_dsn: str) -> None:
    persons = [f"u_{number:016x}" for number in range(200)]

    def ask(turn: int) -> list[bytes]:
        with psycopg.connect(vault_dsn) as connection:
            found = PersonKeys(RING).of(connection, persons[turn:] + persons[:turn])
        return [key.secret for key in (found[person] for person in persons) if key is not None]

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(ask, range(0, 200, 50)))
    assert len(answers[0]) == 200
    assert all(answer == answers[0] for answer in answers)


def test_the_database_holds_no_key_in_the_clear(connection: psycopg.Connection) -> None:
    secret = key_of(PersonKeys(RING), connection, ANN).secret
    (row,) = connection.execute("SELECT t::text, wrapped FROM vault.person_keys t").fetchall()
    assert secret.hex() not in row[0]
    assert secret not in bytes(row[1])


def test_what_is_sealed_opens_with_the_same_key_and_context_only(connection: psycopg.Connection) -> None:
    keys = PersonKeys(RING)
    ann, bob = key_of(keys, connection, ANN), key_of(keys, connection, BOB)
    sealed = ann.seal(b"a value", b"token 1")
    assert ann.opened(sealed, b"token 1") == b"a value"
    broken = bytearray(sealed)
    broken[-1] ^= 1
    for key, what, context in ((bob, sealed, b"token 1"), (ann, sealed, b"token 2"), (ann, bytes(broken), b"token 1"), (ann, b"", b"token 1")):
        with pytest.raises(SealBroken, match=r"a value of the vault does not open"):
            key.opened(what, context)


def test_an_hmac_is_told_apart_by_person_and_purpose_and_stays_the_same(connection: psycopg.Connection) -> None:
    keys = PersonKeys(RING)
    ann, bob = key_of(keys, connection, ANN), key_of(keys, connection, BOB)
    assert ann.mac("audit", b"x") == key_of(keys, connection, ANN).mac("audit", b"x")
    assert len({ann.mac("audit", b"x"), ann.mac("other", b"x"), ann.mac("audit", b"y"), bob.mac("audit", b"x")}) == 4


def test_a_destroyed_key_never_comes_back(connection: psycopg.Connection) -> None:
    keys = PersonKeys(RING)
    keys.of(connection, [ANN, BOB])
    assert keys.destroy(connection, [ANN, EVE]) == 1
    assert keys.destroy(connection, [ANN]) == 0
    found = keys.of(connection, [ANN, BOB, EVE])
    assert (found[ANN], found[EVE]) == (None, None)
    assert found[BOB] is not None
    assert connection.execute("SELECT person FROM vault.person_keys WHERE wrapped IS NOT NULL").fetchall() == [(BOB,)]


def test_a_rotated_wrap_key_wraps_new_keys_and_the_old_one_can_go_after_rewrapping(connection: psycopg.Connection) -> None:
    ann = key_of(PersonKeys(RING), connection, ANN)
    new = Key(KeyUse.WRAP, "ppppab", bytes([9]) * 32)
    rotated = PersonKeys(KeyRing((*RING.keys, new)))
    assert key_of(rotated, connection, ANN) == ann
    bob = key_of(rotated, connection, BOB)
    alone = PersonKeys(KeyRing((new,)))
    with pytest.raises(FatalError, match=r"wrapped under ppppaa, which is not in the key ring"):
        alone.of(connection, [ANN])
    assert rotated.rewrap(connection) == 1
    assert alone.of(connection, [ANN, BOB]) == {ANN: ann, BOB: bob}


def test_another_key_under_the_same_id_opens_nothing(connection: psycopg.Connection) -> None:
    PersonKeys(RING).of(connection, [ANN])
    with pytest.raises(SealBroken, match=r"vault.person_keys: a wrapped key does not open"):
        PersonKeys(KeyRing((Key(KeyUse.WRAP, "ppppaa", bytes([4]) * 32),))).of(connection, [ANN])


def test_a_key_moved_to_another_person_does_not_open(connection: psycopg.Connection) -> None:
    PersonKeys(RING).of(connection, [ANN, BOB])
    connection.execute(
        "UPDATE vault.person_keys k SET wrapped = (SELECT wrapped FROM vault.person_keys WHERE person = %s) WHERE person = %s", (ANN, BOB)
    )
    with pytest.raises(SealBroken):
        PersonKeys(RING).of(connection, [BOB])


def test_a_ring_without_a_wrap_key_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"needs a key of the use 'wrap'"):
        PersonKeys(KeyRing(RING.keys[:2]))
