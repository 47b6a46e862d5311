"""Which policy judges which records: recorded facts, durable before the first of the records is judged, adopted by a replay.

A mark says: from this offset of this partition on, this policy. So the policy of a record follows from its coordinates and the marks alone, in every
life of the run. Before the first mark of a partition the policy of the begin record judges.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from streams.mark_file import MarkFile


@dataclass(frozen=True, slots=True)
class PolicyMark:
    """From ``offset`` of the partition on, the policy of this digest judges."""

    topic: str
    partition: int
    offset: int
    digest: str


class PolicyMarks(MarkFile[PolicyMark]):
    """The file of marks; see MarkFile."""

    def __init__(self, path: Path, on_durable: Callable[[], None] = lambda: None) -> None:
        super().__init__(path, PolicyMark, "a policy", on_durable)
