"""Measures the TimescaleDB sink alone, on plain tables: rows per second, median of five runs, and the share of encoding.

One lane, a PostgreSQL on the loopback interface with its commits on disk (fsync on). A run writes the same rows three times: as new ids,
as higher revisions of them, and as a replay that changes nothing. Run: ``python -m benchmarks.stage_timescale``.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time

import polars as pl
import psycopg

from schemas.frames import enum_symbols, output_schema, required_columns
from schemas.topics import OUTPUTS
from sinks.copy_format import encode
from sinks.migrate import migrate
from sinks.tables import stored_tables
from sinks.timescale import TimescaleSink
from streams.embedded.postgres import PostgresServer

RUNS = 5
BATCH_ROWS = (200, 2_000)
START_MS = 1_767_225_600_000
DEADLINE_S = 60.0


def rows_of(topic: str, count: int) -> pl.DataFrame:
    """Gives records as a fleet of 500 agents makes them: one time and one id each, a fifth of what may be null is null."""
    draw = random.Random(7)
    output, required = OUTPUTS[topic], required_columns(OUTPUTS[topic].schema)

    def value(name: str, dtype: pl.DataType) -> object:
        if name not in required and draw.random() < 0.2:
            return None
        symbols = enum_symbols(output.schema, name)
        if symbols:
            return draw.choice(symbols)
        if isinstance(dtype, pl.List):
            return ["rule-injection"]
        if dtype == pl.String:
            return f"{name}-{draw.randrange(500):05d}"
        return draw.random() * 1e6 if dtype == pl.Float64 else draw.randrange(1_000_000)

    columns = {name: [value(name, dtype) for _ in range(count)] for name, dtype in output_schema(topic).items()}
    # Ids are digests: they come in no order.
    columns[output.id_columns[0]] = [f"{draw.getrandbits(128):032x}" for _ in range(count)]
    columns[output.time_column] = [START_MS + 10_000 * (number // 500) for number in range(count)]
    return pl.DataFrame(columns, schema=output_schema(topic))


def measure(dsn: str, topic: str, size: int, batch_count: int) -> None:
    """Prints the rates of one topic in batches of one size."""
    table = stored_tables()[topic]
    rows = rows_of(topic, size * batch_count).with_columns(**({"revision": pl.lit(1)} if table.version else {}))
    forms = {"new ids": rows, "replay": rows}
    if table.version:
        forms = {"new ids": rows, "higher revision": rows.with_columns(revision=pl.lit(2, dtype=pl.Int64)), "replay": rows}
    rates: dict[str, list[float]] = {form: [] for form in forms}
    encoding: list[float] = []
    for _ in range(RUNS):
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(f"TRUNCATE {table.name}".encode())
            connection.execute("CHECKPOINT")
        lane = TimescaleSink(dsn).open_lane(0, 1, b"")
        for form, frame in forms.items():
            batches = [{topic: part} for part in frame.iter_slices(size)]
            began = time.perf_counter()
            written = sum(lane.write(batch, DEADLINE_S).written[topic] for batch in batches)
            rates[form].append(frame.height / (time.perf_counter() - began))
            assert written == (0 if form == "replay" else frame.height)
        lane.close()
        began = time.perf_counter()
        for part in rows.iter_slices(size):
            encode(part, table)
        encoding.append(rows.height / (time.perf_counter() - began))
    for form, found in {**rates, "encoding alone": encoding}.items():
        print(
            f"{table.name:20s} {len(table.columns):2d} columns  batch {size:5,d}  {form:16s} {statistics.median(found):>10,.0f} rows/s"
            f"   (min {min(found):,.0f}, max {max(found):,.0f})"
        )


def main() -> None:
    """Runs all cases."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=20_000, help="rows per run")
    count = options.parse_args().rows
    with PostgresServer() as server:
        migrate(server.dsn)
        for topic in ("agent_metrics", "guardrail_decisions"):
            for size in BATCH_ROWS:
                measure(server.dsn, topic, size, count // size)


if __name__ == "__main__":
    main()
