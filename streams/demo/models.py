"""The demo's models: whether they can be had on this machine, and a real Triton that serves them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Final

from models.base_encoder import BASE_PACKAGE
from models.spec import MODELS
from models.tuned import WEIGHTS
from schemas.errors import ConfigError
from streams.cli.models_serve import DEFAULT_REPOSITORY
from streams.embedded.triton import TritonServer
from streams.embedded.triton_install import missing_for_triton

#: Models without weights of their own: the base encoder as it is.
_UNTUNED: Final = frozenset({"embedder"})
_SECONDS_A_MODEL: Final = 30


class ModelsChoice(StrEnum):
    """Whether the demo runs with models."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


def missing_for_models(repository: Path = DEFAULT_REPOSITORY, weights: Path = WEIGHTS) -> tuple[str, ...]:
    """Says what is missing on this machine to run models, a sentence each with its fix; empty when all is there or can be built."""
    problems = list(missing_for_triton())
    for name in unbuilt(repository):
        if name not in _UNTUNED and not (weights / f"{name}.safetensors").is_file():
            problems.append(f"{name}: has no weights in {weights} and is not built in {repository}; run `headrace models train {name}`")
    return tuple(problems)


def unbuilt(repository: Path) -> tuple[str, ...]:
    """Gives the models of which a repository holds no built version."""
    return tuple(spec.name for spec in MODELS if not list((repository / spec.name).glob("*/manifest.json")))


def models_wanted(choice: ModelsChoice, say: Callable[[str], None]) -> bool:
    """Whether to run with models; says what is missing where it decides against them by itself.

    Raises:
        ConfigError: They were asked for and cannot be had.
    """
    if choice is ModelsChoice.OFF:
        return False
    missing = missing_for_models()
    if missing and choice is ModelsChoice.ON:
        raise ConfigError(*missing)
    if missing:
        say("without models (no names masked in running text, no scores, no vectors):")
        for problem in missing:
            say(f"  {problem}")
    return not missing


@contextmanager
def model_server(say: Callable[[str], None], repository: Path = DEFAULT_REPOSITORY) -> Iterator[str]:
    """Builds the models that are not built yet, serves all of them, and gives host:port of the server's gRPC."""
    names = unbuilt(repository)
    if names:
        from models.build.repository import Order, build

        say(f"building {', '.join(names)} from {BASE_PACKAGE}, once: about {_SECONDS_A_MODEL * len(names)} s")
        build(Order("cpu", repository, names), say)
    say("starting Triton ...")
    with TritonServer(repository) as server:
        yield server.endpoint.url
