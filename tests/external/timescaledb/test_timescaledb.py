"""On TimescaleDB the same records give the same rows as on plain PostgreSQL: after late revisions, compression and retention."""

from __future__ import annotations

import time
from collections.abc import Callable

import polars as pl
import psycopg
import pytest

from sinks.migrate import Flavour, migrate, packaged_migrations
from sinks.tables import stored_tables
from sinks.timescale import TimescaleSink
from tests.fixtures.outputs import records

pytestmark = pytest.mark.integration

NewDatabase = Callable[[], str]
DAY_MS = 86_400_000
#: In integers and extremes: a mean of doubles depends on the order of summing.
EXACT = (
    "bucket, agent_id, event_type, tool_name, windows, events, errors, latency_sum_us, latency_min_us, latency_max_us, latency_p95_us_max, "
    "cost_nano_usd"
)


def windows(count: int, revision: int, start_ms: int) -> pl.DataFrame:
    frame = records("agent_metrics", count, seed=revision, revision=revision)
    small = [pl.col(name) % 1000 for name, dtype in frame.schema.items() if dtype == pl.Int64 and name not in ("revision", "window_start")]
    starts = start_ms + pl.int_range(count) * 10_000
    agents = pl.lit("agent-") + (pl.int_range(count) % 3).cast(pl.String)
    return frame.with_columns(*small).with_columns(window_start=starts, window_end=starts + 10_000, agent_id=agents)


def write(dsn: str, frame: pl.DataFrame) -> int:
    lane = TimescaleSink(dsn).open_lane(0, 1, b"")
    written = lane.write({"agent_metrics": frame}, 30.0).written["agent_metrics"]
    lane.close()
    return written


def rollup(dsn: str, view: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as connection:
        return sorted(connection.execute(f"SELECT {EXACT} FROM {view}".encode()).fetchall(), key=repr)


def refresh(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for view in ("metrics_1m", "metrics_1h"):
            connection.execute(f"CALL refresh_continuous_aggregate('{view}', NULL, NULL)".encode())


def run_jobs(dsn: str, procedure: str) -> int:
    with psycopg.connect(dsn, autocommit=True) as connection:
        jobs = connection.execute("SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = %s", (procedure,)).fetchall()
        for (job,) in jobs:
            connection.execute("CALL run_job(%s)", (job,))
    return len(jobs)


@pytest.fixture
def pair(new_database: NewDatabase) -> tuple[str, str]:
    """A database with hypertables and one with plain tables."""
    timescale, plain = new_database(), new_database()
    assert migrate(timescale) == [m.name for m in packaged_migrations() if m.flavour is not Flavour.PLAIN]
    assert migrate(timescale) == []
    migrate(plain, flavour=Flavour.PLAIN)
    with psycopg.connect(timescale, autocommit=True) as connection:
        # Jobs run when the test says so, not when the scheduler does.
        connection.execute("SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs WHERE job_id >= 1000")
    return timescale, plain


def test_both_flavours_have_the_same_relations_and_columns(pair: tuple[str, str]) -> None:
    shapes = []
    for dsn in pair:
        with psycopg.connect(dsn) as connection:
            names = [*(table.name for table in stored_tables().values()), "metrics_1m", "metrics_1h"]
            shapes.append(
                connection.execute(
                    "SELECT attrelid::regclass::text, attname, format_type(atttypid, atttypmod) FROM pg_attribute "
                    "WHERE attrelid = ANY (%s::regclass[]) AND attnum > 0 ORDER BY attrelid::regclass::text, attnum",
                    (names,),
                ).fetchall()
            )
    assert len(shapes[0]) > 100
    assert shapes[0] == shapes[1]


def test_rollups_equal_plain_views_before_and_after_refresh_late_revisions_and_compression(pair: tuple[str, str]) -> None:
    timescale, plain = pair
    # Whole hours, ten days ago: older than the period after which windows are compressed.
    start_ms = (int(time.time() * 1000) - 10 * DAY_MS) // 3_600_000 * 3_600_000

    def both(frame: pl.DataFrame) -> None:
        assert write(timescale, frame) == write(plain, frame)

    def assert_equal() -> None:
        for view in ("metrics_1m", "metrics_1h"):
            assert rollup(timescale, view) == rollup(plain, view)

    both(windows(800, 2, start_ms))
    assert_equal()
    refresh(timescale)
    assert_equal()
    both(windows(100, 3, start_ms))
    both(windows(200, 1, start_ms))  # stale: changes nothing
    refresh(timescale)
    assert_equal()
    assert run_jobs(timescale, "policy_compression") == 2
    with psycopg.connect(timescale) as connection:
        compressed = connection.execute(
            "SELECT count(*) FROM timescaledb_information.chunks WHERE hypertable_name = 'metric_windows' AND is_compressed"
        ).fetchone()
    assert compressed is not None
    assert compressed[0] > 0
    both(windows(100, 4, start_ms))
    both(windows(800, 2, start_ms))  # a replay into compressed chunks
    refresh(timescale)
    assert_equal()


def test_retention_drops_old_windows_and_keeps_their_rollups(pair: tuple[str, str]) -> None:
    timescale, plain = pair
    start_ms = (int(time.time() * 1000) - 100 * DAY_MS) // 3_600_000 * 3_600_000
    frame = windows(800, 1, start_ms)
    write(timescale, frame)
    write(plain, frame)
    letters = records("dead_letters", 40).with_columns(kafka_time=pl.when(pl.col("kafka_time").is_not_null()).then(pl.lit(start_ms)))
    lane = TimescaleSink(timescale).open_lane(0, 1, b"")
    lane.write({"dead_letters": letters}, 10.0)
    lane.close()
    refresh(timescale)
    assert run_jobs(timescale, "policy_retention") == 5
    assert run_jobs(timescale, "headrace_expire_dead_letters") == 1
    assert run_jobs(timescale, "policy_refresh_continuous_aggregate") == 2
    with psycopg.connect(timescale) as connection:
        assert connection.execute("SELECT count(*) FROM metric_windows").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM dead_letters").fetchone() == (letters["kafka_time"].null_count(),)
    for view in ("metrics_1m", "metrics_1h"):
        assert rollup(timescale, view) == rollup(plain, view)
