"""Opens the client of the model server where configuration and policy together ask for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from governance.policy import Policy
from models.results import TextModels
from schemas.errors import ConfigError
from streams.config import Config
from streams.model_client import configured_endpoint
from streams.model_client import open_models as open_client
from streams.telemetry import Telemetry

#: A vector store without models.
NO_EMBEDDER: Final = "qdrant: vectors are made by the model server, and the section models is absent; add models.url, or remove qdrant"


@contextmanager
def open_models(config: Config, policy: Policy, telemetry: Telemetry) -> Iterator[TextModels | None]:
    """Gives what asks the models, closed after the body; None where the configuration names no model server. Sends nothing by itself.

    Raises:
        ConfigError: Policy asks for nothing, or for raw text to be sent where it must not go.
    """
    if config.models is None:
        yield None
        return
    problems = models_problems(config, policy)
    if problems:
        raise ConfigError(*problems)
    with open_client(config.models, telemetry) as models:
        yield models


def models_problems(config: Config, policy: Policy) -> list[str]:
    """Gives what keeps configuration and policy from working together; nothing where the configuration names neither models nor vectors."""
    if config.models is None:
        return [] if config.qdrant is None else [NO_EMBEDDER]
    if policy.models.guard is None and policy.models.pii_tagger is None and config.qdrant is None:
        return [f"models: policy {policy.id} asks no model (its section models is absent); add it there, or remove models from the configuration"]
    endpoint = configured_endpoint(config.models)
    if policy.models.pii_tagger is not None and not endpoint.may_carry_raw:
        try:
            endpoint.require_raw("pii_tagger")
        except ConfigError as error:
            return list(error.problems)
    return []
