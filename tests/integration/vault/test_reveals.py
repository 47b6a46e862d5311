"""Revealing on a real server: on record before anything is read, for a purpose that policy lists, and by a role that may do nothing else."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from governance.key_ring import Key, KeyRing, KeyUse
from governance.parse import default_policy
from governance.purposes import Purpose
from schemas.errors import ConfigError, FatalError
from sinks.person_keys import PersonKeys, mark_of
from sinks.reveals import Result, Reveals, parse_sealed
from sinks.vault import VaultSink, forget
from streams.audit_check import check_table
from tests.integration.vault.conftest import RING
from tests.integration.vault.test_vault_sink import ANN, BOB, SEALER, batch, row

pytestmark = pytest.mark.integration

POLICY = replace(default_policy(), purposes=(Purpose("support_case", "Help."), Purpose("billing", "Bill.", ("CREDIT_CARD",))))
EMAIL = "mia.li3818@example.com"
MADE = row(EMAIL, ANN)
TOKEN = str(MADE["token"])
CIPHERTEXT = f"<EMAIL_ADDRESS:e:{SEALER.kid}:{MADE['sealed']}>"


@pytest.fixture
def filled(vault_dsn: str) -> str:
    lane = VaultSink(vault_dsn, RING).open_lane(0, 1, b"")
    lane.write(batch(MADE), 10.0)
    lane.close()
    return vault_dsn


@pytest.fixture
def asker(filled: str) -> Iterator[psycopg.Connection]:
    """A client of a role that may ask and nothing else."""
    role = f"asker_{os.getpid()}_{abs(hash(filled)) % 10**9}"
    with psycopg.connect(filled, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'pass'".encode())
        owner.execute(f"GRANT USAGE ON SCHEMA vault TO {role}".encode())
        owner.execute(f"GRANT EXECUTE ON FUNCTION vault.ask, vault.answer, vault.told TO {role}".encode())
        with psycopg.connect(make_conninfo(filled, user=role, password="pass"), autocommit=True) as connection:
            yield connection
        owner.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())


def ask(connection: psycopg.Connection, text: str, purpose: str = "support_case", ring: KeyRing = RING) -> tuple[Result, str | None]:
    (sealed,) = parse_sealed([text])
    revealed = Reveals(connection, ring, POLICY).reveal(sealed, purpose, "mia")
    return revealed.result, revealed.value


def recorded(connection: psycopg.Connection) -> list[tuple[object, ...]]:
    query = "SELECT os_user, token, purpose, policy_id, result FROM vault.reveals r LEFT JOIN vault.reveal_results t ON t.reveal = r.id ORDER BY r.id"
    return connection.execute(query).fetchall()


def test_a_token_and_a_ciphertext_are_revealed_and_each_is_on_record(asker: psycopg.Connection, connection: psycopg.Connection) -> None:
    assert ask(asker, TOKEN) == (Result.REVEALED, EMAIL)
    assert ask(asker, CIPHERTEXT) == (Result.REVEALED, EMAIL)
    short = f"<EMAIL_ADDRESS:e:{SEALER.kid}:{str(MADE['sealed'])[:32]}>"
    assert recorded(connection) == [("mia", what, "support_case", "headrace-default", "revealed") for what in (TOKEN, short)]
    assert connection.execute("SELECT DISTINCT db_user FROM vault.reveals").fetchall() == [(asker.info.user,)]
    entries = connection.execute(
        "SELECT service, result, policy_id, person, detail FROM audit_records r JOIN audit_links USING (audit_uid) WHERE what = 'reveal' ORDER BY seq"
    ).fetchall()
    key = PersonKeys(RING).known(connection, [ANN])[ANN]
    assert key is not None
    assert [entry[:4] for entry in entries] == [
        ("reveal by mia", "asked", "headrace-default", None),
        ("reveal by mia", "revealed", "headrace-default", mark_of(ANN, key.secret)),
        ("reveal by mia", "asked", "headrace-default", None),
        ("reveal by mia", "revealed", "headrace-default", None),
    ]
    assert {json.loads(entry[4])["entity"] for entry in entries} == {"EMAIL_ADDRESS"}
    assert not any(word in str(entries) for word in (EMAIL, TOKEN, ANN))
    with connection.transaction():
        assert check_table(connection, []).findings == []


@pytest.mark.parametrize(("purpose", "named"), [("curiosity", "curiosity"), ("billing", "billing"), (f"for {EMAIL}", "(not a name)")])
def test_a_purpose_that_policy_does_not_list_is_refused_and_on_record(
    asker: psycopg.Connection, connection: psycopg.Connection, purpose: str, named: str
) -> None:
    for what in (TOKEN, CIPHERTEXT):
        assert ask(asker, what, purpose) == (Result.REFUSED, None)
    assert [row[2:] for row in recorded(connection)] == [(named, "headrace-default", "refused")] * 2


def test_an_erased_person_is_told_as_such(asker: psycopg.Connection, connection: psycopg.Connection) -> None:
    with connection.transaction():
        PersonKeys(RING).destroy(connection, [ANN])
    assert ask(asker, TOKEN) == (Result.ERASED, None)
    with connection.transaction():
        forget(connection, [ANN])
    assert ask(asker, TOKEN) == (Result.ERASED, None)


def test_a_value_that_another_person_has_too_is_still_revealed(asker: psycopg.Connection, connection: psycopg.Connection, filled: str) -> None:
    lane = VaultSink(filled, RING).open_lane(0, 1, b"")
    lane.write(batch(row(EMAIL, BOB)), 10.0)
    lane.close()
    with connection.transaction():
        forget(connection, [ANN])
    assert ask(asker, TOKEN) == (Result.REVEALED, EMAIL)


def test_an_unknown_token_a_changed_row_and_a_missing_key_reveal_nothing(asker: psycopg.Connection, connection: psycopg.Connection) -> None:
    assert ask(asker, TOKEN[:-3] + "aa>") == (Result.UNKNOWN, None)
    other = KeyRing((*RING.keys[2:], Key(KeyUse.SEAL, "eeeeee", bytes([7]) * 32)))
    assert ask(asker, TOKEN, ring=other) == (Result.UNREADABLE, None)
    assert ask(asker, CIPHERTEXT, ring=other) == (Result.UNREADABLE, None)
    connection.execute("UPDATE vault.tokens SET ciphertext = set_byte(ciphertext, 20, get_byte(ciphertext, 20) # 1)")
    assert ask(asker, TOKEN) == (Result.UNREADABLE, None)
    assert [row[4] for row in recorded(connection)] == ["unknown", "unreadable", "unreadable", "unreadable"]


def test_after_rotations_old_tokens_are_still_revealed(asker: psycopg.Connection) -> None:
    rotated = KeyRing((*RING.keys, Key(KeyUse.SEAL, "eeeeee", bytes([7]) * 32), Key(KeyUse.WRAP, "eeeeef", bytes([8]) * 32)))
    assert ask(asker, TOKEN, ring=rotated) == (Result.REVEALED, EMAIL)
    assert ask(asker, CIPHERTEXT, ring=rotated) == (Result.REVEALED, EMAIL)


@pytest.mark.parametrize("broken", ["vault.ask", "vault.told"])
def test_what_cannot_be_recorded_is_not_revealed(asker: psycopg.Connection, connection: psycopg.Connection, broken: str) -> None:
    connection.execute(f"REVOKE EXECUTE ON FUNCTION {broken} FROM {asker.info.user}".encode())
    for what in (TOKEN, CIPHERTEXT):
        with pytest.raises(FatalError):
            ask(asker, what)


def test_the_database_answers_only_a_request_that_is_committed_and_open(asker: psycopg.Connection, connection: psycopg.Connection) -> None:
    answer, request = "SELECT ciphertext FROM vault.answer(%s)", "SELECT vault.ask('mia', %s, 'support_case', 'p', '1')"
    with pytest.raises(psycopg.errors.InsufficientPrivilege), asker.transaction():
        asker.execute(answer, asker.execute(request, (TOKEN,)).fetchone())
    (number,) = asker.execute(request, (TOKEN,)).fetchone() or (None,)
    assert len(asker.execute(answer, (number,)).fetchall()) == 1
    with pytest.raises(psycopg.errors.InsufficientPrivilege):  # another user's request
        connection.execute(answer, (number,))
    asker.execute("SELECT vault.told(%s, 'revealed', NULL)", (number,))
    with pytest.raises(psycopg.errors.InsufficientPrivilege):  # it is closed
        asker.execute(answer, (number,))


@pytest.mark.parametrize("table", ["tokens", "person_keys", "reveals", "reveal_results"])
def test_a_role_that_may_ask_reads_and_writes_no_table(asker: psycopg.Connection, table: str) -> None:
    for statement in (f"SELECT FROM vault.{table}", f"DELETE FROM vault.{table}", f"TRUNCATE vault.{table} CASCADE"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            asker.execute(statement.encode())


def test_the_record_is_append_only_even_for_its_owner(asker: psycopg.Connection, connection: psycopg.Connection) -> None:
    ask(asker, TOKEN)
    for table in ("reveals", "reveal_results"):
        for statement in (f"UPDATE vault.{table} SET id = id" if table == "reveals" else f"UPDATE vault.{table} SET result = 'unknown'",
                          f"DELETE FROM vault.{table}", f"TRUNCATE vault.{table} CASCADE"):  # fmt: skip
            with pytest.raises(psycopg.Error, match=r"append-only|can only be updated to DEFAULT"):
                connection.execute(statement.encode())


def test_an_argument_that_is_no_token_is_told_by_its_place_and_not_repeated() -> None:
    with pytest.raises(ConfigError) as told:
        parse_sealed([TOKEN, EMAIL, f"<EMAIL_ADDRESS:s:{SEALER.kid}:{'a' * 64}>"])
    assert [problem.partition(":")[0] for problem in told.value.problems] == ["token 2 of 3", "token 3 of 3"]
    assert EMAIL not in str(told.value)
