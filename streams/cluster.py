"""The input side of the cluster that the configuration names, and where reading begins there."""

from __future__ import annotations

from datetime import UTC, datetime

from streams.client_log import with_log
from streams.config import Config, StartLatest, StartTimestamp
from streams.sources import KafkaInput, Start


def kafka_input(config: Config) -> KafkaInput:
    """Gives the input side of the cluster."""
    kafka = config.require_kafka()
    return KafkaInput(with_log(kafka.client_settings()), config.pipeline.name, kafka.inputs, kafka.topic_prefix)


def start_of(config: Config) -> Start:
    """Gives where a partition is begun of which no state tells an offset."""
    start = config.source.start
    if isinstance(start, StartTimestamp):
        return datetime.fromtimestamp(start.at_ms / 1000, UTC)
    return "latest" if isinstance(start, StartLatest) else "earliest"
