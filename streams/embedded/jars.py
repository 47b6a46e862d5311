"""Jars that Maven resolves once and that are kept under the project's cache directory."""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from schemas.errors import ConfigError
from streams.embedded.child import ChildProcess

JAVA_VERSION_MIN = 17
DEBIAN_PACKAGES = "openjdk-17-jre-headless maven"
MAVEN_DEADLINE_S = 900.0
_INSTALL = f"on Debian: apt-get install {DEBIAN_PACKAGES}"


def missing_java() -> tuple[str, ...]:
    """Says what is missing to run a jar: nothing, or one sentence with its fix."""
    java = shutil.which("java")
    if java is None:
        return (f"java: Java {JAVA_VERSION_MIN} or newer is required, none is on the PATH; {_INSTALL}",)
    told = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False).stderr
    version = re.search(r'version "(?:1\.)?(\d+)', told)
    if version is None or int(version[1]) < JAVA_VERSION_MIN:
        came = f"version {version[1]}" if version else "one that does not tell its version"
        return (f"java: Java {JAVA_VERSION_MIN} or newer is required, {java} is {came}; {_INSTALL}",)
    return ()


def missing_maven() -> tuple[str, ...]:
    """Says what is missing to resolve jars: nothing, or one sentence with its fix."""
    return () if shutil.which("mvn") else (f"mvn: Maven is required to fetch the jars once, none is on the PATH; {_INSTALL}",)


def jars_present(pom: Path, target: Path) -> bool:
    """Whether ``target`` holds the jars that this very ``pom`` names."""
    stamp = target / "pom.sha256"
    return stamp.is_file() and stamp.read_text() == _digest(pom)


def resolve_jars(pom: Path, target: Path, tell: Callable[[str], None]) -> Path:
    """Gives ``target`` with the runtime jars that ``pom`` names; asks Maven only when they are not there yet.

    Safe to call from several processes at once: one resolves, the others wait for it. Maven reads the user's own settings.

    Args:
        pom: Maven file; its bytes are the cache key.
        target: Directory for the jars; replaced as a whole.
        tell: Called with one line before a download starts.

    Raises:
        ConfigError: Maven is missing, or could not resolve the jars (the message holds the end of its output).
    """
    if jars_present(pom, target):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / f"{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not jars_present(pom, target):
            _fetch(pom, target, tell)
    return target


def _fetch(pom: Path, target: Path, tell: Callable[[str], None]) -> None:
    missing = missing_maven()
    if missing:
        raise ConfigError(*missing)
    tell(f"fetching the jars of {pom.parent.name} with Maven (once, into {target})")
    arriving = target.with_name(f"{target.name}.arriving")
    shutil.rmtree(arriving, ignore_errors=True)
    arriving.mkdir()
    argv = ["mvn", "--quiet", "--batch-mode", "-Dstyle.color=never", "--file", str(pom.resolve()), "dependency:copy-dependencies"]
    argv += ["-DincludeScope=runtime", f"-DoutputDirectory={arriving.resolve()}"]
    argv[0] = shutil.which("mvn") or argv[0]
    log = target.parent.resolve() / f"{target.name}-maven.log"
    ChildProcess("Maven", argv, log=log, cwd=target.parent).finish(MAVEN_DEADLINE_S)
    (arriving / "pom.sha256").write_text(_digest(pom))
    shutil.rmtree(target, ignore_errors=True)
    arriving.rename(target)


def _digest(pom: Path) -> str:
    return hashlib.sha256(pom.read_bytes()).hexdigest()
