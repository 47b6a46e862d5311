"""Lives of one pipeline: starts it, watches its memory and how far it is, ends it in many ways, and starts it again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final, Self

from confluent_kafka import Consumer, KafkaException, TopicPartition

from schemas.topics import INPUTS
from streams.embedded.child import descendants
from tests.fixtures.deployment import PARTITIONS, Deployment
from tests.integration.privacy.canaries import bytes_below

#: Points that a run without models passes again and again.
POINTS: Final = ("after_poll", "after_state_update", "inside_transaction", "after_commit", "before_snapshot", "after_pack", "during_recovery")
_LOOK_S: Final = 0.05
#: A run that passed its memory here has no bound.
MEMORY_MIB_MAX: Final = 1_500
#: A life that was to die at a point and does not pass it is killed at last.
_LIFE_S_MAX: Final = 30.0


@dataclass(frozen=True, slots=True)
class Death:
    """How one life ends.

    Attributes:
        by: ``SIGKILL`` or ``SIGTERM`` after a time, or the failpoint.
        after_s: Seconds from its start; None at a failpoint.
    """

    by: str
    after_s: float | None = None

    def __str__(self) -> str:
        return self.by if self.after_s is None else f"{self.by} after {self.after_s:.2f} s"


def deaths(seed: int, count: int, longest_s: float = 9.0) -> list[Death]:
    """Gives deaths that depend on the seed alone: half at random times (also before the first snapshot), a third at points, the rest in order."""
    draw = random.Random(f"deaths {seed}")
    made = []
    for _ in range(count):
        kind = draw.random()
        if kind < 0.5:
            made.append(Death("SIGKILL", round(draw.uniform(0.3, longest_s), 3)))
        elif kind < 0.85:
            made.append(Death(f"{draw.choice(POINTS)}:{draw.choice((1, 1, 2, 3, 8, 30))}"))
        else:
            made.append(Death("SIGTERM", round(draw.uniform(0.3, longest_s), 3)))
    return made


@dataclass
class Life:
    """One process of the pipeline.

    Attributes:
        number: Which life of the deployment.
        peak_mib: Largest resident memory seen, of the process and its children together.
    """

    number: int
    process: subprocess.Popen[bytes]
    folder: Path
    started_at: float
    files: tuple[IO[bytes], IO[bytes]]
    peak_mib: float = 0.0

    @property
    def status(self) -> int | None:
        """How it ended; None while it runs."""
        return subprocess.Popen.poll(self.process)

    @property
    def alive(self) -> bool:
        """Whether it runs; looks at its memory meanwhile."""
        if self.status is not None:
            return False
        self.peak_mib = max(self.peak_mib, sum(map(_resident_mib, (self.process.pid, *descendants(self.process.pid)))))
        return True

    def end(self, how: signal.Signals, within_s: float = 60.0) -> int:
        """Ends it and gives its status."""
        if self.alive:
            self.process.send_signal(how)
        return self.wait(within_s)

    def wait(self, within_s: float) -> int:
        """Waits for its end and gives its status."""
        try:
            return self.process.wait(within_s)
        finally:
            if self.status is None:
                self.process.kill()
                self.process.wait(10)
            for file in self.files:
                file.close()

    @property
    def said(self) -> str:
        """What it wrote to its standard error."""
        return (self.folder / "err.log").read_text("utf-8", "replace")


@dataclass
class Lives:
    """The lives of a deployment; a context manager that leaves none behind.

    Attributes:
        log: One line for each death, for the message of a failure.
    """

    deployment: Deployment
    log: list[str] = field(default_factory=list)
    peak_mib: float = 0.0
    _running: list[Life] = field(default_factory=list)
    _count: int = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for life in self._running:
            if life.status is None:
                life.end(signal.SIGKILL)

    def start(self, *arguments: str, failpoint: str | None = None) -> Life:
        """Starts ``headrace run``, its output in files of its own below the deployment's folder."""
        self._count += 1
        folder = self.deployment.folder / "lives" / f"{self._count:03d}"
        folder.mkdir(parents=True)
        files = ((folder / "out.log").open("wb"), (folder / "err.log").open("wb"))
        process = subprocess.Popen(
            [sys.executable, *self.deployment.program, "run", *arguments],
            env=self.deployment.environment(failpoint),
            cwd=self.deployment.folder,
            stdout=files[0],
            stderr=files[1],
        )
        life = Life(self._count, process, folder, time.monotonic(), files)
        self._running.append(life)
        return life

    def live(self, death: Death, watch: Callable[[], None] = lambda: None) -> Life:
        """Starts a life and lets it die so; ``watch`` is called again and again meanwhile."""
        life = self.start(failpoint=None if death.after_s is not None else death.by)
        end = life.started_at + (_LIFE_S_MAX if death.after_s is None else death.after_s)
        while life.alive and time.monotonic() < end:
            watch()
            time.sleep(_LOOK_S)
        if death.after_s is None and life.alive:
            self.log.append(f"life {life.number}: {death} was not passed; killed")
        status = life.end(signal.SIGTERM if death.by == "SIGTERM" else signal.SIGKILL)
        self.log.append(f"life {life.number}: {death} -> {status}")
        self.note(life)
        # A life that is told to stop before it has begun to listen ends by the signal.
        allowed = (0, -signal.SIGTERM) if death.by == "SIGTERM" else (-signal.SIGKILL,)
        assert status in allowed, f"{self.story()}\n{life.said[-3000:]}"
        return life

    def note(self, life: Life) -> None:
        """Keeps the largest memory; a run has a bound."""
        self.peak_mib = max(self.peak_mib, life.peak_mib)
        assert life.peak_mib < MEMORY_MIB_MAX, f"life {life.number} had {life.peak_mib:.0f} MiB resident"

    def finish(self, within_s: float = 300.0) -> Life:
        """Runs to the end of the input."""
        life = self.start("--until-end")
        until = time.monotonic() + within_s
        while life.alive and time.monotonic() < until:
            time.sleep(_LOOK_S)
        assert not life.alive, f"the last life did not end within {within_s:g} s\n{self.story()}\n{life.said[-3000:]}"
        status = life.wait(10)
        self.note(life)
        assert status == 0, f"{self.story()}\n{life.said[-3000:]}"
        return life

    def story(self) -> str:
        """Gives how it came so far."""
        return "\n".join(self.log[-12:])

    def left(self, life: Life) -> Iterator[tuple[str, bytes]]:
        """Gives what lies on disk after a death: its logs and the recovery directory."""
        yield from self.said_by(life)
        yield from ((f"life {life.number}: {place}", data) for place, data in bytes_below(self.deployment.recovery))

    def said_by(self, life: Life) -> Iterator[tuple[str, bytes]]:
        """Gives the logs of a life."""
        yield from ((f"life {life.number}: {place}", data) for place, data in bytes_below(life.folder))


class Progress:
    """How far a pipeline is, seen from outside: by what it told its group after a snapshot. A context manager."""

    def __init__(self, deployment: Deployment) -> None:
        self._consumer = Consumer(
            {"bootstrap.servers": deployment.bootstrap, "group.id": deployment.prefix.rstrip("."), "error_cb": lambda _error: None}
        )
        self._places = [TopicPartition(deployment.prefix + topic, partition) for topic in INPUTS for partition in range(PARTITIONS)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def told(self) -> int:
        """Records that are in snapshots; 0 also while no broker answers."""
        try:
            return sum(max(0, place.offset) for place in self._consumer.committed(self._places, timeout=10))
        except KafkaException:
            return 0

    def behind(self) -> int | None:
        """Records at the end of the topics that no snapshot holds; None while no broker answers."""
        try:
            ends = sum(self._consumer.get_watermark_offsets(place, timeout=10)[1] for place in self._places)
            told = sum(max(0, place.offset) for place in self._consumer.committed(self._places, timeout=10))
        except KafkaException:
            return None
        return ends - told

    def seconds_until(self, behind_max: int, within_s: float, alive: Callable[[], bool]) -> float:
        """Waits until no more than so many records are left; gives the seconds it took."""
        began = time.monotonic()
        while (left := self.behind()) is None or left > behind_max:
            assert alive(), "the run has ended"
            assert time.monotonic() - began < within_s, f"{left} records behind after {within_s:g} s"
            time.sleep(_LOOK_S)
        return time.monotonic() - began


def _resident_mib(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def percentile(values: Sequence[float], share: float) -> float:
    """Gives the value below which a share lies."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]
