"""The TimescaleDB sink when the server dies, refuses, waits or was never prepared."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import polars as pl
import psycopg
import pytest

from schemas.errors import ConfigError, FatalError, RetryableError
from sinks.copy_format import NUL_REPLACEMENT
from sinks.migrate import migrate
from sinks.timescale import TimescaleSink
from streams.embedded.postgres import PostgresServer
from tests.fixtures.outputs import records

pytestmark = pytest.mark.integration

METRICS, DECISIONS = "agent_metrics", "guardrail_decisions"


@pytest.fixture
def prepared(database: str) -> str:
    """A migrated database."""
    migrate(database)
    return database


@pytest.fixture
def admin(prepared: str) -> Iterator[psycopg.Connection]:
    """Another client of it."""
    with psycopg.connect(prepared, autocommit=True) as connection:
        yield connection


def count(connection: psycopg.Connection, table: str = "metric_windows") -> int:
    row = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
    assert row is not None
    return int(row[0])


def test_a_server_killed_again_and_again_during_writes_loses_and_doubles_nothing() -> None:
    batches = [{METRICS: records(METRICS, 400, first=400 * n), DECISIONS: records(DECISIONS, 400, first=400 * n)} for n in range(30)]
    with PostgresServer(fsync=False) as server:
        migrate(server.dsn)
        lane = TimescaleSink(server.dsn).open_lane(0, 1, b"")
        progress = threading.Semaphore(0)
        failures = 0

        def write_all() -> None:
            nonlocal failures
            for batch in batches:
                while True:
                    try:
                        lane.write(batch, 5.0)
                        break
                    except RetryableError as error:
                        failures += 1
                        time.sleep(min(error.retry_after_ms, 50) / 1000)
                progress.release()

        with ThreadPoolExecutor(1) as threads:
            writing = threads.submit(write_all)
            for kill in range(6):
                for _ in range(3):
                    assert progress.acquire(timeout=60)
                time.sleep(0.004 * kill)  # another point of the write each time
                server.kill()
                server.start()
            writing.result(timeout=120)
        lane.close()
        assert failures >= 3
        with psycopg.connect(server.dsn) as connection:
            for table, key in (("metric_windows", "window_uid"), ("guardrail_decisions", "event_uid")):
                found = [uid for (uid,) in connection.execute(f"SELECT {key} FROM {table} ORDER BY 1".encode())]
                assert found == [f"{number:032x}" for number in range(12_000)]


def test_a_terminated_connection_is_retryable_and_the_next_write_connects_anew(prepared: str, admin: psycopg.Connection) -> None:
    lane = TimescaleSink(prepared).open_lane(3, 4, b"")
    cut = "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE application_name = 'headrace timescale lane 3'"
    assert admin.execute(cut).fetchone() == (1,)
    with pytest.raises(RetryableError, match=r"timescale lane 3: .*57P01|no connection"):
        lane.write({METRICS: records(METRICS, 10)}, 5.0)
    assert lane.write({METRICS: records(METRICS, 10)}, 5.0).written == {METRICS: 10}
    lane.close()
    assert count(admin) == 10


def test_a_read_only_server_is_retryable_until_it_takes_writes(prepared: str, admin: psycopg.Connection) -> None:
    name = admin.info.dbname
    admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode())
    lane = TimescaleSink(prepared).open_lane(0, 1, b"")
    for _ in range(2):
        with pytest.raises(RetryableError, match=r"25006 .*read-only"):
            lane.write({METRICS: records(METRICS, 10)}, 5.0)
    admin.execute(b"SET default_transaction_read_only = off")
    admin.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only".encode())
    assert lane.write({METRICS: records(METRICS, 10)}, 5.0).written == {METRICS: 10}
    lane.close()


def test_a_locked_table_raises_by_the_deadline_and_leaves_no_lock_behind(prepared: str, admin: psycopg.Connection) -> None:
    lane = TimescaleSink(prepared).open_lane(0, 1, b"")
    with psycopg.connect(prepared) as other:
        other.execute("LOCK TABLE metric_windows IN ACCESS EXCLUSIVE MODE")
        began = time.monotonic()
        with pytest.raises(RetryableError):
            lane.write({DECISIONS: records(DECISIONS, 10), METRICS: records(METRICS, 10)}, 1.0)
        assert 0.5 < time.monotonic() - began < 2.0
        waiting = "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE application_name LIKE 'headrace %' AND locktype = 'relation'"
        end = time.monotonic() + 5
        while admin.execute(waiting).fetchone() != (0,):
            assert time.monotonic() < end, "the dropped client's transaction still holds locks"
            time.sleep(0.02)
    assert lane.write({DECISIONS: records(DECISIONS, 10), METRICS: records(METRICS, 10)}, 5.0).written == {DECISIONS: 10, METRICS: 10}
    lane.close()


def test_lanes_that_write_the_same_rows_do_not_deadlock_and_the_highest_revision_stays(prepared: str, admin: psycopg.Connection) -> None:
    sink = TimescaleSink(prepared)

    def run(number: int) -> int:
        lane = sink.open_lane(number, 4, b"")
        written = 0
        for revision in range(1, 11):
            frame = records(METRICS, 300, revision=revision).sample(fraction=1.0, shuffle=True, seed=number * 100 + revision)
            decisions = records(DECISIONS, 300).sample(fraction=1.0, shuffle=True, seed=number)
            written += lane.write({METRICS: frame, DECISIONS: decisions}, 20.0).written[METRICS]
        lane.close()
        return written

    with ThreadPoolExecutor(4) as threads:
        written = sum(threads.map(run, range(4)))
    assert admin.execute("SELECT revision, count(*) FROM metric_windows GROUP BY 1").fetchall() == [(10, 300)]
    assert count(admin, "guardrail_decisions") == 300
    assert written <= 300 * 10


def test_a_database_that_was_not_migrated_says_what_to_do(database: str) -> None:
    with pytest.raises(FatalError, match=r"table metric_windows is not there.*run `headrace migrate`"):
        TimescaleSink(database).open_lane(0, 1, b"")


def test_a_table_of_an_older_version_says_which_column_is_missing(prepared: str, admin: psycopg.Connection) -> None:
    lane = TimescaleSink(prepared).open_lane(0, 1, b"")
    admin.execute("ALTER TABLE metric_windows DROP COLUMN tool_calls CASCADE")
    with pytest.raises(FatalError, match=r"column metric_windows.tool_calls must be bigint, it is not there: run `headrace migrate`"):
        TimescaleSink(prepared).open_lane(0, 1, b"")
    with pytest.raises(FatalError, match=r"42703 .*run `headrace migrate`"):
        lane.write({METRICS: records(METRICS, 1)}, 5.0)


def test_a_nul_character_becomes_the_replacement_character(prepared: str, admin: psycopg.Connection) -> None:
    lane = TimescaleSink(prepared).open_lane(0, 1, b"")
    frame = records(DECISIONS, 1).with_columns(action=pl.lit("a\0b"), hits=pl.lit(["x\0", "y"], dtype=pl.List(pl.String)))
    lane.write({DECISIONS: frame}, 5.0)
    lane.close()
    assert admin.execute("SELECT action, hits FROM guardrail_decisions").fetchall() == [(f"a{NUL_REPLACEMENT}b", [f"x{NUL_REPLACEMENT}", "y"])]


def test_a_refused_row_is_named_by_table_and_constraint_and_never_by_its_values(prepared: str, admin: psycopg.Connection) -> None:
    admin.execute("ALTER TABLE alerts ADD CONSTRAINT alerts_short CHECK (length(message) < 10)")
    lane = TimescaleSink(prepared).open_lane(0, 1, b"")
    with pytest.raises(FatalError, match=r"23514 .*table alerts, constraint alerts_short") as refusal:
        lane.write({"alerts": records("alerts", 1).with_columns(message=pl.lit("alice@example.org wrote"))}, 5.0)
    assert "alice" not in str(refusal.value)
    assert refusal.value.__context__ is None
    assert refusal.value.__cause__ is None


def test_a_frame_with_other_columns_is_refused_before_anything_is_sent(prepared: str) -> None:
    lane = TimescaleSink(prepared).open_lane(0, 1, b"")
    frame = records(METRICS, 1).rename({"events": "event_count"})
    with pytest.raises(FatalError, match=r"missing: \['events'\], not in the schema: \['event_count'\]"):
        lane.write({METRICS: frame}, 5.0)
    lane.close()


def test_a_wrong_password_is_fatal_and_a_wrong_port_is_retryable(prepared: str, postgres: PostgresServer) -> None:
    user, _, place = prepared.removeprefix("postgresql://").partition("@")
    name = user.partition(":")[0]
    with pytest.raises(FatalError, match="refuses this role"):
        TimescaleSink(f"postgresql://{name}:wrong@{place}").open_lane(0, 1, b"")
    with pytest.raises(RetryableError, match="no connection"):
        TimescaleSink(prepared.replace(f":{postgres.port}/", ":9/")).open_lane(0, 1, b"")


def test_a_broken_connection_string_is_a_config_error_that_does_not_repeat_it() -> None:
    with pytest.raises(ConfigError) as refusal:
        TimescaleSink("host=localhost hunter2")
    assert "hunter2" not in str(refusal.value)
    assert refusal.value.__context__ is None
