"""The key ring on disk or in the environment: read with its permissions checked, written whole and readable by its owner only."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Collection
from pathlib import Path
from typing import Final

from governance.key_ring import KEY_BYTES, KID_CHARS, KID_LETTERS, NO_KEYS, Key, KeyRing, KeyUse, parse_key_ring
from schemas.errors import ConfigError

DEFAULT_KEYS_FILE: Final = Path(".headrace/keys")
_HEADING: Final = "# Keys of headrace: USE KID HEX; the last of a use is active. Whoever has this file can read what was encrypted. Keep a copy.\n"


def key_ring_of(text: str | None, path: Path | None) -> KeyRing:
    """Gives the ring that the text says, else the one in the file; an empty one where there is neither.

    Raises:
        ConfigError: The file is missing, others can reach it, or a line is wrong.
    """
    if text is not None:
        return parse_key_ring(text, "privacy.keys")
    return NO_KEYS if path is None else read_key_ring(path)


def read_key_ring(path: Path) -> KeyRing:
    """Gives the ring in a file.

    Raises:
        ConfigError: The file is missing, others can reach it, or a line is wrong.
    """
    problem = keys_file_problem(path)
    if problem is not None:
        raise ConfigError(problem)
    try:
        return parse_key_ring(path.read_text("ascii"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the key file cannot be read ({type(error).__name__}); check its owner, or restore it") from None


def keys_file_problem(path: Path) -> str | None:
    """Gives what is wrong with the file itself, as a sentence with its fix, or None."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return f"{path}: the key file cannot be read ({error.strerror}); make one with: headrace keys new --file {path}"
    if not stat.S_ISREG(mode):
        return f"{path}: must be a file; name another in privacy.keys_file"
    if mode & 0o077:
        return f"{path}: others than its owner can reach the key file (mode {stat.S_IMODE(mode):04o}); run: chmod 600 {path}"
    return None


def with_new_key(ring: KeyRing, use: KeyUse) -> tuple[KeyRing, Key]:
    """Gives the ring with a new active key of a use, and that key."""
    key = Key(use, _new_kid({key.kid for key in ring.keys}), secrets.token_bytes(KEY_BYTES))
    return KeyRing((*ring.keys, key)), key


def write_key_ring(path: Path, ring: KeyRing) -> None:
    """Writes a ring: a crash leaves the old file or the new one, and never a part of either.

    Raises:
        ConfigError: The file cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    text = _HEADING + "".join(f"{key.line}\n" for key in ring.keys)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"{path}: the key file cannot be written ({error.strerror}); choose another with --file") from None


def _new_kid(taken: Collection[str]) -> str:
    while True:
        kid = "".join(secrets.choice(KID_LETTERS) for _ in range(KID_CHARS))
        if kid not in taken:
            return kid
