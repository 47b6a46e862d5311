"""``headrace migrate``: brings the database and the topics to what this version needs."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from schemas.errors import ConfigError
from streams.cli.say import ConfigOption
from streams.config import QdrantConfig, load_config

_DEADLINE_S: Final = 30.0


def migrate(
    config: ConfigOption = None,
    partitions: Annotated[int, typer.Option("--partitions", min=1, max=1024, help="Partitions of input topics that have to be created.")] = 4,
) -> None:
    """Apply missing database migrations, create missing topics and the missing vector collection. Does nothing where all is there."""
    from sinks.migrate import migrate as apply
    from streams.topic_setup import create_topics

    found = load_config(config)
    if found.timescale is None and found.kafka is None and found.qdrant is None:
        raise ConfigError("migrate: neither timescale.dsn, kafka.bootstrap nor qdrant is configured; there is nothing to bring up to date")
    if found.timescale is not None:
        applied = apply(found.timescale.dsn.get_secret_value())
        print("\n".join(f"applied {name}" for name in applied) or "the database is up to date")
    if found.kafka is not None:
        created = create_topics(found.kafka, input_partitions=partitions)
        print("\n".join(f"created topic {name}" for name in created) or "all topics are there")
    if found.qdrant is not None:
        _prepare_vectors(found.qdrant)


def _prepare_vectors(qdrant: QdrantConfig) -> None:
    """Makes the collection; one of another shape is told as what it is, a matter of configuration."""
    from sinks.vectors import WrongShape
    from streams.vectors import backend_of

    problem: str | None = None
    try:
        made = backend_of(qdrant).prepare(_DEADLINE_S)
    except WrongShape as error:
        problem = str(error)
    if problem is not None:
        raise ConfigError(f"qdrant: {problem}")
    print("\n".join(f"created {what}" for what in made) or "the vector collection is there")
