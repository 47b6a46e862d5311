"""Writes ``benchmarks/results.md`` from the result files: every table with its command, commit and machine, medians with their spread.

What the numbers mean is written by hand in ``benchmarks/findings.md``, which is taken in first; numbers are only ever taken from the files.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from benchmarks.result import FOLDER, ROOT, Table, load

REPORT: Final = ROOT / "benchmarks" / "results.md"
FINDINGS: Final = ROOT / "benchmarks" / "findings.md"
#: In the order of the questions; tables with other names follow.
ORDER: Final = (
    "corpora",
    "end_to_end_capacity",
    "end_to_end_stages",
    "profile",
    "end_to_end_latency",
    "end_to_end_costs",
    "end_to_end_memory",
    "peers",
    "masking_quality",
    "stages",
    "mask",
    "secrets",
    "models",
    "triton_cost",
    "triton_stalls",
    "triton_shared_memory",
    "first_stage",
    "first_stage_rules",
)
_DIGITS: Final = ((100.0, 0), (10.0, 1), (1.0, 2))


def number(value: float) -> str:
    """Gives three digits or so, with thousands apart."""
    digits = next((digits for least, digits in _DIGITS if abs(value) >= least), 3)
    return f"{value:,.{digits}f}"


def cell(values: Sequence[float]) -> str:
    """Gives the median, and the least and the largest where there were several runs."""
    middle = number(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({number(min(values))} to {number(max(values))})"


def lines_of(table: Table) -> Iterator[str]:
    """Gives a table as Markdown."""
    yield f"## {table.title}"
    yield ""
    runs = max((len(values) for row in table.rows for values in row.values.values()), default=0)
    spread = f"Median of {runs} runs (least to largest)." if runs > 1 else "One run."
    quick = " A quick run: for orientation only." if table.quick else ""
    yield f"`{table.command}` at {table.commit}, {table.date}. {spread}{quick}"
    yield ""
    labels = list(dict.fromkeys(name for row in table.rows for name in row.labels))
    values = list(dict.fromkeys(name for row in table.rows for name in row.values))
    yield "| " + " | ".join((*labels, *values)) + " |"
    yield "| " + " | ".join([*("---" for _ in labels), *("---:" for _ in values)]) + " |"
    for row in table.rows:
        cells = [row.labels.get(name, "") for name in labels] + [cell(row.values[name]) if row.values.get(name) else "" for name in values]
        yield "| " + " | ".join(cells) + " |"
    yield ""
    for note in table.notes:
        yield f"- {note}"
    yield ""


def report(tables: Sequence[Table], findings: str) -> str:
    """Gives the whole page."""
    place = {name: index for index, name in enumerate(ORDER)}
    ordered = sorted(tables, key=lambda table: (place.get(table.name, len(ORDER)), table.name))
    machines = list(dict.fromkeys("; ".join(f"{name}: {value}" for name, value in table.machine.items()) for table in ordered))
    lines = ["# Benchmark results", "", "Made by `python -m benchmarks.report` from `benchmarks/results/*.json`; do not edit.", ""]
    lines += [f"Machine: {machine}" for machine in machines]
    lines += ["", findings.strip(), ""] if findings.strip() else [""]
    for table in ordered:
        lines += lines_of(table)
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    """Writes the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=REPORT)
    given = parser.parse_args()
    tables = [load(path) for path in sorted(FOLDER.glob("*.json"))]
    given.output.write_text(report(tables, FINDINGS.read_text() if FINDINGS.exists() else ""))
    print(given.output)


if __name__ == "__main__":
    main()
