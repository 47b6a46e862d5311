"""Unpacks the recorded airline runs that tests and benchmarks read."""

from __future__ import annotations

import lzma
from pathlib import Path

PACKED = Path(__file__).parent / "tau_bench_airline"
RUNS = "gpt-4o-airline.json"
USERS = "users.json"

#: Facts of the file, counted when it was taken in.
RUN_COUNT = 200
TOOL_RESULT_COUNT = 1_164
ASSISTANT_COUNT = 2_454
SYSTEM_AND_USER_COUNT = 1_690


def unpacked(name: str, folder: Path) -> Path:
    """Gives the path of an unpacked file (RUNS or USERS) in the folder."""
    path = folder / name
    if not path.exists():
        path.write_bytes(lzma.decompress((PACKED / f"{name}.xz").read_bytes()))
    return path
