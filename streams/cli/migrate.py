"""``headrace migrate``: brings the database and the topics to what this version needs."""

from __future__ import annotations

from typing import Annotated

import typer

from schemas.errors import ConfigError
from streams.cli.say import ConfigOption
from streams.config import load_config


def migrate(
    config: ConfigOption = None,
    partitions: Annotated[int, typer.Option("--partitions", min=1, max=1024, help="Partitions of input topics that have to be created.")] = 4,
) -> None:
    """Apply the database migrations that are missing, and create the topics that are missing. Does nothing where all is there."""
    from sinks.migrate import migrate as apply
    from streams.topic_setup import create_topics

    found = load_config(config)
    if found.timescale is None and found.kafka is None:
        raise ConfigError("migrate: neither timescale.dsn nor kafka.bootstrap is configured; there is nothing to bring up to date")
    if found.timescale is not None:
        applied = apply(found.timescale.dsn.get_secret_value())
        print("\n".join(f"applied {name}" for name in applied) or "the database is up to date")
    if found.kafka is not None:
        created = create_topics(found.kafka, input_partitions=partitions)
        print("\n".join(f"created topic {name}" for name in created) or "all topics are there")
