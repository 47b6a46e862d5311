"""The environment of training, apart from ``.venv``: its programs, the packages that data is read from, and those that are for tests only."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Final

_MAKE_DEADLINE_S: Final = 1800
#: What holds the packages of each lock file, in ``.headrace/train``.
ENV: Final = "env"
DATA: Final = "data"
TEST: Final = "test"


def home(root: Path) -> Path:
    """Gives the folder of everything that training installs."""
    return root / ".headrace" / "train"


def make(root: Path, tell: Callable[[str], None], *, with_tests: bool = False) -> Path:
    """Makes what is missing or older than its lock file, and gives the Python that training runs in.

    Args:
        root: The checkout.
        tell: Told what is being installed.
        with_tests: Whether the packages for tests are wanted: evaluation reads them, and training only so as to leave out what is in them.
    """
    python = home(root) / ENV / "bin" / "python"
    if _is_stale(root, ENV, ("train", "encoder")):
        tell("making the environment of training (JAX, Presidio; about a minute)")
        run([sys.executable, "-m", "venv", "--clear", "--without-pip", home(root) / ENV])
        _install(root, python, "train")
        _install(root, python, "encoder", "--no-deps")
        _stamp(root, ENV, ("train", "encoder"))
    for name in (DATA, TEST) if with_tests else (DATA,):
        packages(root, name, tell)
    return python


def packages(root: Path, name: str, tell: Callable[[str], None]) -> Path:
    """Gives the folder of the packages whose files are read: :data:`DATA` for training, :data:`TEST` for tests."""
    if _is_stale(root, name, (f"train-{name}",)):
        tell(f"installing the packages of requirements/train-{name}.lock, for their files")
        _install(root, Path(sys.executable), f"train-{name}", "--no-deps", "--target", home(root) / name)
        _stamp(root, name, (f"train-{name}",))
    return home(root) / name


def _install(root: Path, python: Path, lock: str, *arguments: str | Path) -> None:
    uv = Path(sys.executable).with_name("uv")
    run([uv, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", root / "requirements" / f"{lock}.lock", *arguments])


def run(command: list[str | Path]) -> None:
    """Runs an installer, which trusts the certificates of the system as pip does: a machine behind a proxy has the proxy's there."""
    subprocess.run(["env", "UV_SYSTEM_CERTS=true", *command], check=True, timeout=_MAKE_DEADLINE_S)


def _hash(root: Path, locks: tuple[str, ...]) -> str:
    return sha256(b"".join((root / "requirements" / f"{lock}.lock").read_bytes() for lock in locks)).hexdigest()


def _is_stale(root: Path, name: str, locks: tuple[str, ...]) -> bool:
    stamp = home(root) / f"{name}.sha256"
    return not stamp.exists() or stamp.read_text() != _hash(root, locks)


def _stamp(root: Path, name: str, locks: tuple[str, ...]) -> None:
    home(root).mkdir(parents=True, exist_ok=True)
    (home(root) / f"{name}.sha256").write_text(_hash(root, locks))
