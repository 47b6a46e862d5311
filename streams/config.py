"""The configuration as frozen values; no other module reads the environment.

Values come, later over earlier, from defaults, a YAML file (``headrace.yaml``), the environment (``HEADRACE_SECTION__KEY``) and the command
line. A YAML value that is exactly ``${NAME}`` is taken from the environment variable NAME: that is how secrets stay out of the file.
Relative paths in the file are relative to the file. All problems are reported at once, each with its place and its fix.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from governance.key_ring import KeyRing, KeyUse
from schemas.errors import ConfigError
from streams.config_file import Path as KeyPath
from streams.config_file import YamlDocument, read_yaml
from streams.config_flink import FlinkConfig
from streams.config_http import AccessConfig, HttpConfig, HttpTlsConfig, JwtConfig, Role
from streams.config_part import Section, did_you_mean
from streams.config_sections import (
    AuditConfig,
    CacheConfig,
    Config,
    ConfluentRegistryConfig,
    FileRegistryConfig,
    KafkaConfig,
    LimitsConfig,
    LineageConfig,
    ModelsConfig,
    ModelsTlsConfig,
    PipelineConfig,
    PrivacyConfig,
    QdrantConfig,
    QdrantEdgeConfig,
    QdrantLocalConfig,
    QdrantServerConfig,
    RecoveryConfig,
    RetryConfig,
    SinkConfig,
    SourceConfig,
    StartEarliest,
    StartLatest,
    StartTimestamp,
    TestingConfig,
    TimescaleConfig,
)
from streams.hash_key import hash_key_of
from streams.key_ring import key_ring_of

__all__ = [
    "AccessConfig",
    "AuditConfig",
    "CacheConfig",
    "Config",
    "ConfluentRegistryConfig",
    "FileRegistryConfig",
    "FlinkConfig",
    "HttpConfig",
    "HttpTlsConfig",
    "JwtConfig",
    "KafkaConfig",
    "LimitsConfig",
    "LineageConfig",
    "ModelsConfig",
    "ModelsTlsConfig",
    "PipelineConfig",
    "PrivacyConfig",
    "QdrantConfig",
    "QdrantEdgeConfig",
    "QdrantLocalConfig",
    "QdrantServerConfig",
    "RecoveryConfig",
    "RetryConfig",
    "Role",
    "SinkConfig",
    "SourceConfig",
    "StartEarliest",
    "StartLatest",
    "StartTimestamp",
    "TestingConfig",
    "TimescaleConfig",
    "config_file",
    "load_config",
    "load_hash_key",
    "load_key_ring",
]

CONFIG_FILE: Final = Path("headrace.yaml")
ENV_PREFIX: Final = "HEADRACE_"
#: Variables with the prefix that are not configuration keys.
ENV_RESERVED: Final = frozenset({"HEADRACE_CONFIG"})

_PATHS: Final[tuple[KeyPath, ...]] = (
    ("pipeline", "policy"),
    ("recovery", "dir"),
    ("registry", "path"),
    ("privacy", "key_file"),
    ("privacy", "keys_file"),
    ("cache", "dir"),
    ("flink", "environment"),
    ("flink", "jars"),
    ("lineage", "path"),
    ("qdrant", "path"),
    ("models", "tls", "root"),
    ("models", "tls", "key"),
    ("models", "tls", "chain"),
    ("http", "tls", "chain"),
    ("http", "tls", "key"),
    ("http", "access", "jwt", "key_file"),
)


def load_config(path: Path | None = None, environ: Mapping[str, str] | None = None, overrides: Mapping[str, object] | None = None) -> Config:
    """Gives the configuration, or every problem in it at once.

    Args:
        path: YAML file; None takes HEADRACE_CONFIG, then ``headrace.yaml`` where there is one, else defaults.
        environ: The environment; None takes the process's.
        overrides: From the command line, by dotted key (``kafka.bootstrap``); the last word.

    Raises:
        ConfigError: With one problem for each wrong, unknown or missing key.
    """
    env = os.environ if environ is None else environ
    document = _document(path, env)
    problems: list[str] = list(document.problems)
    values: dict[str, Any] = document.values
    places: dict[KeyPath, str] = {at: f"{document.name}, line {line}" for at, line in document.lines.items()}
    _substitute(values, (), env, places, problems)
    _resolve_paths(values, document.folder)
    for name, text in sorted(env.items()):
        if name.startswith(ENV_PREFIX) and name not in ENV_RESERVED:
            at = tuple(name.removeprefix(ENV_PREFIX).lower().split("__"))
            _put(values, at, _structured(text), problems, f"environment {name}")
            places[at] = f"environment {name}"
    for dotted, value in (overrides or {}).items():
        at = tuple(dotted.split("."))
        _put(values, at, value, problems, f"option for {dotted}")
        places[at] = "command line"
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        problems.extend(_sentence(detail, places, document.name) for detail in error.errors(include_input=False, include_url=False))
    if problems:
        raise ConfigError(*problems)
    return config


def load_hash_key(config: Config) -> bytes:
    """Gives the key that personal identifiers are hashed with: that of the key ring; else a lone one, made at first use and told on stderr.

    Raises:
        ConfigError: A key file is missing, open to others or too short; or there is a key in the ring and a lone one too.
    """
    secret = config.privacy.hash_key
    of_ring = load_key_ring(config).active(KeyUse.HASH)
    if of_ring is not None:
        if secret is not None or config.privacy.key_file is not None:
            raise ConfigError("privacy: the key ring has a key of the use 'hash', and hash_key or key_file names another; remove one of the two")
        return of_ring.secret
    return hash_key_of(None if secret is None else secret.get_secret_value(), config.privacy.key_file)


def load_key_ring(config: Config) -> KeyRing:
    """Gives the key ring; an empty one where none is configured.

    Raises:
        ConfigError: The key file is missing or open to others, or a line is wrong.
    """
    keys = config.privacy.keys
    return key_ring_of(None if keys is None else keys.get_secret_value(), config.privacy.keys_file)


def _document(path: Path | None, env: Mapping[str, str]) -> YamlDocument:
    """Reads the file that was named, or the default one where it exists."""
    file = config_file(path, env)
    if file is None:
        return YamlDocument(name="defaults", folder=Path.cwd(), values={}, lines={}, problems=())
    return read_yaml(file)


def config_file(path: Path | None, environ: Mapping[str, str] | None = None) -> Path | None:
    """Gives the file that the configuration is read from: the one named, that of HEADRACE_CONFIG, the default one where it exists; None without."""
    env = os.environ if environ is None else environ
    named = path or (Path(env["HEADRACE_CONFIG"]) if "HEADRACE_CONFIG" in env else None)
    return named or (CONFIG_FILE if CONFIG_FILE.is_file() else None)


def _substitute(node: Any, at: KeyPath, env: Mapping[str, str], places: Mapping[KeyPath, str], problems: list[str]) -> None:
    """Puts environment values where the file says ``${NAME}``; refuses secrets that stand in the file in the clear."""
    for key, value in list(node.items()) if isinstance(node, dict) else []:
        here = (*at, str(key))
        if isinstance(value, dict):
            _substitute(value, here, env, places, problems)
        elif isinstance(value, str) and value.startswith("${") and value.endswith("}"):
            name = value[2:-1]
            if name in env:
                node[key] = env[name]
            else:
                problems.append(f"{places[here]}: {'.'.join(here)} names the environment variable {name}, which is not set; set it")
                node.pop(key)
        elif _is_secret(here) and value is not None:
            problems.append(f"{places[here]}: {'.'.join(here)} is a secret in the clear; write ${{NAME}} and set NAME in the environment")


def _is_secret(at: KeyPath) -> bool:
    """Tells keys whose values must not stand in a file."""
    if at in {("privacy", "hash_key"), ("registry", "basic_auth"), ("qdrant", "api_key"), ("lineage", "api_key"), ("privacy", "keys")}:
        return True
    if at[:3] == ("http", "access", "tokens"):
        return True
    return at[:2] == ("kafka", "security") and any(word in at[-1] for word in ("password", "secret", "key.pem", "jaas"))


def _resolve_paths(values: dict[str, Any], folder: Path) -> None:
    """Makes paths from the file relative to the file."""
    for *sections, key in _PATHS:
        part: Any = values
        for section in sections:
            part = part.get(section) if isinstance(part, dict) else None
        if isinstance(part, dict) and isinstance(part.get(key), str):
            part[key] = folder / Path(part[key]).expanduser()


def _structured(text: str) -> object:
    """Gives a list where an environment value holds commas in brackets, else the text: pydantic reads numbers from text itself."""
    if text.startswith("[") and text.endswith("]"):
        return [item.strip() for item in text[1:-1].split(",") if item.strip()]
    return text


def _put(values: dict[str, Any], at: KeyPath, value: object, problems: list[str], place: str) -> None:
    """Sets a nested value, making sections on the way."""
    node = values
    for key in at[:-1]:
        child = node.setdefault(key, {})
        if not isinstance(child, dict):
            problems.append(f"{place}: {'.'.join(at)} lies below {key}, which is not a section; remove one of the two")
            return
        node = child
    node[at[-1]] = value


def _sentence(detail: ErrorDetails, places: Mapping[KeyPath, str], name: str) -> str:
    """Gives one problem as a sentence: place, key, what was required, fix. Never the value."""
    loc = tuple(str(part) for part in detail["loc"])
    at = _without_tags(loc)
    place = next((places[at[:length]] for length in range(len(at), 0, -1) if at[:length] in places), name)
    dotted = ".".join(at) or "the file"
    if detail["type"] == "extra_forbidden":
        known = _keys_at(loc[:-1])
        return f"{place}: {dotted} is not a key{did_you_mean(at[-1], known)}; known here: {', '.join(known)}"
    if detail["type"] == "missing":
        return f"{place}: {dotted} is required and absent; add it or set {ENV_PREFIX}{'__'.join(at).upper()}"
    message = detail["msg"].removeprefix("Value error, ")
    return f"{place}: {dotted}: {message[:1].lower()}{message[1:]}"


def _without_tags(loc: KeyPath) -> KeyPath:
    """Drops the tag that pydantic puts into the location of a tagged alternative (``registry.confluent.url``)."""
    tags = {("registry",): {"file", "confluent"}, ("qdrant",): {"server", "local", "edge"}, ("source", "start"): {"earliest", "latest", "timestamp"}}
    for prefix, names in tags.items():
        if loc[: len(prefix)] == prefix and len(loc) > len(prefix) and loc[len(prefix)] in names:
            return (*prefix, *loc[len(prefix) + 1 :])
    return loc


_ALTERNATIVES: Final[Mapping[str, type[Section]]] = {
    "file": FileRegistryConfig,
    "confluent": ConfluentRegistryConfig,
    "server": QdrantServerConfig,
    "local": QdrantLocalConfig,
    "edge": QdrantEdgeConfig,
    "earliest": StartEarliest,
    "latest": StartLatest,
    "timestamp": StartTimestamp,
}


def _keys_at(loc: KeyPath) -> list[str]:
    """Gives the keys a section knows, from the models themselves."""
    model: type[BaseModel] = Config
    for part in loc:
        if part in _ALTERNATIVES:
            model = _ALTERNATIVES[part]
        elif part in model.model_fields:
            candidates = [model.model_fields[part].annotation, *getattr(model.model_fields[part].annotation, "__args__", ())]
            model = next((one for one in candidates if isinstance(one, type) and issubclass(one, BaseModel)), model)
    return list(model.model_fields)
