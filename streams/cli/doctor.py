"""``headrace doctor``: what this machine and this configuration have, what is missing, and what to do about it."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import typer

from models.endpoint import is_loopback
from schemas.errors import ConfigError, HeadraceError
from streams.cli.say import ConfigOption
from streams.config import Config, QdrantConfig, QdrantServerConfig, load_config
from streams.hash_key import DEFAULT_KEY_FILE, key_file_problem

_PACKAGES: Final = (
    "bytewax",
    "confluent-kafka",
    "hyperscan",
    "msgspec",
    "phonenumbers",
    "polars",
    "presidio-analyzer",
    "prometheus-client",
    "psycopg",
    "pydantic",
    "pyruhvro",
    "pyyaml",
    "structlog",
)
_CONNECT_S: Final = 2.0


class Mark(StrEnum):
    """How a check came out."""

    GOOD = "ok"
    ADVICE = "advice"  # works without it, with less
    BAD = "missing"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    mark: Mark
    subject: str
    says: str


def doctor(config: ConfigOption = None) -> None:
    """Check Java, Maven, PostgreSQL, packages, ports and keys; say what to do. Exit status 1 where something needed is missing."""
    findings = list(examine(config))
    for finding in findings:
        print(f"{finding.mark.value:8} {finding.subject}: {finding.says}")
    if any(finding.mark is Mark.BAD for finding in findings):
        raise typer.Exit(1)


def examine(path: Path | None) -> Iterator[Finding]:
    """Gives all findings."""
    from streams.embedded.kafka import missing_for_kafka
    from streams.embedded.postgres_install import missing_for_postgres
    from streams.embedded.triton_install import missing_for_triton

    yield _python()
    yield from _packages()
    yield from _part("embedded Kafka", missing_for_kafka, Mark.ADVICE, " (the demo then uses a mock, which shows nothing about delivery)")
    yield from _part("embedded PostgreSQL", missing_for_postgres, Mark.ADVICE, " (the demo needs it)")
    yield from _part("embedded Triton", missing_for_triton, Mark.ADVICE, " (`headrace models serve` needs it)")
    try:
        found = load_config(path)
    except ConfigError as error:
        yield from (Finding(Mark.BAD, "configuration", problem) for problem in error.problems)
        return
    yield Finding(Mark.GOOD, "configuration", "is right")
    yield from _models(found)
    yield _key(found)
    yield from _in_the_clear(found)
    yield from _reachable(found)


def _models(config: Config) -> Iterator[Finding]:
    """Looks whether policy and model server fit together."""
    from streams.inference import models_problems
    from streams.policy_file import load_policy

    if config.models is None:
        yield Finding(Mark.ADVICE, "models", "none named: names in running text go on, and nothing is scored; set models.url")
        return
    try:
        problems = models_problems(config, load_policy(config.pipeline.policy).policy)
    except ConfigError as error:
        problems = list(error.problems)
    yield from (Finding(Mark.BAD, "models", problem) for problem in problems)
    if not problems:
        yield Finding(Mark.GOOD, "models", "asked as policy says")


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] < (3, 13):
        return Finding(Mark.GOOD, "Python", version)
    return Finding(Mark.BAD, "Python", f"{version}; 3.11 or 3.12 is required, run scripts/setup.sh")


def _packages() -> Iterator[Finding]:
    missing = []
    for name in _PACKAGES:
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        yield Finding(Mark.BAD, "packages", f"{', '.join(missing)} not installed; run scripts/setup.sh")
    else:
        yield Finding(Mark.GOOD, "packages", f"{len(_PACKAGES)} of {len(_PACKAGES)} installed")


def _part(subject: str, missing: Callable[[], Iterable[str]], mark: Mark, otherwise: str) -> Iterator[Finding]:
    problems = list(missing())
    yield from (Finding(mark, subject, problem + otherwise) for problem in problems)
    if not problems:
        yield Finding(Mark.GOOD, subject, "can be started")


def _key(config: Config) -> Finding:
    """Looks at the key of identifier hashes without making one."""
    if config.privacy.hash_key is not None:
        return Finding(Mark.GOOD, "hash key", "comes from the environment")
    path = config.privacy.key_file or DEFAULT_KEY_FILE
    if path == DEFAULT_KEY_FILE and not path.exists():
        return Finding(Mark.ADVICE, "hash key", f"none yet; the first run makes {path}. Set privacy.hash_key so that all hosts share one")
    problem = key_file_problem(path)
    return Finding(Mark.GOOD, "hash key", str(path)) if problem is None else Finding(Mark.BAD, "hash key", problem)


def _reachable(config: Config) -> Iterator[Finding]:
    """Looks whether what the configuration names answers, and whether the port of the pages is free."""
    if config.kafka is not None:
        for address in config.kafka.bootstrap.split(","):
            host, _, port = address.rpartition(":")
            yield _answers(f"Kafka {address}", host, int(port), "kafka.bootstrap")
    if config.timescale is not None:
        yield _database(config.timescale.dsn.get_secret_value())
    if config.models is not None:
        host, _, port = config.models.url.rpartition(":")
        yield _answers(f"model server {config.models.url}", host.strip("[]"), int(port), "models.url")
    if config.qdrant is not None:
        yield _vectors(config.qdrant)
    if config.http is not None and config.http.port:
        yield _free(config.http.host, config.http.port)


def _in_the_clear(config: Config) -> Iterator[Finding]:
    """Advises against connections in the clear to other hosts: raw records come over the one to Kafka."""
    if config.kafka is not None and not config.kafka.is_encrypted:
        others = [address for address in config.kafka.bootstrap.split(",") if not is_loopback(address.rpartition(":")[0])]
        if others:
            yield Finding(Mark.ADVICE, f"Kafka {', '.join(others)}", "in the clear to another host; set kafka.security (docs/security.md)")
    if config.timescale is not None and not config.timescale.is_verified:
        yield Finding(Mark.ADVICE, "database", "the server's certificate is not checked; write sslmode=verify-full and sslrootcert in timescale.dsn")
    if isinstance(config.qdrant, QdrantServerConfig) and config.qdrant.url.startswith("http://"):
        host = urlsplit(config.qdrant.url).hostname or ""
        if not is_loopback(host):
            yield Finding(Mark.ADVICE, f"vectors {host}", "in the clear to another host; write https:// in qdrant.url")


def _answers(subject: str, host: str, port: int, key: str) -> Finding:
    try:
        socket.create_connection((host, port), timeout=_CONNECT_S).close()
    except OSError as error:
        return Finding(Mark.BAD, subject, f"does not answer ({type(error).__name__}); start it or correct {key}")
    return Finding(Mark.GOOD, subject, "answers")


def _database(dsn: str) -> Finding:
    import psycopg

    try:
        with psycopg.connect(dsn, connect_timeout=round(_CONNECT_S)) as connection:
            version = connection.info.server_version
    except psycopg.Error as error:
        return Finding(Mark.BAD, "database", f"does not answer ({type(error).__name__}); start it or correct timescale.dsn")
    return Finding(Mark.GOOD, "database", f"PostgreSQL {version // 10_000} answers")


def _vectors(qdrant: QdrantConfig) -> Finding:
    """Looks whether the collection can be opened and is as it must be; a running pipeline that holds it is no fault."""
    from streams.vectors import backend_of

    try:
        backend_of(qdrant).open(_CONNECT_S).close()
    except HeadraceError as error:
        return Finding(Mark.ADVICE if "held by process" in str(error) else Mark.BAD, "vectors", str(error))
    return Finding(Mark.GOOD, "vectors", f"collection {qdrant.collection} is there")


def _free(host: str, port: int) -> Finding:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return Finding(Mark.BAD, f"port {port}", f"cannot be listened on ({error.strerror}); choose another http.port, or stop what holds it")
    return Finding(Mark.GOOD, f"port {port}", "is free")
