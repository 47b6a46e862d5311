"""One run under load, with a fault in the middle: it comes up, something breaks and is mended, it catches up, and all that must hold is looked at."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.chaos.delivered import Leaks, assert_delivered, written
from tests.chaos.lives import Life, Lives, Progress
from tests.chaos.load import Load, known_canaries
from tests.fixtures.deployment import Deployment
from tests.fixtures.probes import eventually

#: Records behind the last snapshot, in seconds of the load, at which a run counts as caught up.
BEHIND_S = 4.0


@contextmanager
def under_load(deployment: Deployment, name: str, *, seed: int = 51, rate: float = 150.0, within_s: float = 60.0) -> Iterator[tuple[Life, Leaks]]:
    """Starts a run and a load; the body breaks and mends something, after which the run must catch up in time.

    Args:
        deployment: Where.
        name: Of the fault, for the line that tells how long it took.
        seed: Of the load.
        rate: Records a second.
        within_s: Seconds after the body in which it must have caught up.
    """
    canaries = known_canaries()[::6]
    leaks = Leaks(one.value for one in canaries)
    with Lives(deployment) as lives, Progress(deployment) as progress:
        life = lives.start()
        with Load(deployment, seed, rate, canaries) as load:
            eventually(lambda: (life.alive or _ended(life)) and progress.told() > rate, "first snapshots", 120)
            yield life, leaks
            began = time.monotonic()
            progress.seconds_until(int(rate * BEHIND_S), within_s, lambda: life.alive or _ended(life))
            print(f"\nchaos: {name}: caught up {time.monotonic() - began:.1f} s after it was mended; at most {life.peak_mib:.0f} MiB", flush=True)
        assert life.end(signal.SIGTERM) == 0, life.said[-3000:]
        lives.note(life)
        leaks.look(lives.left(life))
        lives.finish()
    assert_delivered(deployment, load.sent)
    leaks.look(written(deployment))
    leaks.assert_none()


def _ended(life: Life) -> bool:
    raise AssertionError(f"the run has ended with status {life.process.returncode}: {life.said[-3000:]}")
