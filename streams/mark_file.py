"""A file of marks: facts about offsets that become durable before they take effect, and that a replay adopts.

Bounds: one line a mark, about 150 bytes; an orderly stop lets the file begin anew, for then nothing is read twice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Generic, TypeVar

from schemas.errors import FatalError
from streams.recovery import disk_errors, make_durable_directory, write_all, write_durably

#: A frozen dataclass.
M = TypeVar("M")


class MarkFile(Generic[M]):
    """The file.

    Args:
        path: Made where it is absent. A line that a crash tore never took effect, and goes.
        kind: What a line is.
        what: The same, in words for messages.
        on_durable: Called when marks have become durable, before they take effect.

    Raises:
        FatalError: A line is no such mark.
    """

    def __init__(self, path: Path, kind: Callable[..., M], what: str, on_durable: Callable[[], None] = lambda: None) -> None:
        self._path = path
        self._on_durable = on_durable
        make_durable_directory(path.parent)
        content = path.read_bytes() if path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        self._marks = marks_in(whole, kind, what, path)
        if whole != content:
            write_durably(path, whole)

    @property
    def marks(self) -> Sequence[M]:
        """All marks, each partition's in the order of their offsets; of equal offsets the last counts."""
        return self._marks

    def record(self, marks: Sequence[M]) -> None:
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


def marks_in(content: bytes, kind: Callable[..., M], what: str, path: Path) -> list[M]:
    """Gives the marks of whole lines.

    Raises:
        FatalError: A line is no such mark.
    """
    try:
        return [kind(**json.loads(line)) for line in content.splitlines()]
    except (ValueError, TypeError) as error:
        raise FatalError(f"{path}: a line is no mark of {what}; restore the file from a backup of the directory") from error


def _lines(marks: Iterable[Any]) -> bytes:
    return b"".join(json.dumps(asdict(mark), separators=(",", ":")).encode() + b"\n" for mark in marks)
