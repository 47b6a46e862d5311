"""Opens what asks the models, from the configuration, and counts what it tells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from models.breaker import BreakerState
from models.client import ClientSettings, TritonModels
from models.dispatch import DispatchSettings
from models.endpoint import Endpoint, TlsFiles
from models.results import TextModels
from models.router import Route, VersionRouter
from schemas.errors import ConfigError
from streams.config import ModelsConfig, load_config
from streams.telemetry import Telemetry


class ModelFacts:
    """Counts what the client and the router tell; see ``models.observer``."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def batch_done(self, model: str, version: str, outcome: str, texts: int, seconds: float) -> None:
        """A batch came back, answered or not."""
        self._telemetry.model_answered(model, outcome, texts)
        self._telemetry.model_took(model, seconds)

    def batch_sent_again(self, model: str) -> None:
        """A batch is tried again."""
        self._telemetry.model_retried(model)

    def cache_asked(self, model: str, hits: int, misses: int) -> None:
        """Texts were answered from memory; the misses are counted when they are answered."""
        self._telemetry.model_answered(model, "cached", hits)

    def breaker_changed(self, model: str, state: BreakerState) -> None:
        """A breaker opened or closed; while one request tries, it counts as open."""
        self._telemetry.model_breaker(model, state is not BreakerState.CLOSED)

    def candidate_answered(self, model: str, texts: int) -> None:
        """A canary answered its share."""
        self._telemetry.candidate_texts(model, "answered", texts)

    def candidate_failed(self, model: str, texts: int) -> None:
        """A candidate did not answer."""
        self._telemetry.candidate_texts(model, "failed", texts)

    def shadow_compared(self, model: str, differences: Sequence[float]) -> None:
        """Two versions were compared."""
        self._telemetry.candidate_texts(model, "compared", len(differences))
        self._telemetry.candidate_differences(model, differences)

    def shadow_dropped(self, model: str, texts: int) -> None:
        """A shadow is behind."""
        self._telemetry.candidate_texts(model, "dropped", texts)


@contextmanager
def open_models(config: ModelsConfig, telemetry: Telemetry) -> Iterator[TextModels]:
    """Gives what asks the configured server: its newest or pinned versions, with candidates beside them where there are any."""
    facts = ModelFacts(telemetry)
    endpoint = configured_endpoint(config)
    stable = {name: str(version) for name, version in config.versions.items()}
    with TritonModels(endpoint, _settings(config, stable), facts) as models:
        if not config.candidates:
            yield models
            return
        wanted = {name: str(candidate.version) for name, candidate in config.candidates.items()}
        routes = {name: Route(candidate.mode, candidate.share_ppm) for name, candidate in config.candidates.items()}
        with TritonModels(endpoint, _settings(config, {**stable, **wanted}), facts) as candidate:
            router = VersionRouter(models, candidate, routes, facts)
            try:
                yield router
            finally:
                router.close()


def _settings(config: ModelsConfig, versions: dict[str, str]) -> ClientSettings:
    dispatch = DispatchSettings(in_flight_texts_max=config.in_flight_texts_max)
    return ClientSettings(config.channels, config.cache_bytes_max, versions=versions, dispatch=dispatch)


def configured_endpoint(config: ModelsConfig) -> Endpoint:
    """Gives the server of the configuration."""
    tls = None if config.tls is None else TlsFiles(config.tls.root, config.tls.key, config.tls.chain)
    return Endpoint(config.url, tls, config.same_host)


def named_endpoint(url: str | None, config: Path | None) -> Endpoint | None:
    """Gives the server of a command line: ``--url``, else that of the configuration, else None."""
    if url is None:
        found = load_config(config).models
        return None if found is None else configured_endpoint(found)
    host, _, port = url.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError("--url: host:port without a scheme is required; Triton's gRPC port is 8001")
    return Endpoint(url)


def endpoint_of(url: str | None, config: Path | None) -> Endpoint:
    """Gives the server of a command line.

    Raises:
        ConfigError: Neither the command line nor the configuration names one.
    """
    endpoint = named_endpoint(url, config)
    if endpoint is None:
        raise ConfigError("models: no server is named; give --url HOST:PORT or set models.url")
    return endpoint
