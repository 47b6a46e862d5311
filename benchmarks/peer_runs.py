"""The peers on headrace's job: Bytewax, Faust and Quix Streams, one record at a time, with plain Presidio and with headrace's masker.

Each peer runs in an environment of its own (``.headrace/environments``, made from ``requirements/peers-*.lock``) against a real broker: JSON in one
topic in, enriched events and closed windows out. A run begins when the first enriched events are there and, after a warm-up, measures the growth of
the output topic and the CPU time of the peer's processes for a fixed time. What came out is then looked at: values must be masked, windows counted.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from subprocess import run as run_program

from confluent_kafka import Consumer, KafkaException, TopicPartition

from benchmarks.environments import environment
from benchmarks.peers.record_rules import RecordRules
from benchmarks.processes import cpu_seconds
from benchmarks.result import ROOT, Row, Table, save
from streams.embedded.child import ChildProcess
from streams.embedded.kafka import KafkaBroker
from streams.embedded.ports import LOOPBACK, free_ports
from streams.fleet.corpora import corpus

FRAMEWORKS = ("bytewax", "faust", "quix")
MASKERS = ("presidio", "headrace")
CORPORA = ("fleet", "distinct")
PARTITIONS = 4
#: Event time moves at this rate, so that windows close within a run of the slowest.
PER_SECOND = 100.0
_START_DEADLINE_S = 120.0
_WARM_UP_S = 5.0
_METADATA_DEADLINE_S = 10.0
_COMPARED = 300
_GROWTH_DEADLINE_S = 30.0
#: Records kept ready, by masker: more than the fastest peer takes in a minute.
_READY = {"presidio": 60_000, "headrace": 500_000}


@dataclass(frozen=True, slots=True)
class PeerRun:
    """What one run of a peer gave.

    Attributes:
        events_s: Enriched events a second of wall time.
        events_cpu_s: Enriched events a CPU-second of the peer's processes.
        masked: Values masked in the looked-at part of the output.
        windows: Windows that came out.
        counted: Events counted in them.
    """

    events_s: float
    events_cpu_s: float
    masked: int
    windows: int
    counted: int


def fill(broker: KafkaBroker, topic: str, name: str, count: int) -> None:
    """Puts a corpus into a new topic; the Kafka timestamp is the event time."""
    broker.create_topics({topic: PARTITIONS})
    start_ms = int(time.time() * 1_000) - int(count * 1_000 / PER_SECOND)
    argv = [sys.executable, "-m", "benchmarks.load", "--bootstrap", broker.bootstrap, "--topic", topic, "--corpus", name, "--count", str(count)]
    argv += ["--start-ms", str(start_ms), "--per-second", str(PER_SECOND), "--stamp-event-time"]
    run_program(argv, cwd=ROOT, check=True, timeout=180, stdout=sys.stderr)


class Output:
    """Looks at an output topic from outside."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._topic = topic
        self._consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "benchmark", "enable.auto.commit": False})

    def count(self) -> int:
        """Gives the number of records: nothing is compacted or transactional here."""
        return sum(self._end(TopicPartition(self._topic, partition)) for partition in range(PARTITIONS))

    def _end(self, place: TopicPartition) -> int:
        """Gives the end of a partition; asks again while the client does not yet know who leads a new topic."""
        until = time.monotonic() + _METADATA_DEADLINE_S
        while True:
            try:
                return self._consumer.get_watermark_offsets(place, timeout=_METADATA_DEADLINE_S)[1]
            except KafkaException:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)

    def grown(self) -> int:
        """Waits until the topic grows and gives its new number: output comes in batches, and a time between two of them would count one too many."""
        before, until = self.count(), time.monotonic() + _GROWTH_DEADLINE_S
        while (now := self.count()) == before:
            if time.monotonic() > until:
                raise SystemExit(f"{self._topic}: nothing came for {_GROWTH_DEADLINE_S:g} s")
            time.sleep(0.05)
        return now

    def records(self, at_most: int) -> list[dict[str, object]]:
        """Reads the topic from its beginning."""
        wanted = min(at_most, self.count())
        self._consumer.assign([TopicPartition(self._topic, partition, 0) for partition in range(PARTITIONS)])
        found: list[dict[str, object]] = []
        until = time.monotonic() + 60
        while len(found) < wanted and time.monotonic() < until:
            for message in self._consumer.consume(min(1_000, wanted - len(found)), timeout=1.0):
                if message.error() is None:
                    found.append(json.loads(message.value() or b"null"))
        return found

    def close(self) -> None:
        """Leaves the cluster."""
        self._consumer.close()


@contextmanager
def output(bootstrap: str, topic: str) -> Iterator[Output]:
    """Gives a look at a topic for a while."""
    opened = Output(bootstrap, topic)
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def peer(name: str, masker: str, broker: KafkaBroker, source: str, group: str, processes: int, folder: Path) -> Iterator[list[ChildProcess]]:
    """Runs the processes of a peer for the time of the body."""
    addresses = [f"{LOOPBACK}:{port}" for port in free_ports(processes)] if name == "bytewax" else []
    argv = [
        environment(f"peers-{name}") / "python",
        "-m",
        f"benchmarks.peers.on_{name}",
        "--bootstrap",
        broker.bootstrap,
        "--group",
        group,
        "--source",
        source,
    ]
    argv += ["--events", f"{group}-events", "--metrics", f"{group}-metrics", "--masker", masker, "--state", folder / group]
    started = []
    try:
        for number in range(processes):
            tail: list[str | Path] = ["--process", str(number), *(["--addresses", *addresses] if addresses else [])]
            started.append(ChildProcess(f"{name} {number}", [*argv, *tail], log=folder / f"{group}.{number}.log", cwd=ROOT))
        yield started
    finally:
        for child in started:
            child.kill()


def measure(name: str, masker: str, broker: KafkaBroker, source: str, seconds: float, processes: int, folder: Path, group: str) -> PeerRun:
    """Runs a peer once."""
    broker.create_topics({f"{group}-events": PARTITIONS, f"{group}-metrics": PARTITIONS})
    with output(broker.bootstrap, f"{group}-events") as events, output(broker.bootstrap, f"{group}-metrics") as metrics:
        with peer(name, masker, broker, source, group, processes, folder) as children:
            children[0].await_ready(lambda: events.count() > 0, _START_DEADLINE_S)
            time.sleep(_WARM_UP_S)
            before, cpu, begin = events.grown(), sum(cpu_seconds(child.pid) for child in children), time.monotonic()
            time.sleep(seconds)
            rows, spent, wall = events.grown() - before, sum(cpu_seconds(child.pid) for child in children) - cpu, time.monotonic() - begin
            # Its windows come when event time has passed: wait for the first ones, outside the measured time.
            children[0].await_ready(lambda: metrics.count() > 0, _START_DEADLINE_S)
        seen, windows = events.records(5_000), metrics.records(100_000)
    masked = sum(int(str(event["masked_count"])) for event in seen)
    counted = sum(int(str(window["count"])) for window in windows)
    if not masked or not counted:
        raise SystemExit(f"{name} with {masker}: it did not do the work: {masked} values masked, {counted} events counted in windows")
    return PeerRun(rows / wall, rows / spent, masked, len(windows), counted)


def check_equal() -> None:
    """Holds that both maskers make the same of a record: what is compared below is the same work."""
    rules = [RecordRules(masker) for masker in MASKERS]
    for name in CORPORA:
        for record in islice(corpus(name).records(), _COMPARED):
            one, other = (apply(record.value) for apply in rules)
            if one != other:
                raise SystemExit(f"the maskers differ on a record of {name}, in {', '.join(key for key in one if one[key] != other.get(key))}")


def rows_of(broker: KafkaBroker, given: argparse.Namespace, folder: Path) -> Iterator[Row]:
    """Measures each framework with each masker on each corpus."""
    for name in given.corpora:
        for masker in given.maskers:
            source = f"raw-{name}-{masker}"
            fill(broker, source, name, _READY[masker])
            for framework in given.frameworks:
                runs = []
                for number in range(given.runs):
                    group = f"{framework}-{masker}-{name}-{number}"
                    found = measure(framework, masker, broker, source, given.seconds, given.processes, folder, group)
                    print(f"{name} {framework} {masker}: {found}", file=sys.stderr)
                    runs.append(found)
                values = {
                    "events/s": [one.events_s for one in runs],
                    "events/CPU-s": [one.events_cpu_s for one in runs],
                    "windows": [float(one.windows) for one in runs],
                }
                yield Row({"corpus": name, "peer": framework, "masking": masker}, values)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0, help="measured time of a run, after the warm-up")
    parser.add_argument("--processes", type=int, default=2, help="processes of a peer that share the partitions")
    parser.add_argument("--frameworks", nargs="*", default=FRAMEWORKS, choices=FRAMEWORKS)
    parser.add_argument("--maskers", nargs="*", default=MASKERS, choices=MASKERS)
    parser.add_argument("--corpora", nargs="*", default=CORPORA, choices=CORPORA)
    parser.add_argument("--quick", action="store_true", help="one run of 15 s, on the fleet corpus")
    given = parser.parse_args(arguments)
    if given.quick:
        given.runs, given.seconds, given.corpora = 1, 15.0, ("fleet",)
    check_equal()
    with tempfile.TemporaryDirectory(prefix="headrace-peers-") as folder, KafkaBroker() as broker:
        rows = list(rows_of(broker, given, Path(folder)))
    notes = (
        f"{given.processes} processes a peer on the same cores as the broker; CPU-seconds are those of the peer's processes alone.",
        "The peers read one topic that is keyed by agent already (no exchange), keep windows 10 s past their end (headrace: 60 s), write no "
        "database, deduplicate nothing and deliver at least once: all to their advantage.",
        "masking `presidio`: Presidio's AnalyzerEngine, patterns only, a text at a time. masking `headrace`: our masker with its memory of texts and "
        "our rule scan, called once a record. Both give the same output, which is checked before the runs.",
    )
    print(save(Table("peers", "Peers: the same rules one record at a time", rows, notes, given.quick)))


if __name__ == "__main__":
    main()
