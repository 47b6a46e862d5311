"""What commands tell a person: results on stdout, all else on stderr."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Configuration file; default: HEADRACE_CONFIG, then headrace.yaml where there is one.")
]
KAFKA_HELP: Final = "host:port of the cluster; default: kafka.bootstrap of the configuration."


def complain(*problems: str) -> None:
    """Writes problems to stderr, one a line."""
    for problem in problems:
        print(f"headrace: {problem}" if not problem.startswith(" ") else problem, file=sys.stderr)


def tell(line: str) -> None:
    """Writes a line of progress to stderr."""
    print(line, file=sys.stderr, flush=True)
