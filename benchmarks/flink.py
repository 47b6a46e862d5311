"""Flink beside Bytewax: events a second of the same pipeline over the same topics, on 1 and on 2 slots, Kafka to Kafka.

A run's rate is counted from the timestamps of its first and its last enriched event, so that starting a Java process does not count. A round holds
every engine once, so that they share the machine's moods.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from confluent_kafka import Consumer, TopicPartition

from streams.embedded.kafka import KafkaBroker
from tests.fixtures.deployment import PARTITIONS, Deployment, make_deployment
from tests.fixtures.flink import flink_settings

_ENGINES: Final[Mapping[str, tuple[tuple[str, ...], Mapping[str, Any]]]] = {
    "bytewax, 1 worker": ((), {"pipeline": {"workers": 1}}),
    "flink, 1 slot": (("--engine", "flink"), {"flink": flink_settings(1, 2_000)}),
    "flink, 2 slots": (("--engine", "flink"), {"flink": flink_settings(2, 2_000)}),
}


def times(deployment: Deployment) -> list[int]:
    """Gives when Kafka took each enriched event, in ms."""
    settings = {"bootstrap.servers": deployment.bootstrap, "group.id": "times", "isolation.level": "read_committed", "enable.partition.eof": True}
    consumer = Consumer(settings)
    consumer.assign([TopicPartition(f"{deployment.prefix}enriched_events", partition, 0) for partition in range(PARTITIONS)])
    found: list[int] = []
    ended = 0
    while ended < PARTITIONS:
        for message in consumer.consume(10_000, timeout=1):
            if message.error():
                ended += 1
            else:
                found.append(message.timestamp()[1])
    consumer.close()
    return sorted(found)


def rate(broker: KafkaBroker, engine: str, events: int) -> float:
    """Gives the events a second of one run.

    Raises:
        SystemExit: The run failed.
    """
    arguments, settings = _ENGINES[engine]
    with tempfile.TemporaryDirectory() as folder:
        made = make_deployment(broker, "", Path(folder))
        made.settings = {name: dict(values) for name, values in settings.items()}
        load = ["--bootstrap", made.bootstrap, "--prefix", made.prefix, "--corpus", "fleet", "--count", str(events)]
        load += ["--start-ms", "1700000000000", "--per-second", "1000"]
        subprocess.run([sys.executable, "-m", "benchmarks.load", *load], check=True, stdout=subprocess.DEVNULL)
        ran = made.headrace("run", "--until-end", *arguments, timeout_s=600)
        if ran.returncode != 0:
            raise SystemExit(f"{engine}: {ran.stderr}")
        taken = times(made)
    return len(taken) / ((taken[-1] - taken[0]) / 1_000)


def main() -> None:
    """Runs the rounds and prints the rates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=150_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    rates: dict[str, list[float]] = {engine: [] for engine in _ENGINES}
    with KafkaBroker(cache=Path(".headrace")) as broker:
        for number in range(given.rounds):
            for engine in _ENGINES:
                rates[engine].append(rate(broker, engine, given.events))
                print(f"round {number + 1}, {engine}: {rates[engine][-1]:,.0f} events/s", flush=True)
    for engine, found in rates.items():
        print(f"{engine}: median {statistics.median(found):,.0f} events/s of {len(found)}")


if __name__ == "__main__":
    main()
