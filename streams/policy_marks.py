"""Which policy judges which records: recorded facts, durable before the first of the records is judged, adopted by a replay.

A mark says: from this offset of this partition on, this policy. So the policy of a record follows from its coordinates and the marks alone, in every
life of the run. Before the first mark of a partition the policy of the begin record judges.

Bounds: one line a partition and policy, about 150 bytes; an orderly stop lets the file begin anew, for then nothing is read twice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from schemas.errors import FatalError
from streams.recovery import disk_errors, make_durable_directory, write_all, write_durably


@dataclass(frozen=True, slots=True)
class PolicyMark:
    """From ``offset`` of the partition on, the policy of this digest judges."""

    topic: str
    partition: int
    offset: int
    digest: str


class PolicyMarks:
    """The file of marks.

    Args:
        path: Made where it is absent. A line that a crash tore never took effect, and goes.
        on_durable: Called when marks have become durable, before they take effect.

    Raises:
        FatalError: A line is no mark.
    """

    def __init__(self, path: Path, on_durable: Callable[[], None] = lambda: None) -> None:
        self._path = path
        self._on_durable = on_durable
        make_durable_directory(path.parent)
        content = path.read_bytes() if path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        try:
            self._marks = [PolicyMark(**json.loads(line)) for line in whole.splitlines()]
        except (ValueError, TypeError) as error:
            raise FatalError(f"{path}: a line is no mark of a policy; restore the file from a backup of the directory") from error
        if whole != content:
            write_durably(path, whole)

    @property
    def marks(self) -> Sequence[PolicyMark]:
        """All marks, each partition's in the order of their offsets; of equal offsets the last counts."""
        return self._marks

    def record(self, marks: Sequence[PolicyMark]) -> None:
        """Makes marks durable; they may take effect only after this returns.

        Raises:
            FatalError: They could not be written.
        """
        with disk_errors(self._path):
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                write_all(handle, _lines(marks))
                os.fsync(handle)
            finally:
                os.close(handle)
        self._marks += marks
        self._on_durable()

    def clear(self) -> None:
        """Forgets all marks: nothing that they are about will be read again."""
        if self._marks:
            write_durably(self._path, b"")
            self._marks = []


def _lines(marks: Iterable[PolicyMark]) -> bytes:
    return b"".join(json.dumps(asdict(mark), separators=(",", ":")).encode() + b"\n" for mark in marks)
