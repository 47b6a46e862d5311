"""What a run on Flink needs beside headrace: Java, a Python environment of its own, the Kafka connector's jar. As a program it fetches the jar."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Final

from schemas.errors import ConfigError
from streams.config import Config, FlinkConfig
from streams.embedded.jars import jars_present, missing_java, resolve_jars

_POM: Final = Path(__file__).with_name("kafka_jars") / "pom.xml"
CONNECTOR: Final = "flink-sql-connector-kafka-5.0.0-2.2.jar"
_CONNECTOR_SHA256: Final = "5605c691d11a501382c383fecba37a7a552467da5ab7ba904ef5d6f3d62c5616"
_MAKE: Final = "run: make flink"


def missing_for_flink(config: Config) -> tuple[str, ...]:
    """Says what is missing on this machine, a sentence each with its fix; empty when all is there."""
    flink, missing = config.flink, list(missing_java())
    if not python_of(flink).is_file():
        missing.append(f"flink.environment: {flink.environment} holds no Python environment with PyFlink; {_MAKE}")
    if not jars_present(_POM, flink.jars):
        missing.append(f"flink.jars: {flink.jars} does not hold {CONNECTOR}, the Kafka connector; {_MAKE}")
    return tuple(missing)


def python_of(flink: FlinkConfig) -> Path:
    """Gives the Python of Flink's environment."""
    return flink.environment.expanduser().absolute() / "bin" / "python"


def connector_of(flink: FlinkConfig) -> Path:
    """Gives the connector's jar.

    Raises:
        ConfigError: It is another file than the one that was pinned.
    """
    path = flink.jars.expanduser().absolute() / CONNECTOR
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != _CONNECTOR_SHA256:
        raise ConfigError(f"{path}: SHA-256 must be {_CONNECTOR_SHA256[:16]}..., came {digest[:16]}...; remove the folder, then {_MAKE}")
    return path


def main() -> None:
    """Fetches the connector's jar into the folder that the configuration names by default."""
    flink = FlinkConfig()
    resolve_jars(_POM, flink.jars, lambda line: print(f"setup: {line}", file=sys.stderr))
    connector_of(flink)


if __name__ == "__main__":
    main()
