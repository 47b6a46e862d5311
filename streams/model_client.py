"""Opens what asks the models, from the configuration."""

from __future__ import annotations

from pathlib import Path

from models.endpoint import Endpoint
from schemas.errors import ConfigError
from streams.config import load_config


def endpoint_of(url: str | None, config: Path | None) -> Endpoint:
    """Gives the server of a command line: ``--url``, else that of the configuration.

    Raises:
        ConfigError: Neither names one.
    """
    if url is not None:
        if not url.rpartition(":")[0] or not url.rpartition(":")[2].isdigit():
            raise ConfigError(f"--url: host:port without a scheme is required, {len(url)} other characters came; Triton's gRPC port is 8001")
        return Endpoint(url)
    load_config(config)
    raise ConfigError("models: no server is named; give --url HOST:PORT or set models.url")
