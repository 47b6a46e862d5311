"""What the end-to-end benchmark runs against: a real broker, a real database, and ``headrace run`` as a process of its own."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from confluent_kafka.admin import AdminClient
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.result import ROOT
from schemas.topics import INPUTS, OUTPUTS
from streams.embedded.child import ChildProcess
from streams.embedded.kafka import KafkaBroker
from streams.embedded.ports import LOOPBACK, free_ports
from streams.embedded.postgres import PostgresServer

PARTITIONS: Final = 4
_HASH_KEY: Final = "a key for benchmarks, thirty-two bytes"
_MIGRATE_DEADLINE_S: Final = 120
_SCRAPE_DEADLINE_S: Final = 2.0
_END_DEADLINE_S: Final = 60.0

#: Values by metric and labels: ``("headrace_stage_seconds_sum", "mask")``.
Metrics = Mapping[tuple[str, ...], float]


@dataclass(frozen=True, slots=True)
class Servers:
    """The broker and the database."""

    kafka: KafkaBroker
    postgres: PostgresServer
    folder: Path

    def load(
        self, prefix: str, corpus: str, count: int, per_second: float, *, start_ms: int, first: int = 0, rate: float | None = None
    ) -> ChildProcess:
        """Starts the load generator."""
        argv = [sys.executable, "-m", "benchmarks.load", "--bootstrap", self.kafka.bootstrap, "--prefix", prefix, "--corpus", corpus]
        argv += ["--count", str(count), "--first", str(first), "--start-ms", str(start_ms), "--per-second", str(per_second)]
        argv += [] if rate is None else ["--rate", str(rate)]
        return ChildProcess("load generator", argv, log=self.folder / "load.log", cwd=ROOT)

    def drop_topics(self, prefix: str) -> None:
        """Deletes the topics of a deployment, so that the disk does not fill."""
        admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap})
        for deleted in admin.delete_topics([prefix + topic for topic in (*INPUTS, *OUTPUTS)], operation_timeout=30).values():
            deleted.result(30)


@contextmanager
def servers() -> Iterator[Servers]:
    """Starts a broker and a database for the time of the body."""
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder, KafkaBroker() as kafka, PostgresServer() as postgres:
        yield Servers(kafka, postgres, Path(folder))


@dataclass
class Deployment:
    """One pipeline: a prefix of topics, a database, a recovery directory.

    Attributes:
        servers: Where it runs.
        prefix: Stands before its topics; several deployments may share input by sharing it.
        name: Pipeline name, database and recovery directory.
        settings: Configuration beside what every deployment has, by section.
    """

    servers: Servers
    prefix: str
    name: str
    settings: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._dsn = self.servers.postgres.create_database(self.name)
        (self.port,) = free_ports(1)
        migrated = subprocess.run(
            [sys.executable, "-m", "streams.cli.main", "migrate", "--partitions", str(PARTITIONS)],
            env=self._environment(),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=_MIGRATE_DEADLINE_S,
        )
        if migrated.returncode:
            raise SystemExit(f"headrace migrate failed:\n{migrated.stderr}")

    def _environment(self) -> dict[str, str]:
        sections: dict[str, dict[str, object]] = {
            "pipeline": {"name": self.name},
            "kafka": {"bootstrap": self.servers.kafka.bootstrap, "topic_prefix": self.prefix, "output_partitions": PARTITIONS},
            "recovery": {"dir": self.servers.folder / self.name},
            "timescale": {"dsn": self._dsn},
            "privacy": {"hash_key": _HASH_KEY},
            "http": {"port": self.port},
        }
        for section, values in self.settings.items():
            sections[section] = {**sections.get(section, {}), **values}
        outside = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
        return outside | {f"HEADRACE_{section}__{key}".upper(): str(value) for section, values in sections.items() for key, value in values.items()}

    def start(self, *arguments: str) -> Running:
        """Starts ``headrace run``."""
        return Running(self, [sys.executable, "-m", "streams.cli.main", "run", *arguments])

    def environment(self) -> dict[str, str]:
        """Gives the environment of a run."""
        return self._environment()

    def close(self) -> None:
        """Drops the database."""
        self.servers.postgres.drop_database(self.name)


class Running:
    """A run of the pipeline, watched from outside."""

    def __init__(self, deployment: Deployment, argv: list[str]) -> None:
        self._url = f"http://{LOOPBACK}:{deployment.port}/metrics"
        self._log = deployment.servers.folder / f"{deployment.name}.log"
        self._spent_before = _children_cpu_s()
        self.started = time.time()
        self.child = ChildProcess("headrace", argv, log=self._log, cwd=ROOT, env=deployment.environment())

    def metrics(self) -> Metrics | None:
        """Gives what it counts; None before it serves pages and after its end."""
        try:
            with urllib.request.urlopen(self._url, timeout=_SCRAPE_DEADLINE_S) as answer:
                text = answer.read().decode()
        except OSError:
            return None
        families = text_string_to_metric_families(text)
        return {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples if "le" not in sample.labels}

    def finish(self) -> tuple[float, float]:
        """Waits for its end; gives its CPU seconds, and when it said that all was done (seconds since 1970).

        CPU time is exact as long as no other child of this process ends meanwhile.
        """
        self.child.finish(_END_DEADLINE_S)
        return _children_cpu_s() - self._spent_before, self.event_time("run.stopped")

    def event_time(self, event: str) -> float:
        """Gives the time of an event in its log."""
        for line in self._log.read_text().splitlines():
            if event in line and line.startswith("{"):
                found: dict[str, Any] = json.loads(line)
                return datetime.fromisoformat(found["at"]).timestamp()
        raise SystemExit(f"headrace did not log {event}; its log ends:\n{self.child.tail()}")

    def summary(self) -> dict[str, int]:
        """Gives the counts that it printed at its end."""
        first = next(line for line in self._log.read_text().splitlines() if line.startswith("in "))
        words = first.split()
        return {"in": int(words[1]), "passed": int(words[4]), "dead": int(words[7]), "left out": int(words[-1])}


def _children_cpu_s() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime
