"""A child process that dies with its parent and whose log explains a failed start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import ConfigError

POLL_INTERVAL_S = 0.02
LOG_TAIL_BYTES = 4_000
KILL_DEADLINE_S = 10.0

_BECOME = Path(__file__).with_name("become.py")

# The kernel sends the death signal when the *thread* that forked the child ends. This thread lives as long as the process, so a child
# may be started from any thread.
_STARTER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embedded-starter")


@dataclass(frozen=True, slots=True)
class Account:
    """The user and group that a child runs as."""

    uid: int
    gid: int


class ChildProcess:
    """One program that runs in a session of its own (a terminal's Ctrl-C does not reach it) until stopped or until its parent dies.

    Args:
        name: What messages call it.
        argv: The program, by absolute path, and its arguments.
        log: File that its standard output and error are appended to.
        cwd: Working directory.
        env: Whole environment; None passes on this process's own.
        account: User and group to run as; None for this process's own. Another one needs root.
        death_signal: What the kernel sends it when this process dies.
        piped: Gives pipes to its standard input and output; only its standard error goes to the log then.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        log: Path,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        account: Account | None = None,
        death_signal: signal.Signals = signal.SIGKILL,
        piped: bool = False,
    ) -> None:
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log_start = log.stat().st_size if log.exists() else 0
        owner = "-" if account is None else f"{account.uid}:{account.gid}"
        command = [sys.executable, "-I", "-S", str(_BECOME), str(os.getpid()), str(int(death_signal)), owner]
        with log.open("ab") as out:
            self.popen = _STARTER.submit(
                subprocess.Popen[bytes],
                [*command, *map(str, argv)],
                stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
                stdout=subprocess.PIPE if piped else out,
                stderr=out,
                cwd=cwd,
                env=env,
                start_new_session=True,
            ).result()

    @property
    def pid(self) -> int:
        """Process id; it stays the same when the program takes over."""
        return self.popen.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.popen.poll() is None

    def tail(self) -> str:
        """The end of what this start wrote to the log, at most 4,000 bytes."""
        with self.log.open("rb") as file:
            size_bytes = file.seek(0, os.SEEK_END)
            file.seek(max(self._log_start, size_bytes - LOG_TAIL_BYTES))
            return file.read().decode("utf-8", "replace").strip() or "(nothing was written)"

    def await_ready(self, ready: Callable[[], bool], deadline_s: float) -> None:
        """Returns when ``ready()`` is true.

        Args:
            ready: Asked every 20 ms; must itself return within a second or so.
            deadline_s: Seconds from now after which the child is killed.

        Raises:
            ConfigError: The child ended first or the deadline passed; the message holds the end of its log.
        """
        end = time.monotonic() + deadline_s
        while not ready():
            if not self.alive:
                raise ConfigError(self._failure(f"ended with status {self.popen.returncode} before it was ready"))
            if time.monotonic() > end:
                self.kill()
                raise ConfigError(self._failure(f"was not ready within {deadline_s:g} s and was killed"))
            time.sleep(POLL_INTERVAL_S)

    def finish(self, deadline_s: float) -> None:
        """Waits for a program that ends by itself.

        Raises:
            ConfigError: It ended with another status than 0 or not before the deadline (it is killed then).
        """
        try:
            status = self.popen.wait(deadline_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ConfigError(self._failure(f"did not end within {deadline_s:g} s and was killed")) from None
        if status != 0:
            raise ConfigError(self._failure(f"ended with status {status}"))

    def stop(self, by: signal.Signals = signal.SIGTERM, within_s: float = 10.0) -> None:
        """Asks it to end and waits; kills it when it takes longer than ``within_s``. Does nothing when it has ended."""
        if self.alive:
            self.popen.send_signal(by)
            try:
                self.popen.wait(within_s)
            except subprocess.TimeoutExpired:
                self.kill()
        self._close_pipes()

    def kill(self) -> None:
        """Kills it and all its descendants at once (SIGKILL), as a power cut would, and returns when none of them runs.

        Raises:
            ConfigError: One still ran ten seconds later.
        """
        doomed = [self.pid, *descendants(self.pid)] if self.alive else []
        for pid in doomed:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if doomed:
            self.popen.wait(KILL_DEADLINE_S)
        end = time.monotonic() + KILL_DEADLINE_S
        while any(_runs(pid) for pid in doomed[1:]):
            if time.monotonic() > end:
                raise ConfigError(f"{self.name}: a process still runs {KILL_DEADLINE_S:g} s after SIGKILL; end it by hand")
            time.sleep(POLL_INTERVAL_S)
        self._close_pipes()

    def _close_pipes(self) -> None:
        for pipe in (self.popen.stdin, self.popen.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):  # what was still to be written has no reader any more
                    pipe.close()

    def _failure(self, what: str) -> str:
        return f"{self.name} {what}; its log {self.log} ends:\n{self.tail()}"


def descendants(pid: int) -> list[int]:
    """Process ids of the children of ``pid`` and of theirs, as they are now."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        fields = _stat_fields(stat)
        if fields:
            parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        children = parents.get(waiting.pop(), [])
        found += children
        waiting += children
    return found


def _runs(pid: int) -> bool:
    """Whether the process exists and is no zombie (a zombie holds nothing but its number)."""
    fields = _stat_fields(Path(f"/proc/{pid}/stat"))
    return bool(fields) and fields[0] not in ("Z", "X")


def _stat_fields(stat: Path) -> list[str]:
    """State, parent and what follows in /proc/PID/stat; empty when the process is gone. The name before them may hold spaces."""
    try:
        return stat.read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
