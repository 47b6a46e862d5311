"""Imports point down: the contracts in pyproject.toml hold, and they catch what they forbid."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from source_tree import PRODUCT_PACKAGES, ROOT

_LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([_LINT_IMPORTS, "--no-logo", "--no-cache"], cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the packages that a test may spoil."""
    for package in PRODUCT_PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_contracts_hold() -> None:
    told = lint(ROOT)
    assert told.returncode == 0, told.stdout + told.stderr


@pytest.mark.parametrize(
    ("path", "text", "contract"),
    [
        ("operators/planted.py", "import streams.topology", "imports point down"),
        ("schemas/planted.py", "import governance", "imports point down"),
        ("sinks/planted.py", "import models", "imports point down"),
        ("operators/planted.py", "import time", "the pure layers"),
        ("governance/planted.py", "from confluent_kafka import Producer", "the pure layers"),
        ("streams/engines/planted.py", "import operators.pii", "an engine knows no operator"),
    ],
)
def test_a_contract_catches_an_import_it_forbids(copy: Path, path: str, text: str, contract: str) -> None:
    (copy / path).write_text(f"{text}\n")
    told = lint(copy)
    broken = [line for line in told.stdout.splitlines() if " BROKEN" in line]
    assert told.returncode != 0
    assert [line for line in broken if line.startswith(contract)] != [], told.stdout
