"""How long a topic keeps its records: set on the cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its stubs do not re-export what the module offers
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from sinks.errors import kafka_failure

_TIMEOUT_S: Final = 15.0


def set_retention(client: Mapping[str, Any], topic: str, retention_ms: int) -> None:
    """Sets ``retention.ms`` of a topic and nothing else.

    Raises:
        RetryableError: The cluster does not answer.
        FatalError: It refuses.
    """
    entry = ConfigEntry("retention.ms", str(retention_ms), incremental_operation=AlterConfigOpType.SET)
    wanted = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    failure = None
    admin = AdminClient(dict(client))  # held: what is asked of a client that is gone is never answered
    try:
        for answer in admin.incremental_alter_configs([wanted], request_timeout=_TIMEOUT_S).values():
            answer.result(_TIMEOUT_S)
    except KafkaException as error:
        failure = kafka_failure(error, f"retention of {topic}")
    if failure is not None:
        raise failure
