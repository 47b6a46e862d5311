"""A real Apache Kafka broker on the loopback interface: one node, broker and controller in one Java process."""

from __future__ import annotations

import base64
import logging
import re
import secrets
import shutil
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from schemas.errors import ConfigError
from streams.embedded.child import ChildProcess
from streams.embedded.jars import jars_present, missing_java, missing_maven, resolve_jars
from streams.embedded.part import EmbeddedPart
from streams.embedded.ports import LOOPBACK, accepts, free_ports

DEFAULT_CACHE = Path(".headrace")
START_DEADLINE_S = 90.0
TOPIC_DEADLINE_S = 30.0
HEAP_MIB = 512

_JARS = Path(__file__).with_name("kafka_jars")
_POM = _JARS / "pom.xml"

# librdkafka reports every refused connection while the broker starts; what matters comes as an error with the end of the broker's log.
_QUIET = logging.Logger("headrace.embedded.kafka", logging.CRITICAL)
_QUIET.addHandler(logging.NullHandler())

# One node on two shared cores. Values differ from Kafka's defaults for the reason given.
SINGLE_NODE = {
    # Internal topics cannot have the usual three replicas; few partitions, because each costs files and start-up time.
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    # A misspelt topic is an error, not a new topic.
    "auto.create.topics.enable": "false",
    # A group's first member need not wait three seconds for others.
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    # A broker killed with SIGKILL may register again only when its old session has run out: by default nine seconds.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    # Recorded events carry old timestamps: retention by time would delete them at once.
    "log.retention.ms": "-1",
    "log.retention.bytes": "-1",
    # 128 MiB of heap by default; the compacted topics of one machine are small.
    "log.cleaner.dedupe.buffer.size": "16777216",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "background.threads": "2",
    "group.coordinator.threads": "1",
    "share.coordinator.threads": "1",
    "controller.quorum.election.backoff.max.ms": "100",
}


def kafka_version() -> str:
    """The version of Kafka that the embedded broker is."""
    found = re.search(r"<kafka\.version>([^<]+)<", _POM.read_text())
    if found is None:
        raise ConfigError(f"{_POM}: property kafka.version is required, none came; put it back")
    return found[1]


def missing_for_kafka(cache: Path = DEFAULT_CACHE) -> tuple[str, ...]:
    """Says what is missing on this machine to run the broker, a sentence each with its fix; empty when all is there."""
    maven = () if jars_present(_POM, _jar_directory(cache)) else missing_maven()
    return missing_java() + maven


class KafkaBroker(EmbeddedPart):
    """A Kafka broker as a child process; a context manager.

    Args:
        directory: Keeps its data, settings and log across runs; None for a temporary directory that goes at the end of the ``with``.
        cache: The jars live in ``kafka/<version>`` under it (44 MB, fetched with Maven once).
        heap_mib: Largest Java heap, in MiB.
        settings: Server properties that replace or extend those of ``SINGLE_NODE``.
        tell: Called with one line before anything that takes long.

    Attributes:
        log: The broker's log file.
        start_seconds: How long the last start took.

    Raises:
        ConfigError: From ``start``: Java or Maven is missing, or the broker did not start (with its log's end).
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        cache: Path = DEFAULT_CACHE,
        heap_mib: int = HEAP_MIB,
        settings: Mapping[str, str] | None = None,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        super().__init__("kafka", directory)
        self._cache = cache
        self._heap_mib = heap_mib
        self._settings = {**SINGLE_NODE, **(settings or {})}
        self._tell = tell
        self._port, self._controller_port = free_ports(2)
        self._replicas = 1
        # The letter in front keeps the id from beginning with a hyphen, which the tool would read as an option.
        self._cluster_id = "A" + base64.urlsafe_b64encode(secrets.token_bytes(16)).decode()[1:22]

    @property
    def bootstrap(self) -> str:
        """Host and port for clients; the same after a restart."""
        return f"{LOOPBACK}:{self._port}"

    def start(self) -> None:
        """Starts it on the data it has and returns when it serves metadata. Does nothing when it runs."""
        if self.pid is not None:
            return
        began = time.monotonic()
        self._launch()
        self._await_service()
        self.start_seconds = time.monotonic() - began

    def _launch(self) -> None:
        """Starts the process, on data that are made where there are none."""
        missing = missing_java()
        if missing:
            raise ConfigError(*missing)
        jars = resolve_jars(_POM, _jar_directory(self._cache), self._tell).resolve()
        properties = self._write_properties()
        if not (self._data / "meta.properties").exists():
            self._format(jars, properties)
        # Parallel collection needs the least CPU at this size; pauses of a few milliseconds do not matter on one machine.
        options = [f"-Xmx{self._heap_mib}m", f"-Xms{self._heap_mib // 2}m", "-XX:+UseParallelGC", "-XX:+ExitOnOutOfMemoryError"]
        self._child = self._java(jars, options, "kafka.Kafka", str(properties))

    def _await_service(self) -> None:
        """Returns when it serves metadata."""
        assert self._child is not None
        admin = self._admin()
        self._child.await_ready(lambda: accepts(self._port) and _serves(admin), START_DEADLINE_S)

    def stop(self) -> None:
        """Shuts it down in order; its data stay. Does nothing when it is down."""
        if self._child is not None:
            self._child.stop(signal.SIGTERM, within_s=20.0)

    def create_topics(self, topics: Mapping[str, int], settings: Mapping[str, str] | None = None) -> None:
        """Creates topics with that many partitions each and returns when every partition has a leader.

        A topic that exists with the same number of partitions stays as it is.

        Args:
            topics: Name to number of partitions.
            settings: Topic settings for all of them, such as ``{"cleanup.policy": "compact"}``.

        Raises:
            ConfigError: A topic exists with another number of partitions, or the broker refused it.
        """
        admin = self._admin()
        wanted = [NewTopic(name, partitions, self._replicas, config=dict(settings or {})) for name, partitions in topics.items()]
        problems = []
        for name, created in (admin.create_topics(wanted, operation_timeout=TOPIC_DEADLINE_S) if wanted else {}).items():
            try:
                created.result(TOPIC_DEADLINE_S)
            except KafkaException as error:
                reason = error.args[0]
                if reason.code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    problems.append(f"topic {name}: the broker refused to create it: {reason.str()}")
        end = time.monotonic() + TOPIC_DEADLINE_S
        while not problems and (absent := _without_leader(admin, topics)):
            if time.monotonic() > end:
                problems.append(f"topics without a leader after {TOPIC_DEADLINE_S:g} s: {', '.join(absent)}; see {self.log}")
            time.sleep(0.02)
        if problems:
            raise ConfigError(*problems)

    @property
    def _data(self) -> Path:
        return self._kept.path / "data"

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.bootstrap, "reconnect.backoff.max.ms": 200}, logger=_QUIET)

    def _write_properties(self) -> Path:
        listeners = f"PLAINTEXT://{self.bootstrap},CONTROLLER://{LOOPBACK}:{self._controller_port}"
        identity = {
            "process.roles": "broker,controller",
            "node.id": "1",
            # Static voters, so that the next run may use other ports on the same data.
            "controller.quorum.voters": f"1@{LOOPBACK}:{self._controller_port}",
            "controller.listener.names": "CONTROLLER",
            "listeners": listeners,
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(self._data),
        }
        path = self._kept.path / "server.properties"
        path.write_text("".join(f"{name}={value}\n" for name, value in {**self._settings, **identity}.items()))
        return path

    def _format(self, jars: Path, properties: Path) -> None:
        options = ["-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
        argv = ["kafka.tools.StorageTool", "format", "--cluster-id", self._cluster_id, "--config", str(properties), "--ignore-formatted"]
        self._java(jars, options, *argv, *self._format_options()).finish(START_DEADLINE_S)

    def _format_options(self) -> Sequence[str]:
        """Says what else the tool is told when it formats the data; for brokers with users."""
        return ()

    def _java(self, jars: Path, options: list[str], *argv: str) -> ChildProcess:
        java = shutil.which("java") or "java"
        logging_setup = f"-Dlog4j2.configurationFile={(_JARS / 'log4j2.properties').as_uri()}"
        options = [*options, "-Djava.net.preferIPv4Stack=true", "-Djava.awt.headless=true", logging_setup]
        # Kafka itself is safe to kill at any moment, and an orderly shutdown is not owed to a parent that is gone.
        return ChildProcess("Kafka", [java, *options, "-cp", f"{jars}/*", *argv], log=self.log, cwd=self._kept.path)


def _jar_directory(cache: Path) -> Path:
    return cache / "kafka" / kafka_version()


def _serves(admin: AdminClient) -> bool:
    try:
        return len(admin.list_topics(timeout=1.0).brokers) == 1
    except KafkaException:
        return False


def _without_leader(admin: AdminClient, topics: Mapping[str, int]) -> list[str]:
    """Names the topics whose partitions are not all led yet.

    Raises:
        ConfigError: One has another number of partitions than wanted.
    """
    cluster = admin.list_topics(timeout=TOPIC_DEADLINE_S)
    absent = []
    for name, partitions in topics.items():
        topic = cluster.topics.get(name)
        if topic is None or topic.error is not None or any(partition.leader < 0 for partition in topic.partitions.values()):
            absent.append(name)
        elif len(topic.partitions) != partitions:
            raise ConfigError(
                f"topic {name}: {partitions} partitions are required, it exists with {len(topic.partitions)}; "
                "delete it or start on an empty directory"
            )
    return absent
