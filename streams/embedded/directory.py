"""The directory that an embedded part keeps its data in: a given one that stays, or a temporary one that goes."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path


class PartDirectory:
    """One part's directory.

    Args:
        part: Names the part in a temporary directory's name.
        given: Where to keep the data across runs; None for a temporary directory.
    """

    def __init__(self, part: str, given: Path | None) -> None:
        self.temporary = given is None
        if given is None:
            self.path = Path(tempfile.mkdtemp(prefix=f"headrace-{part}-"))
        else:
            self.path = given.resolve()
            self.path.mkdir(parents=True, exist_ok=True)

    def remove_if_temporary(self) -> None:
        """Removes a temporary directory with all in it; leaves a given one."""
        if self.temporary:
            shutil.rmtree(self.path)
