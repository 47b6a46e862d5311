"""The topics of a deployment: created where they are missing, with room for what masking may add to a record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from schemas.limits import OUTPUT_BYTES_MAX
from schemas.topics import OUTPUTS
from streams.config import KafkaConfig
from streams.publish import ensure_topics

#: Masking may lengthen a record.
OUTPUT_SETTINGS: Final[Mapping[str, str]] = {"max.message.bytes": str(OUTPUT_BYTES_MAX)}


def create_topics(kafka: KafkaConfig, input_partitions: int) -> list[str]:
    """Creates input and output topics that are not there and gives their names."""
    outputs = {kafka.topic_prefix + topic: kafka.output_partitions for topic in OUTPUTS}
    return create_inputs(kafka, input_partitions) + ensure_topics(kafka.client_settings(), outputs, OUTPUT_SETTINGS)


def create_inputs(kafka: KafkaConfig, partitions: int) -> list[str]:
    """Creates the input topics that are not there and gives their names."""
    return ensure_topics(kafka.client_settings(), {kafka.topic_prefix + topic: partitions for topic in kafka.inputs})
