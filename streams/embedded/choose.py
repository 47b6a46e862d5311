"""The best Kafka that this machine can run: a real broker, or a mock with a warning to show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol, Self

from schemas.errors import ConfigError
from streams.embedded.kafka import DEFAULT_CACHE, KafkaBroker, missing_for_kafka
from streams.embedded.mock_kafka import WARNING, MockKafka


class Kafka(Protocol):
    """What the real broker and the mock have in common."""

    @property
    def bootstrap(self) -> str:
        """Host and port for clients."""

    def __enter__(self) -> Self:
        """Starts it."""

    def __exit__(self, *error: object) -> None:
        """Stops it."""

    def stop(self) -> None:
        """Stops it."""

    def create_topics(self, topics: Mapping[str, int], settings: Mapping[str, str] | None = None) -> None:
        """Creates topics with that many partitions each."""


class KafkaKind(StrEnum):
    """Which Kafka is asked for."""

    AUTO = "auto"
    REAL = "real"
    MOCK = "mock"


@dataclass(frozen=True, slots=True)
class ChosenKafka:
    """A Kafka that is not started yet: enter it with ``with``.

    Attributes:
        kafka: The broker or the mock.
        kind: REAL or MOCK, never AUTO.
        warning: For the mock, what it cannot do and what is missing for the real one, to be shown to a person; None for the real one.
    """

    kafka: Kafka
    kind: KafkaKind
    warning: str | None


def choose_kafka(
    directory: Path | None = None,
    *,
    wanted: KafkaKind = KafkaKind.AUTO,
    cache: Path = DEFAULT_CACHE,
    tell: Callable[[str], None] = lambda line: None,
) -> ChosenKafka:
    """Gives the real broker where Java and Maven (or the jars) are there, otherwise the mock with its warning.

    Args:
        directory: Keeps data and log across runs; None for a temporary directory.
        wanted: REAL never gives the mock, MOCK never the broker.
        cache: Where the broker's jars are kept.
        tell: Called with one line before anything that takes long.

    Raises:
        ConfigError: REAL was asked for and something is missing; each problem names it and its fix.
    """
    missing = () if wanted is KafkaKind.MOCK else missing_for_kafka(cache)
    if wanted is KafkaKind.REAL and missing:
        raise ConfigError(*missing)
    if wanted is KafkaKind.MOCK or missing:
        return ChosenKafka(MockKafka(directory), KafkaKind.MOCK, "\n".join((WARNING, *missing)))
    return ChosenKafka(KafkaBroker(directory, cache=cache, tell=tell), KafkaKind.REAL, None)
