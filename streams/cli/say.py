"""What commands tell a person: results on stdout, all else on stderr."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from schemas.errors import ConfigError

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


def millis_of(option: str, text: str) -> int:
    """Gives an instant that an option names, in ms since 1970; raises ConfigError where it is none."""
    if text.isdecimal():
        return int(text)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise ConfigError(f"{option}: must be ISO 8601 with Z or an offset, or milliseconds since 1970; write it like 2026-01-31T12:00:00Z")
    return int(at.astimezone(UTC).timestamp() * 1000)
