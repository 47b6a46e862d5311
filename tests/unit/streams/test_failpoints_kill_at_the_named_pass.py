"""Failpoints: silent until asked for, refused where they are misspelled, and deadly at exactly the pass they name."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from schemas.errors import ConfigError
from streams.failpoints import NAMES, Failpoints

CHILD = """
import sys
from streams.failpoints import Failpoints
points = Failpoints(sys.argv[1])
for turn in range(1, 6):
    points.hit("after_commit")
    print(turn, flush=True)
    points.hit("before_snapshot")
"""


def test_without_a_failpoint_every_pass_returns() -> None:
    points = Failpoints(None)
    for name in NAMES:
        points.hit(name)


@pytest.mark.parametrize("spec", ["", "nowhere", "after_poll:0", "after_poll:-1", "after_poll:x", "after_poll:1.5", "after_poll:²", ":3"])
def test_a_failpoint_that_cannot_be_is_refused(spec: str) -> None:
    with pytest.raises(ConfigError, match=r"testing\.failpoint: must be NAME or NAME:COUNT"):
        Failpoints(spec)


@pytest.mark.parametrize(("spec", "passed"), [("after_commit", 0), ("after_commit:3", 2), ("before_snapshot:3", 3)])
def test_the_process_dies_at_the_named_pass_and_not_before(spec: str, passed: int, pytestconfig: pytest.Config) -> None:
    child = subprocess.run([sys.executable, "-c", CHILD, spec], capture_output=True, timeout=60, check=False, cwd=pytestconfig.rootpath)
    assert child.returncode == -signal.SIGKILL
    assert child.stdout.split() == [str(turn).encode() for turn in range(1, passed + 1)]
