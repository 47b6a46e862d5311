"""The front steps in processes of their own, so that decoding and masking do not share Python's lock with lanes and sinks.

    source lane --RAW--> child (decode, mask, inspect) --masked events--> source lane

A child holds no state: it is sent a batch through a pipe and answers with what became of it. What travels to it is raw, in memory of this machine
alone; what comes back is masked. Rows are independent of one another in front steps, so a batch is cut among several children. A child that dies
takes nothing with it: nothing of its batch went on, the run stops, and the next start reads the batch again.
"""

from __future__ import annotations

import contextlib
import fcntl
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import polars as pl

from operators.contract import NO_DEAD, BatchStep, Outcome
from schemas.errors import FatalError
from streams.embedded.child import ChildProcess
from streams.front_child import Answer, FrontRecipe, Passed, Refused, packed, read_message, unpacked, write_message
from streams.telemetry import Telemetry

#: A batch is cut only where each child gets as many rows: below, what a call costs whatever its size is more than the work.
_SHARE_ROWS_MIN: Final = 256
#: What a pipe is asked to hold, so that writer and reader seldom wait for one another: the most that Linux gives without a privilege.
_PIPE_BYTES: Final = 1_048_576
_CLOSE_S: Final = 2.0


@contextmanager
def front_processes(recipe: FrontRecipe, telemetry: Telemetry) -> Iterator[tuple[BatchStep, ...] | None]:
    """Within the body: the front as the configuration wants it, None where it is to run in this process."""
    count = recipe.config.source.front_processes
    if count == 0:
        yield None
        return
    front = FrontProcesses(recipe, count, telemetry, recipe.config.recovery.dir / "front.log")
    try:
        front.await_ready()
        yield (front,)
    finally:
        front.close()


class FrontProcesses:
    """The front as one step whose work is done in child processes. May be called by several threads: one batch goes through at a time.

    Args:
        recipe: What the children build the steps from.
        count: Number of children, 1 or more.
        telemetry: Is told the time of every step.
        log: File that the children's standard error goes to.
    """

    name: Final = "front"

    def __init__(self, recipe: FrontRecipe, count: int, telemetry: Telemetry, log: Path) -> None:
        self._telemetry = telemetry
        self._lock = threading.Lock()
        self._children = [_Child(recipe, number, log) for number in range(count)]

    def await_ready(self) -> None:
        """Returns when every child has built its steps; to be called once, before the first batch.

        Raises:
            ConfigError: A child cannot build the steps.
        """
        for child in self._children:
            ready = child.receive()
            if isinstance(ready, Refused):
                raise ready.error()

    def __call__(self, batch: pl.DataFrame) -> Outcome:
        """Maps one batch of RAW to what the last front step gives.

        Raises:
            RetryableError: A step waits for the world (the schema registry); nothing of the batch went on.
            FatalError: A child ended, or a step failed for good; nothing of the batch went on.
        """
        count = max(1, min(len(self._children), batch.height // _SHARE_ROWS_MIN))
        size = max(1, -(-batch.height // count))
        busy = self._children[:count]
        with self._lock:
            for number, child in enumerate(busy):
                child.send(batch.slice(number * size, size))
            # Every answer is taken before one is judged, or the next batch would be given the answer of this one.
            answers = [child.receive() for child in busy]
        passed = [_passed(answer) for answer in answers]
        facts = Counter[tuple[str, str]]()
        for one in passed:
            facts.update(one.facts)
            for name, seconds, rows in one.stages:
                self._telemetry.stage_done(name, seconds, rows)
        dead = [ended for one in passed if (ended := unpacked(one.dead)).height]
        return Outcome(pl.concat([unpacked(one.rows) for one in passed]), dead=pl.concat(dead) if dead else NO_DEAD, facts=facts)

    @property
    def pids(self) -> list[int]:
        """Process ids of the children."""
        return [child.pid for child in self._children]

    def close(self) -> None:
        """Ends the children; may be called twice."""
        for child in self._children:
            child.close()


class _Child:
    """The parent's side of one child."""

    def __init__(self, recipe: FrontRecipe, number: int, log: Path) -> None:
        argv = [sys.executable, "-m", "streams.front_child"]
        self._process = ChildProcess(f"front process {number}", argv, log=log, cwd=Path.cwd(), piped=True)
        assert self._process.popen.stdin is not None
        assert self._process.popen.stdout is not None
        self._to: IO[bytes] = self._process.popen.stdin
        self._from: IO[bytes] = self._process.popen.stdout
        for pipe in (self._to, self._from):
            with contextlib.suppress(OSError):  # where the system gives less, messages are only cut more often
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._write(recipe)

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, batch: pl.DataFrame) -> None:
        self._write(packed(batch))

    def _write(self, message: object) -> None:
        # That a child is gone is told when its answer is asked for.
        with contextlib.suppress(BrokenPipeError):
            write_message(self._to, message)

    def receive(self) -> Answer:
        try:
            answer: Answer = read_message(self._from)
        except EOFError:
            with contextlib.suppress(subprocess.TimeoutExpired):  # it closed the pipe and lives on: the stop ends it
                self._process.popen.wait(_CLOSE_S)
            self._process.stop(within_s=_CLOSE_S)
            status = self._process.popen.returncode
            words = f"its last words are in {self._process.log}"
            return Refused((f"{self._process.name} ended with status {status}; nothing of its batch went on. Start again; {words}",))
        return answer

    def close(self) -> None:
        self._process.stop(within_s=_CLOSE_S)


def _passed(answer: Answer) -> Passed:
    if isinstance(answer, Refused):
        raise answer.error()
    if not isinstance(answer, Passed):
        raise FatalError("front: a child answered a batch with something else; please report it")
    return answer
