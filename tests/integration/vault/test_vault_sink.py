"""The vault on a real server: a row a token and person, sealed twice, whatever is written again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import polars as pl
import psycopg
import pytest

from governance.key_ring import KeyRing
from operators.pii.seal import Sealer, sealed_bytes, sealed_letters
from schemas.errors import ConfigError, FatalError, RetryableError
from schemas.vault import VAULT_ROW, VAULT_TOKENS
from sinks.contract import Receipt
from sinks.person_keys import NOBODY, PersonKeys
from sinks.vault import OF_ERASED, VaultLane, VaultSink, forget, vault_context
from streams.embedded.postgres import PostgresServer
from tests.integration.vault.conftest import RING

pytestmark = pytest.mark.integration

SEALER = Sealer(RING)
ANN, BOB = "u_hhhhha_00000000000000aa", "u_hhhhha_00000000000000bb"
DAY_MS = 86_400_000


def row(value: str, person: str | None, day: int = 20_000) -> dict[str, object]:
    sealed = SEALER.sealed("EMAIL_ADDRESS", value)
    assert sealed is not None
    token = f"<EMAIL_ADDRESS:t:{SEALER.kid}:{SEALER.token(SEALER.kid, sealed)}>"
    return {"token": token, "entity": "EMAIL_ADDRESS", "kid": SEALER.kid, "sealed": sealed, "person": person, "event_time": day * DAY_MS + 5}


def batch(*rows: dict[str, object]) -> dict[str, pl.DataFrame]:
    return {VAULT_TOKENS: pl.DataFrame(rows, schema=VAULT_ROW)}


def receipt(written: int, skipped: int) -> Receipt:
    return Receipt({VAULT_TOKENS: written}, {VAULT_TOKENS: skipped})


@pytest.fixture
def lane(vault_dsn: str) -> Iterator[VaultLane]:
    opened = VaultSink(vault_dsn, RING).open_lane(0, 1, b"")
    yield opened
    opened.close()


def stored(connection: psycopg.Connection) -> list[tuple[object, ...]]:
    query = "SELECT token, person, entity, seal_kid, first_seen - date '1970-01-01', last_seen - date '1970-01-01' FROM vault.tokens ORDER BY 1, 2"
    return connection.execute(query).fetchall()


def test_a_value_opens_with_both_keys_and_lies_there_in_no_other_form(lane: VaultLane, connection: psycopg.Connection) -> None:
    made = row("mia.li3818@example.com", ANN)
    assert lane.write(batch(made), 10.0) == receipt(1, 0)
    (found,) = connection.execute("SELECT ciphertext FROM vault.tokens").fetchall()
    key = PersonKeys(RING).of(connection, [ANN])[ANN]
    assert key is not None
    inner = key.opened(bytes(found[0]), vault_context(str(made["token"]), ANN))
    assert SEALER.opened("EMAIL_ADDRESS", SEALER.kid, sealed_letters(inner)) == "mia.li3818@example.com"
    assert sealed_bytes(str(made["sealed"])) not in bytes(found[0])


def test_a_replay_in_any_pieces_adds_no_row(lane: VaultLane, connection: psycopg.Connection) -> None:
    rows = [row(f"{number % 7}@example.com", [ANN, BOB, None][number % 3], 20_000 + number % 2) for number in range(60)]
    assert lane.write(batch(*rows), 10.0) == receipt(21, 39)
    before = stored(connection)
    ciphertexts = connection.execute("SELECT ciphertext FROM vault.tokens ORDER BY token, person").fetchall()
    assert lane.write(batch(*rows), 10.0) == receipt(0, 60)
    for start in range(0, 60, 7):
        part = batch(*rows[start : start + 7])
        assert lane.write(part, 10.0).written == {VAULT_TOKENS: 0}
    assert stored(connection) == before
    assert connection.execute("SELECT ciphertext FROM vault.tokens ORDER BY token, person").fetchall() == ciphertexts
    assert {person for _, person, *_ in before} == {ANN, BOB, NOBODY}


def test_the_days_on_which_a_token_was_seen_do_not_depend_on_the_order(lane: VaultLane, connection: psycopg.Connection) -> None:
    for day in (20_005, 20_001, 20_009, 20_004):
        lane.write(batch(row("a@example.com", ANN, day)), 10.0)
    ((*_, first, last),) = stored(connection)
    assert (first, last) == (20_001, 20_009)


def test_lanes_that_write_the_same_rows_at_once_write_each_once(vault_dsn: str, connection: psycopg.Connection) -> None:
    rows = [row(f"{number}@example.com", [ANN, BOB, None][number % 3]) for number in range(300)]
    start = threading.Barrier(3)

    def write(turn: int) -> int:
        opened = VaultSink(vault_dsn, RING).open_lane(turn, 3, b"")
        start.wait(30)
        written = opened.write(batch(*rows[turn * 100 :], *rows[: turn * 100]), 20.0).written[VAULT_TOKENS]
        opened.close()
        return written

    with ThreadPoolExecutor(3) as threads:
        assert sum(threads.map(write, range(3))) == 300
    assert len(stored(connection)) == 300


def test_nothing_of_an_erased_person_is_kept_or_comes_back(lane: VaultLane, connection: psycopg.Connection) -> None:
    shared, own = row("shared@example.com", ANN), row("own@example.com", ANN)
    lane.write(batch(shared, own, row("shared@example.com", BOB)), 10.0)
    with connection.transaction():
        assert forget(connection, [ANN]) == 2
        assert forget(connection, [ANN]) == 0
    again = lane.write(batch(shared, own, row("new@example.com", ANN), row("shared@example.com", BOB)), 10.0)
    assert again == Receipt({VAULT_TOKENS: 0}, {VAULT_TOKENS: 1}, {VAULT_TOKENS: {OF_ERASED: 3}})
    kept = connection.execute("SELECT token, person, ciphertext IS NULL FROM vault.tokens ORDER BY 2, 1").fetchall()
    assert [(person, empty) for _, person, empty in kept] == [("erased", True), ("erased", True), (BOB, False)]


def test_a_server_killed_during_writes_loses_and_doubles_nothing() -> None:
    batches = [batch(*(row(f"{number}-{n}@example.com", [ANN, BOB][n % 2]) for n in range(100))) for number in range(12)]
    with PostgresServer(fsync=False) as server:
        from sinks.migrate import migrate

        migrate(server.dsn)
        lane = VaultSink(server.dsn, RING).open_lane(0, 1, b"")
        failures = 0
        for number, rows in enumerate(batches):
            if number % 4 == 2:
                server.kill()
                with pytest.raises(RetryableError):
                    lane.write(rows, 5.0)
                failures += 1
                server.start()
            assert lane.write(rows, 10.0) == receipt(100, 0)
        lane.close()
        assert failures == 3
        with psycopg.connect(server.dsn) as connection:
            assert len(stored(connection)) == 1_200


def test_topics_of_others_and_empty_batches_are_not_touched(lane: VaultLane) -> None:
    assert lane.write({"alerts": pl.DataFrame({"a": [1]})}, 10.0) == Receipt({}, {})
    assert lane.write(batch(), 10.0) == Receipt({}, {})


def test_a_database_without_the_vault_and_a_ring_without_a_key_are_told(database: str) -> None:
    with pytest.raises(FatalError, match="run `headrace migrate`"):
        VaultSink(database, RING).open_lane(0, 1, b"")
    with pytest.raises(ConfigError, match="needs a key of the use 'wrap'"):
        VaultSink(database, KeyRing())
    with pytest.raises(ConfigError, match="is no connection string") as told:
        VaultSink("postgresql://u:hunter2@[", RING)
    assert "hunter2" not in str(told.value)
