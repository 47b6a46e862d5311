"""Controls a Triton server's models: which are served, load, unload, several versions side by side.

Errors of the server reach the operator here with their text: control requests carry no records.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from models.endpoint import Endpoint
from schemas.errors import ConfigError, RetryableError

_POLL_S: Final = 0.05
_RETRY_AFTER_MS: Final = 1_000
_ANSWER_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One version of a model in the server's index.

    Attributes:
        name: Folder in the repository.
        version: Number; empty for a model of which no version was ever loaded.
        state: READY, LOADING, UNLOADING, UNAVAILABLE; empty for one that was never loaded.
        reason: Why it is not ready, in the server's words.
    """

    name: str
    version: str
    state: str
    reason: str

    @property
    def ready(self) -> bool:
        """Whether it answers."""
        return self.state == "READY"


class ModelControl:
    """Talks to one server; may be used from several threads.

    Args:
        endpoint: The server.

    Raises:
        RetryableError: From every method: the server does not answer.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._url = endpoint.url
        self._client = triton.InferenceServerClient(**endpoint.connection())

    def live(self) -> bool:
        """Whether the server answers at all."""
        try:
            return bool(self._client.is_server_live(client_timeout=_ANSWER_S))
        except InferenceServerException:
            return False

    def index(self) -> tuple[ServedModel, ...]:
        """Gives every model of the repository, each version that was ever loaded."""
        found = self._asked(lambda: self._client.get_model_repository_index(client_timeout=_ANSWER_S))
        return tuple(sorted((ServedModel(m.name, m.version, m.state, m.reason) for m in found.models), key=lambda m: (m.name, m.version)))

    def versions(self, name: str) -> tuple[str, ...]:
        """Gives the versions of a model that answer, by number."""
        return tuple(sorted((model.version for model in self.index() if model.name == name and model.ready), key=int))

    def load(self, name: str, deadline_s: float, versions: Sequence[int] | None = None) -> tuple[str, ...]:
        """Loads a model, or loads it anew; requests go on being answered by what was loaded before until the new one is ready.

        Args:
            name: Folder in the repository.
            deadline_s: How long it may take.
            versions: Which versions are served side by side; None follows the model's own configuration (the newest, unless it says otherwise).

        Returns:
            The versions that answer now.

        Raises:
            ConfigError: The model or a version is not in the repository, or does not load; with the server's reason.
        """
        config = None if versions is None else json.dumps({**self._config(name), "version_policy": {"specific": {"versions": list(versions)}}})
        try:
            self._client.load_model(name, config=config, client_timeout=deadline_s)
        except InferenceServerException as error:
            raise self._failure(error, f"model {name} was not loaded") from None
        serving = self.versions(name)
        lost = sorted({str(version) for version in versions or ()} - set(serving))
        if lost:
            raise ConfigError(
                f"model {name}: {', '.join(lost)} is not in the repository, served now: {', '.join(serving)}; add the folder {name}/{lost[0]}"
            )
        return serving

    def unload(self, name: str, deadline_s: float) -> None:
        """Takes a model out of service and returns when no version of it is ready.

        Raises:
            RetryableError: It still was at the deadline.
        """
        end_s = time.monotonic() + deadline_s
        self._asked(lambda: self._client.unload_model(name, client_timeout=deadline_s))
        while self.versions(name):
            if time.monotonic() > end_s:
                raise RetryableError(f"model {name} is still served {deadline_s:g} s after it was unloaded; ask again", _RETRY_AFTER_MS)
            time.sleep(_POLL_S)

    def silence_log(self) -> None:
        """Turns off the server's warnings and errors: when a model fails on a request, Triton logs the exception, which may quote a text.

        What a person needs comes otherwise: reasons of a failed load in its reply, failures of requests in the metrics and at the client.
        """
        self._asked(lambda: self._client.update_log_settings({"log_error": False, "log_warning": False}, client_timeout=_ANSWER_S))

    def ready(self, names: Collection[str]) -> bool:
        """Whether each of these models has a version that answers."""
        return set(names) <= {model.name for model in self.index() if model.ready}

    def _config(self, name: str) -> dict[str, Any]:
        """Gives a model's configuration as the server holds it; loads the model where it never was."""
        if not any(model.name == name and model.ready for model in self.index()):
            self.load(name, _ANSWER_S * 12)
        found = self._asked(lambda: self._client.get_model_config(name, as_json=True, client_timeout=_ANSWER_S))
        config: dict[str, Any] = found["config"]
        return config

    def _asked(self, request: Callable[[], Any]) -> Any:
        try:
            return request()
        except InferenceServerException as error:
            raise self._failure(error, "a control request failed") from None

    def _failure(self, error: InferenceServerException, what: str) -> ConfigError | RetryableError:
        code = str(error.status() or "UNKNOWN").removeprefix("StatusCode.")
        if code in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
            return RetryableError(f"Triton at {self._url} does not answer ({code}); start it or correct models.url", _RETRY_AFTER_MS)
        return ConfigError(f"{what}: {error.message()}")
