"""Imports point down: the contracts in pyproject.toml hold, and they catch what they forbid."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from source_tree import PRODUCT_PACKAGES, ROOT

_LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([_LINT_IMPORTS, "--no-logo", "--no-cache"], cwd=folder, capture_output=True, text=True, timeout=120, check=False)


#: A module to plant, what it imports, and what import-linter must say of it.
PLANTED = (
    ("operators/planted.py", "import streams.topology", "operators.planted -> streams.topology"),
    ("schemas/planted.py", "import governance", "schemas.planted -> governance"),
    ("sinks/planted.py", "import models", "sinks.planted -> models"),
    ("operators/planted_clock.py", "import time", "operators.planted_clock -> time"),
    ("governance/planted.py", "from confluent_kafka import Producer", "governance.planted -> confluent_kafka"),
    ("streams/engines/planted.py", "import operators.pii", "streams.engines.planted -> operators.pii"),
)


def test_the_contracts_catch_what_they_forbid(tmp_path: Path) -> None:
    for package in PRODUCT_PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for path, text, _ in PLANTED:
        (tmp_path / path).write_text(f"{text}\n")
    told = lint(tmp_path)
    assert told.returncode != 0
    assert [said for _, _, said in PLANTED if said not in told.stdout] == [], told.stdout
