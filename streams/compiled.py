"""Compiled databases on disk, so that a start takes no compiling."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path


class CompiledDirectory:
    """A directory of compiled databases; only one that nobody else can write to is used, for what is read from it decides what is masked.

    Args:
        path: Made where it is absent, for its owner only.
    """

    def __init__(self, path: Path) -> None:
        self._path: Path | None = None
        with suppress(OSError):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = path.stat()
            if found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                self._path = path

    def get(self, name: str) -> bytes | None:
        """Gives a database, None where it is not kept."""
        if self._path is None:
            return None
        with suppress(OSError):
            return (self._path / name).read_bytes()
        return None

    def put(self, name: str, data: bytes) -> None:
        """Keeps a database; where it cannot be written the next start compiles again."""
        if self._path is None:
            return
        part = self._path / f"{name}.{os.getpid()}.part"
        with suppress(OSError):
            part.write_bytes(data)
            part.rename(self._path / name)
