"""The key of the keyed hash that stands for personal identifiers: taken from the configuration, or made once and kept."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import sys
from pathlib import Path
from typing import Final

from schemas.errors import ConfigError

HASH_KEY_BYTES_MIN: Final = 16
DEFAULT_KEY_FILE: Final = Path(".headrace/hash.key")
_NEW_KEY_BYTES: Final = 32


def hash_key_of(text: str | None, key_file: Path | None, default: Path = DEFAULT_KEY_FILE) -> bytes:
    """Gives the key: the text, else what the key file holds, else what the default file holds, made now where it is not there.

    Raises:
        ConfigError: A key file is missing, others can reach it, or it is too short.
    """
    if text is not None:
        return text.encode()
    if key_file is not None:
        return _read(key_file)
    if not default.exists():
        _make(default)
        print(f"headrace: made a new key for hashing identifiers in {default}; keep it, or the same person gets another hash", file=sys.stderr)
    return _read(default)


def _make(path: Path) -> None:
    """Writes a new key that only its owner can read; another process that was faster wins."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(secrets.token_hex(_NEW_KEY_BYTES).encode())
        file.flush()
        os.fsync(file.fileno())
    try:
        with contextlib.suppress(FileExistsError):  # two first runs at once end up with one key
            os.link(draft, path)
    finally:
        draft.unlink()


def key_file_problem(path: Path) -> str | None:
    """Gives what is wrong with a key file, as a sentence with its fix, or None."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return f"{path}: the key file cannot be read ({error.strerror}); make one with: (umask 077; openssl rand -hex 32 > {path})"
    if not stat.S_ISREG(mode):
        return f"{path}: must be a file; name another in privacy.key_file"
    if mode & 0o077:
        return f"{path}: others than its owner can reach the key file (mode {stat.S_IMODE(mode):04o}); run: chmod 600 {path}"
    return None


def _read(path: Path) -> bytes:
    problem = key_file_problem(path)
    if problem is not None:
        raise ConfigError(problem)
    try:
        key = path.read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"{path}: the key file cannot be read ({error.strerror}); check its owner") from None
    if len(key) < HASH_KEY_BYTES_MIN:
        raise ConfigError(f"{path}: the key must have at least {HASH_KEY_BYTES_MIN} bytes, came {len(key)}; make one with: openssl rand -hex 32")
    return key
