"""A stand-in for Kafka on machines without Java: librdkafka's mock cluster as a child process."""

from __future__ import annotations

import json
import select
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from confluent_kafka import KafkaError

from schemas.errors import ConfigError
from streams.embedded.child import ChildProcess
from streams.embedded.part import EmbeddedPart

START_DEADLINE_S = 30.0
ANSWER_DEADLINE_S = 10.0

WARNING = (
    "Kafka is librdkafka's mock cluster, not a broker. It keeps only the newest 5 MiB of each partition, does not hide what an aborted "
    "transaction wrote, does not store offsets sent to a transaction, and forgets everything when it stops. Nothing about delivery, "
    "recovery or exactly-once can be shown on it."
)

_ROOT = Path(__file__).parents[2]


class MockKafka(EmbeddedPart):
    """librdkafka's mock cluster as a child process; a context manager with the interface of ``KafkaBroker``, without data that stay.

    See ``WARNING`` for what it cannot do. A topic that is asked for and was not created comes into being with four partitions.

    Args:
        directory: Keeps its log; None for a temporary directory that goes at the end of the ``with``.

    Attributes:
        log: Where librdkafka's messages go.

    Raises:
        ConfigError: It did not start (with its log's end).
    """

    def __init__(self, directory: Path | None = None) -> None:
        super().__init__("mock-kafka", directory)
        self._bootstrap = ""
        self._topics: dict[str, int] = {}

    @property
    def bootstrap(self) -> str:
        """Host and port for clients; another one after each start."""
        return self._bootstrap

    def start(self) -> None:
        """Starts an empty cluster. Does nothing when it runs."""
        if self.pid is not None:
            return
        self._topics.clear()
        argv = [sys.executable, "-m", "streams.embedded.mock_cluster"]
        self._child = ChildProcess("mock Kafka", argv, log=self.log, cwd=_ROOT, piped=True)
        self._child.await_ready(self._announced, START_DEADLINE_S)
        self._bootstrap = self._answer()

    def stop(self) -> None:
        """Ends it; everything it held is gone. Does nothing when it is down."""
        self.kill()

    def create_topics(self, topics: Mapping[str, int], settings: Mapping[str, str] | None = None) -> None:
        """Creates topics with that many partitions each; one that was created with the same number stays as it is.

        Args:
            topics: Name to number of partitions.
            settings: Accepted for the sake of ``KafkaBroker``'s interface; the mock knows no topic settings.

        Raises:
            ConfigError: A topic exists with another number of partitions, or the mock is down.
        """
        fresh = {name: count for name, count in topics.items() if self._topics.get(name) != count}
        if not fresh:
            return
        if self._child is None or self._child.popen.stdin is None or not self._child.alive:
            raise ConfigError("mock Kafka: topics can be created only while it runs; start it first")
        self._child.popen.stdin.write(json.dumps(fresh).encode() + b"\n")
        self._child.popen.stdin.flush()
        codes = json.loads(self._answer())
        problems = []
        for (name, count), code in zip(fresh.items(), codes, strict=True):
            if code == KafkaError.NO_ERROR:
                self._topics[name] = count
            else:
                problems.append(f"topic {name}: mock Kafka did not create it with {count} partitions: {KafkaError(code).str()}")
        if problems:
            raise ConfigError(*problems)

    def _announced(self) -> bool:
        """Whether the child has written its address. A pipe that ended is readable too, so the child must live."""
        return bool(select.select([self._from_child()], [], [], 0)[0]) and self.pid is not None

    def _answer(self) -> str:
        """One line from the child; every question has exactly one, so nothing is left in the buffer."""
        lines = self._from_child()
        answer = lines.readline().decode().strip() if select.select([lines], [], [], ANSWER_DEADLINE_S)[0] else ""
        if not answer:
            raise ConfigError(f"mock Kafka gave no answer within {ANSWER_DEADLINE_S:g} s or ended; see {self.log}")
        return answer

    def _from_child(self) -> IO[bytes]:
        if self._child is None or self._child.popen.stdout is None:
            raise ConfigError("mock Kafka is down; start it first")
        return self._child.popen.stdout
