"""What a benchmark found: one JSON file each, from which the report is made.

A measurement is a list of numbers, one a run, so that median and spread are made in one place.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
FOLDER: Final = ROOT / "benchmarks" / "results"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table.

    Attributes:
        labels: What was measured, by column.
        values: Measurements by column, one a run; a column's name ends with its unit.
    """

    labels: Mapping[str, str]
    values: Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True)
class Table:
    """The measurements of one question.

    Attributes:
        name: File name, without its ending.
        title: The question.
        rows: The measurements.
        notes: What a reader must know to read the numbers; the bottleneck and why.
        quick: Whether it was a short run.
    """

    name: str
    title: str
    rows: Sequence[Row]
    notes: Sequence[str] = ()
    quick: bool = False
    command: str = field(default_factory=lambda: " ".join(["python -m", _module(), *sys.argv[1:]]))
    commit: str = field(default_factory=lambda: commit())
    date: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))
    machine: Mapping[str, str] = field(default_factory=lambda: machine())


def save(table: Table) -> Path:
    """Writes a table's file and gives its path."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{table.name}.json"
    path.write_text(json.dumps(asdict(table), indent=1) + "\n")
    return path


def load(path: Path) -> Table:
    """Reads a table's file."""
    found: dict[str, Any] = json.loads(path.read_text())
    found["rows"] = [Row(**row) for row in found["rows"]]
    return Table(**found)


def machine() -> dict[str, str]:
    """Gives what the numbers depend on; no names of machines or people."""
    cpu_lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.partition(":")[2].strip() for line in cpu_lines if line.startswith("model name")), "unknown")
    memory_kib = int(next(line.split()[1] for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal")))
    cores = sum(line.startswith("processor") for line in cpu_lines)
    kernel = Path("/proc/sys/kernel/osrelease").read_text().split("-")[0].strip()
    return {
        "CPU": cpu,
        "cores": str(cores),
        "memory": f"{memory_kib / 2**20:.0f} GiB",
        "kernel": f"Linux {kernel}",
        "Python": sys.version.split()[0],
    }


def commit() -> str:
    """Gives the commit that was measured, with a mark where files that it holds were changed."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", ":!benchmarks")
    return git("rev-parse", "--short=10", "HEAD") + (" and changes" if changed else "")


def _module() -> str:
    """Gives the name of the module that was started."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec.name if spec is not None else Path(sys.argv[0]).stem
