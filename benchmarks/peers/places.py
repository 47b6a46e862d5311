"""Where a peer reads and writes, as its command line says."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Places:
    """The arguments of one peer process.

    Attributes:
        bootstrap: Kafka's host and port.
        group: Consumer group, or application id.
        source: Topic of raw events, JSON, keyed by agent; the Kafka timestamp is the event time.
        events: Topic of enriched events.
        metrics: Topic of closed windows.
        masker: ``presidio`` or ``headrace``.
        state: Folder for the framework's own state.
        process: Number of this process.
        addresses: Where the processes of a cluster find each other; empty for frameworks that meet in Kafka.
    """

    bootstrap: str
    group: str
    source: str
    events: str
    metrics: str
    masker: str
    state: Path
    process: int
    addresses: tuple[str, ...]


def from_command_line() -> Places:
    """Reads the command line."""
    parser = argparse.ArgumentParser()
    for name in ("bootstrap", "group", "source", "events", "metrics", "masker"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--process", type=int, default=0)
    parser.add_argument("--addresses", nargs="*", default=[])
    given = vars(parser.parse_args())
    return Places(**{**given, "addresses": tuple(given["addresses"])})
