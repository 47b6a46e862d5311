"""The fit needs JAX, which is in an environment of its own: its tests run there."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
_DEADLINE_S = 280


@pytest.mark.slow
@pytest.mark.parametrize("module", ["test_fit.py", "test_quality.py"])
def test_the_fit_keeps_what_it_promises(module: str, training_python: Path) -> None:
    folder = ROOT / "tests" / "integration" / "training" / "inside"
    command = [training_python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--confcutdir={folder}", folder / module]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=_DEADLINE_S, check=False)
    assert ended.returncode == 0, ended.stdout[-6_000:] + ended.stderr[-2_000:]
    assert " passed" in ended.stdout
