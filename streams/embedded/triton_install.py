"""Finds the Triton Inference Server that ``make setup`` puts into an environment of its own, and says what is missing."""

from __future__ import annotations

import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from schemas.errors import ConfigError

DEFAULT_CACHE: Final = Path(".headrace")
_SETUP: Final = "run `make setup`, which installs it from requirements/triton.lock and requirements/triton-server.lock"


@dataclass(frozen=True, slots=True)
class TritonInstall:
    """What a start needs.

    Attributes:
        server: The program.
        backends: Directory of its backends.
        bin: Programs of its environment: the Python backend starts the ``python3`` that it finds first.
        python_library: Directory of libpython; without it the backend's stub loads the system's, which knows none of the packages.
    """

    server: Path
    backends: Path
    bin: Path
    python_library: Path


def find_triton(cache: Path = DEFAULT_CACHE) -> TritonInstall:
    """Gives the installed server.

    Raises:
        ConfigError: It is not there, or not completely; with what to do.
    """
    problems = missing_for_triton(cache)
    if problems:
        raise ConfigError(*problems)
    return _install(cache)


def missing_for_triton(cache: Path = DEFAULT_CACHE) -> tuple[str, ...]:
    """Says what is missing on this machine to run the server, a sentence each with its fix; empty when all is there."""
    found = _install(cache)
    # The stub is put in its place last.
    if not (found.server.is_file() and (found.backends / "python" / "triton_python_backend_stub").is_file()):
        return (f"Triton: {cache / 'triton'} holds no complete installation; {_SETUP}",)
    library = found.python_library / str(sysconfig.get_config_var("INSTSONAME"))
    if ".so" not in library.name or not library.is_file():
        return (f"Triton: its Python backend needs Python's shared library, {library} is not there; on Debian: apt-get install libpython3.11",)
    return ()


def _install(cache: Path) -> TritonInstall:
    home = cache.resolve() / "triton"
    root = home / "lib" / "python3.11" / "site-packages" / "pytriton" / "tritonserver"
    return TritonInstall(root / "bin" / "tritonserver", root / "backends", home / "bin", Path(str(sysconfig.get_config_var("LIBDIR"))))
