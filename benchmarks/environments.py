"""Environments apart from ``.venv``, made from their lock file when it is new: the peers' and the profiler's."""

from __future__ import annotations

import subprocess
import sys
from hashlib import sha256
from pathlib import Path

from benchmarks.result import ROOT

_MAKE_DEADLINE_S = 900


def environment(name: str) -> Path:
    """Gives the folder of programs of the environment that ``requirements/<name>.lock`` describes."""
    lock, home = ROOT / "requirements" / f"{name}.lock", ROOT / ".headrace" / "environments" / name
    stamp, wanted = home / "lock.sha256", sha256(lock.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"making the environment {name}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", home], check=True, timeout=_MAKE_DEADLINE_S)
        install: list[str | Path] = [
            Path(sys.executable).with_name("uv"),
            "pip",
            "install",
            "--quiet",
            "--python",
            home / "bin/python",
            "--require-hashes",
            "-r",
            lock,
        ]
        subprocess.run(install, check=True, timeout=_MAKE_DEADLINE_S)
        stamp.write_text(wanted)
    return home / "bin"
