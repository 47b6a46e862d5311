"""The schema registry that the configuration names."""

from __future__ import annotations

from schemas.registry import ConfluentRegistry, FileRegistry, SchemaRegistry
from streams.config import Config, FileRegistryConfig


def open_registry(config: Config) -> SchemaRegistry:
    """Gives the registry: files, or a server."""
    chosen = config.registry
    if isinstance(chosen, FileRegistryConfig):
        return FileRegistry(chosen.path)
    secret = chosen.basic_auth
    return ConfluentRegistry(chosen.url, None if secret is None else secret.get_secret_value(), chosen.timeout_ms)
