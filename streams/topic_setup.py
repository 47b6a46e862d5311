"""The topics of a deployment: created where they are missing, with room for what masking may add to a record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from schemas.limits import OUTPUT_BYTES_MAX
from schemas.topics import CONTROLS, OUTPUTS, REPORTS
from streams.config import KafkaConfig
from streams.publish import ensure_topics

#: Masking may lengthen a record.
OUTPUT_SETTINGS: Final[Mapping[str, str]] = {"max.message.bytes": str(OUTPUT_BYTES_MAX)}
#: A hash chain is kept whole: the broker's own retention would cut off its beginning.
CHAINED_SETTINGS: Final[Mapping[str, str]] = {**OUTPUT_SETTINGS, "cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}


def create_topics(kafka: KafkaConfig, input_partitions: int) -> list[str]:
    """Creates input and output topics that are not there and gives their names."""
    created = create_inputs(kafka, input_partitions)
    for settings, topics in ((OUTPUT_SETTINGS, _outputs(kafka, chained=False)), (CHAINED_SETTINGS, _outputs(kafka, chained=True))):
        created += ensure_topics(kafka.client_settings(), topics, settings)
    created += ensure_topics(kafka.client_settings(), {kafka.topic_prefix + name: 1 for name in CONTROLS}, {"cleanup.policy": "compact"})
    reports = {kafka.topic_prefix + name: kafka.output_partitions for name in REPORTS}
    return created + ensure_topics(kafka.client_settings(), reports, OUTPUT_SETTINGS)


def _outputs(kafka: KafkaConfig, *, chained: bool) -> dict[str, int]:
    return {kafka.topic_prefix + name: kafka.output_partitions for name, topic in OUTPUTS.items() if topic.chained is chained}


def create_inputs(kafka: KafkaConfig, partitions: int) -> list[str]:
    """Creates the input topics that are not there and gives their names."""
    return ensure_topics(kafka.client_settings(), {kafka.topic_prefix + topic: partitions for topic in kafka.inputs})
