"""Opens the client of the model server as configuration and policy say, and counts what the client tells."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from governance.policy import Policy
from models.breaker import BreakerState
from models.client import ClientSettings, TritonModels
from models.dispatch import DispatchSettings
from models.endpoint import Endpoint, TlsFiles
from models.results import TextModels
from schemas.errors import ConfigError
from streams.config import Config, ModelsConfig
from streams.telemetry import Telemetry


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
    settings = ClientSettings(
        channels=config.models.channels,
        cache_bytes_max=config.models.cache_bytes_max,
        dispatch=DispatchSettings(in_flight_texts_max=config.models.in_flight_texts_max),
    )
    with TritonModels(endpoint_of(config.models), settings, _Counted(telemetry)) as models:
        yield models


def models_problems(config: Config, policy: Policy) -> list[str]:
    """Gives what keeps configuration and policy from working together; nothing where the configuration names no model server."""
    if config.models is None:
        return []
    if policy.models.guard is None and policy.models.pii_tagger is None and config.qdrant is None:
        return [f"models: policy {policy.id} asks no model (its section models is absent); add it there, or remove models from the configuration"]
    endpoint = endpoint_of(config.models)
    if policy.models.pii_tagger is not None and not endpoint.may_carry_raw:
        try:
            endpoint.require_raw("pii_tagger")
        except ConfigError as error:
            return list(error.problems)
    return []


def endpoint_of(models: ModelsConfig) -> Endpoint:
    """Gives where the model server is."""
    tls = None if models.tls is None else TlsFiles(models.tls.root, models.tls.key, models.tls.chain)
    return Endpoint(models.url, tls, models.same_host)


class _Counted:
    """A ModelObserver that counts."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def batch_done(self, model: str, version: str, outcome: str, texts: int, seconds: float) -> None:
        """A batch came back."""
        self._telemetry.model_answered(model, outcome, texts)
        self._telemetry.model_took(model, seconds)

    def batch_sent_again(self, model: str) -> None:
        """A batch that found the server away is tried again."""
        self._telemetry.model_retried(model)

    def cache_asked(self, model: str, hits: int, misses: int) -> None:
        """A call looked for its texts in the cache."""
        self._telemetry.model_answered(model, "cached", hits)

    def breaker_changed(self, model: str, state: BreakerState) -> None:
        """A breaker opened, closed or lets one request try."""
        self._telemetry.model_breaker(model, state is not BreakerState.CLOSED)
