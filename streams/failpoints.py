"""Named points at which a test can kill the process: proof that any crash is survived.

A failpoint is set in the configuration (``testing.failpoint: after_poll:3`` kills at the third pass). Without one, a pass costs an attribute look-up.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import Final

from schemas.errors import ConfigError

NAMES: Final = (
    "after_poll",  # records are in memory, nothing was done
    "after_policy_mark",  # from which record on another policy judges is on disk, no such record was judged
    "after_erasure_mark",  # from which record on a person's events are left out is on disk, no such record was left out
    "after_facts",  # what a model said of a batch is on disk, nothing followed from it
    "after_state_update",  # a lane's state holds the batch, nothing was written
    "inside_transaction",  # outputs are produced, the transaction is not committed
    "after_commit",  # outputs are durable, the snapshot is not taken
    "before_snapshot",  # all sinks are flushed, the snapshot is not written
    "after_pack",  # the state pack is on disk, the engine's snapshot is not
    "after_approval",  # a review is closed, its event is not released
    "after_release",  # its event is released, the outbox does not know
    "during_recovery",  # a lane has read back part of its output
)


class Failpoints:
    """Kills this process with SIGKILL at the n-th pass of one named point."""

    def __init__(self, spec: str | None) -> None:
        self._name: str | None = None
        self._left = 0
        self._lock = threading.Lock()
        if spec is None:
            return
        name, _, count = spec.partition(":")
        if name not in NAMES or not (count or "1").isdecimal() or int(count or "1") < 1:
            raise ConfigError(f"testing.failpoint: must be NAME or NAME:COUNT with NAME one of {', '.join(NAMES)}; came {spec!r}")
        self._name, self._left = name, int(count or "1")

    def hit(self, name: str) -> None:
        """Marks a pass; does not return when it is the one to die at."""
        if name != self._name:
            return
        with self._lock:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
