"""The vector store that the configuration names, as a sink and for searching."""

from __future__ import annotations

from governance.data_classes import Handling
from governance.policy import Policy
from schemas.errors import ConfigError
from sinks.qdrant import QdrantSink
from sinks.step_texts import TextRule
from sinks.vector_client import LocalBackend, ServerBackend
from sinks.vector_edge import EdgeBackend
from sinks.vectors import Embed, VectorBackend
from streams.config import Config, QdrantConfig, QdrantEdgeConfig, QdrantLocalConfig
from streams.inference import NO_EMBEDDER


def require_qdrant(config: Config) -> QdrantConfig:
    """Gives the qdrant part, or a ConfigError that says how to name one."""
    if config.qdrant is None:
        raise ConfigError("qdrant: the section is absent, and this command needs a vector store; add qdrant.type (edge, local or server)")
    return config.qdrant


def backend_of(qdrant: QdrantConfig) -> VectorBackend:
    """Gives the place of the collection."""
    if isinstance(qdrant, QdrantEdgeConfig):
        return EdgeBackend(qdrant.path, qdrant.collection)
    if isinstance(qdrant, QdrantLocalConfig):
        return LocalBackend(qdrant.path, qdrant.collection)
    key = None if qdrant.api_key is None else qdrant.api_key.get_secret_value()
    return ServerBackend(qdrant.url, qdrant.grpc_port, key, qdrant.collection, qdrant.root_certificate)


def vector_sink(config: Config, policy: Policy, embed: Embed | None) -> QdrantSink | None:
    """Gives the sink that the configuration names, None where it names none.

    Args:
        config: Its ``qdrant`` part, and the deadline of a write.
        policy: What it keeps on purpose is no reason to refuse an event.
        embed: Makes the vectors; None where no models are configured.

    Raises:
        ConfigError: A vector store is configured and no models.
    """
    qdrant = config.qdrant
    if qdrant is None:
        return None
    if embed is None:
        raise ConfigError(NO_EMBEDDER)
    return QdrantSink(backend_of(qdrant), embed, text_rule(qdrant, policy), config.sink.deadline_ms / 1000)


def text_rule(qdrant: QdrantConfig, policy: Policy) -> TextRule:
    """Gives which texts become vectors, and what must not be left in them."""
    masked = frozenset(entity for entity, handling in policy.pii.entities if handling is not Handling.KEEP)
    return TextRule(qdrant.texts, qdrant.text_chars_min, qdrant.text_chars_max, masked)
