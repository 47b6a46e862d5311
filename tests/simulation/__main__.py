"""Runs many schedules: ``python -m tests.simulation --schedules 10000 --seed 1``. A failure prints its seed and the shrunk schedule."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.search import first_failure, quiet

_CHUNK = 100


def main() -> int:
    """Gives 1 where a schedule went wrong."""
    wishes = argparse.ArgumentParser(prog="tests.simulation", description="Seeded schedules of crashes through real lanes and sinks.")
    wishes.add_argument("--schedules", type=int, default=2_000)
    wishes.add_argument("--seed", type=int, default=1, help="Of the first schedule; the others follow.")
    wishes.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    asked = wishes.parse_args()
    begin, end = time.monotonic(), asked.seed + asked.schedules
    chunks = [range(first, min(first + _CHUNK, end)) for first in range(asked.seed, end, _CHUNK)]
    done = 0
    with ProcessPoolExecutor(asked.processes, multiprocessing.get_context("spawn"), quiet) as pool:
        for seeds, failure in zip(chunks, pool.map(first_failure, chunks), strict=True):
            if failure is not None:
                schedule, told = failure
                print(f"seed {schedule.seed} goes wrong; shrunk:\n{schedule}\n" + "\n".join(told))
                pool.shutdown(cancel_futures=True)
                return 1
            done += len(seeds)
            if done % 1_000 < _CHUNK or done == asked.schedules:
                print(f"{done:,} schedules, {60 * done / (time.monotonic() - begin):,.0f} a minute", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
