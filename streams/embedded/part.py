"""What every embedded server is: a context manager over one child process and one directory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Self

from streams.embedded.child import ChildProcess
from streams.embedded.directory import PartDirectory


class EmbeddedPart(ABC):
    """Starts with the ``with`` and stops with it; a start that fails leaves no process and no temporary directory.

    Args:
        part: Names it in the name of its directory and of its log.
        directory: Keeps what it writes across runs; None for a temporary directory that goes at the end of the ``with``.

    Attributes:
        log: Where its output goes.
        start_seconds: How long the last start took.
    """

    def __init__(self, part: str, directory: Path | None) -> None:
        self._kept = PartDirectory(part, directory)
        self._child: ChildProcess | None = None
        self.log = self._kept.path / f"{part}.log"
        self.start_seconds = 0.0

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.kill()
            self._kept.remove_if_temporary()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        self._kept.remove_if_temporary()

    @property
    def pid(self) -> int | None:
        """Process id; None while it is down."""
        return self._child.pid if self._child is not None and self._child.alive else None

    @abstractmethod
    def start(self) -> None:
        """Starts it and returns when it answers."""

    @abstractmethod
    def stop(self) -> None:
        """Stops it in order. Does nothing when it is down."""

    def kill(self) -> None:
        """Kills it at once (SIGKILL), as a power cut of the process would."""
        if self._child is not None:
            self._child.kill()

    def restart(self) -> None:
        """Starts it again, after stopping it if it runs."""
        self.stop()
        self.start()
