"""Migrations on a real server: applied once, in order, whole or not at all, whoever runs at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import polars as pl
import psycopg
import pytest

from schemas.errors import ConfigError, RetryableError
from sinks.migrate import LOCK_KEY, Flavour, Migration, migrate, packaged_migrations
from sinks.tables import stored_tables
from sinks.timescale import TimescaleSink
from tests.fixtures.outputs import START_MS, records

pytestmark = pytest.mark.integration

FIRST = Migration(1, "001_first.sql", None, "CREATE TABLE first (a integer)")
SECOND = Migration(2, "002_second.sql", None, "CREATE TABLE second (a integer);\nINSERT INTO second VALUES (1)")


def history(dsn: str) -> list[tuple[int, str]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute("SELECT number, name FROM headrace_migrations ORDER BY number").fetchall()


def relations(dsn: str) -> set[str]:
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v')")
        return {name for (name,) in rows}


def test_a_new_database_gets_everything_and_a_second_run_nothing(database: str) -> None:
    applied = migrate(database)
    assert applied == [migration.name for migration in packaged_migrations() if migration.flavour is not Flavour.TIMESCALE]
    tables = {
        *(table.name for table in stored_tables().values()),
        "audit_links",
        "audit_heads",
        "audit_anchors",
        "contract_quarantine",
        "contract_results",
        "erasure_proofs",
        "review_history",
        "review_releases",
    }
    assert relations(database) == {*tables, "metrics_1m", "metrics_1h", "headrace_migrations"}
    assert migrate(database) == []
    assert [name for _, name in history(database)] == applied


def test_tables_have_the_columns_types_nulls_and_keys_that_follow_from_the_schemas(database: str) -> None:
    migrate(database)
    with psycopg.connect(database) as connection:
        for table in stored_tables().values():
            columns = connection.execute(
                "SELECT attname, format_type(atttypid, atttypmod), NOT attnotnull FROM pg_attribute "
                "WHERE attrelid = to_regclass(%s) AND attnum > 0 ORDER BY attnum",
                (table.name,),
            ).fetchall()
            # In any order: a migration adds columns at the end, and every statement names them.
            assert sorted(columns) == sorted((column.name, column.sql_type, column.nullable) for column in table.columns)
            key = connection.execute(
                "SELECT array_agg(attname::text ORDER BY array_position(conkey, attnum)) FROM pg_constraint "
                "JOIN pg_attribute ON attrelid = conrelid AND attnum = ANY (conkey) WHERE conrelid = to_regclass(%s) AND contype = 'p'",
                (table.name,),
            ).fetchone()
            assert key == (list(table.key),)


def test_a_file_edited_after_it_was_applied_is_a_config_error(database: str) -> None:
    migrate(database, migrations=[FIRST])
    with pytest.raises(ConfigError, match=r"001_first.sql was edited after it was applied: restore it"):
        migrate(database, migrations=[replace(FIRST, text=FIRST.text + " "), SECOND])
    assert history(database) == [(1, "001_first.sql")]


def test_a_database_newer_than_this_version_is_a_config_error(database: str) -> None:
    migrate(database, migrations=[FIRST, SECOND])
    with pytest.raises(ConfigError, match=r"002_second.sql .* is not in this version"):
        migrate(database, migrations=[FIRST])


def test_a_number_below_an_applied_one_is_a_config_error(database: str) -> None:
    migrate(database, migrations=[SECOND])
    with pytest.raises(ConfigError, match=r"001_first.sql is numbered below 002"):
        migrate(database, migrations=[FIRST, SECOND])


def test_a_refused_migration_leaves_nothing_and_the_ones_before_it_stay(database: str) -> None:
    broken = replace(SECOND, text="CREATE TABLE second (a integer);\nINSERT INTO third VALUES ('alice')")
    with pytest.raises(ConfigError, match=r"002_second.sql:2: PostgreSQL said 42P01 .* nothing of this migration was applied") as refusal:
        migrate(database, migrations=[FIRST, broken])
    assert "alice" not in str(refusal.value)
    assert refusal.value.__context__ is None
    assert relations(database) == {"first", "headrace_migrations"}
    assert migrate(database, migrations=[FIRST, SECOND]) == ["002_second.sql"]


def test_a_migration_and_its_record_are_one_transaction(database: str) -> None:
    recording = "CREATE TABLE second (a integer);\nINSERT INTO headrace_migrations (number, name, checksum) VALUES (2, 'x', 'x')"
    with pytest.raises(ConfigError, match=r"002_second.sql: PostgreSQL said 23505"):
        migrate(database, migrations=[FIRST, replace(SECOND, text=recording)])
    assert relations(database) == {"first", "headrace_migrations"}
    assert history(database) == [(1, "001_first.sql")]


def test_runs_at_the_same_time_apply_everything_once(database: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        applied = list(threads.map(lambda _: migrate(database), range(4)))
    assert sorted(map(len, applied)) == [0, 0, 0, len({migration.number for migration in packaged_migrations()})]


def test_a_run_that_waits_too_long_for_another_is_retryable(database: str) -> None:
    with psycopg.connect(database) as other:
        other.execute("SELECT pg_advisory_lock(%s)", (LOCK_KEY,))
        with pytest.raises(RetryableError, match="57014"):
            migrate(database, deadline_s=1.0)
    assert len(migrate(database)) == len({migration.number for migration in packaged_migrations()})


def test_rollups_add_up_to_an_independent_recount(database: str) -> None:
    migrate(database)
    # Only the sums must not overflow: their columns are drawn up to 2**63 - 1.
    summed = "events errors latency_count latency_sum_us input_tokens output_tokens cost_nano_usd tool_calls confidence_count confidence_sum_ppm"
    small = [pl.col(name) % 1000 for name in summed.split()]
    frame = records("agent_metrics", 900, seed=3).with_columns(*small, window_end=pl.col("window_start") + 10_000)
    too_long = records("agent_metrics", 1, seed=4, first=5_000).with_columns(window_start=START_MS, window_end=START_MS + 7_200_000)
    lane = TimescaleSink(database).open_lane(0, 1, b"")
    lane.write({"agent_metrics": pl.concat([frame, too_long])}, 10.0)
    lane.close()
    for view, bucket_ms in (("metrics_1m", 60_000), ("metrics_1h", 3_600_000)):
        keys = [(pl.col("window_start") // bucket_ms * bucket_ms).alias("bucket"), "agent_id", "event_type", "tool_name"]
        expected = frame.group_by(*keys).agg(
            pl.len().cast(pl.Int64).alias("windows"),
            pl.sum("events", "latency_sum_us", "cost_nano_usd"),
            pl.min("latency_min_us"),
            pl.max("latency_p95_us").alias("latency_p95_us_max"),
            (pl.sum("latency_sum_us") / pl.when(pl.sum("latency_count") > 0).then(pl.sum("latency_count"))).alias("latency_mean_us"),
        )
        names = expected.columns
        with psycopg.connect(database) as connection:
            rows = connection.execute(f"SELECT extract(epoch FROM bucket)::bigint * 1000, {', '.join(names[1:])} FROM {view}".encode()).fetchall()
        found = pl.DataFrame(rows, schema=expected.schema, orient="row")
        order = ["bucket", "agent_id", "event_type", "tool_name"]
        assert found.sort(order, nulls_last=True).to_dicts() == expected.sort(order, nulls_last=True).to_dicts()


def test_expiry_on_plain_postgresql_deletes_only_what_is_too_old(database: str) -> None:
    migrate(database)
    lane = TimescaleSink(database).open_lane(0, 1, b"")
    lane.write({topic: records(topic, 20) for topic in stored_tables()}, 10.0)
    lane.close()
    with psycopg.connect(database, autocommit=True) as connection:
        age = connection.execute("SELECT now() - to_timestamp(%s)", (START_MS / 1000 + 95,)).fetchone()
        timeless = connection.execute("SELECT count(*) FROM dead_letters WHERE kafka_time IS NULL").fetchone()
        assert age is not None
        connection.execute("CALL headrace_expire(%s, %s, INTERVAL '0')", (age[0], age[0]))
        expiring = {topic: table for topic, table in stored_tables().items() if topic not in ("audit_log", "agent_control", "reviews")}
        counts = [connection.execute(f"SELECT count(*) FROM {table.name}".encode()).fetchone() for table in expiring.values()]
    # Ten of the twenty are older than START + 95 s; of dead letters only those without a time stay.
    assert counts == [(10,), (10,), timeless, (10,)]
