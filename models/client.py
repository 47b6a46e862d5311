"""Asks the models on a Triton server: the TextModels that the shell is given.

caller's thread                            one event loop in a thread of its own
───────────────                            ─────────────────────────────────────
distinct texts ── cache? ── misses ──>     Dispatcher a model: admission, batches, breaker, retries ── channels ──> Triton
results in order <── cache.put <────────── answers checked, each text's result to its caller
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, Final, Self, cast

import numpy as np
from numpy.typing import NDArray

from models.cache import ResultCache
from models.dispatch import Answered, Dispatcher, DispatchSettings
from models.endpoint import Endpoint
from models.failures import FailureKind, ModelFailure
from models.observer import ModelObserver, Silent
from models.results import GuardScores, NameSpan, Served
from models.spec import EMBEDDING_SIZE, MODELS, ModelSpec, model_spec
from models.transport import GrpcTransport, Transport
from schemas.errors import ConfigError

#: The loop ends a call at its deadline; a caller waits this much longer before it takes the loop for dead.
_LOOP_GRACE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """How a server is asked.

    Attributes:
        channels: Connections.
        cache_bytes_max: Bound on remembered results; 0 for none.
        version_trust_s: After so long without an answer of a model its cached results are not used: another version or build may be served by now.
        versions: Model -> the version to ask for; a model that is absent gets the server's choice.
        dispatch: Bounds of what is in flight to one model.
    """

    channels: int = 2
    cache_bytes_max: int = 64 * 2**20
    version_trust_s: float = 10.0
    versions: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    dispatch: DispatchSettings = field(default_factory=DispatchSettings)


class TritonModels:
    """Implements TextModels; every method may be called from any thread, and blocks until all texts are answered.

    Concurrent calls share batches; each gets its own texts' results in its own order. The constructor sends nothing: a server that is away shows at
    the first call.

    Args:
        endpoint: The server.
        settings: Bounds.
        observer: Told what happens.
        transport: Makes what sends batches, inside of the event loop; None for gRPC.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        settings: ClientSettings | None = None,
        observer: ModelObserver | None = None,
        transport: Callable[[], Transport] | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._settings = settings or ClientSettings()
        self._observer: ModelObserver = observer or Silent()
        self._make_transport = transport or (lambda: GrpcTransport(endpoint, self._settings.channels))
        self._cache = ResultCache(self._settings.cache_bytes_max)
        #: Model -> what answered last, and when.
        self._served: dict[str, tuple[Served, float]] = {}
        self._loop = asyncio.new_event_loop()
        self._dispatchers: dict[str, Dispatcher] = {}
        self._closed = False
        prepared: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(prepared,), name="headrace-models", daemon=True)
        self._thread.start()
        try:
            prepared.result()
        except ConfigError:
            self._thread.join()
            self._loop.close()
            raise

    def embed(self, texts: Sequence[str], deadline_s: float, keys: Sequence[str] | None = None) -> NDArray[np.float32]:
        """Gives float32[texts, 384], each row of length 1."""
        rows = self._ask(model_spec("embedder"), texts, deadline_s)
        return np.stack(rows) if rows else np.empty((0, EMBEDDING_SIZE), np.float32)

    def guard(self, texts: Sequence[str], deadline_s: float, keys: Sequence[str] | None = None) -> list[GuardScores]:
        """Gives the scores of each text."""
        return cast(list[GuardScores], self._ask(model_spec("guard"), texts, deadline_s))

    def tag(self, texts: Sequence[str], deadline_s: float, keys: Sequence[str] | None = None) -> list[tuple[NameSpan, ...]]:
        """Gives the names in each text, in order, not overlapping."""
        return cast(list[tuple[NameSpan, ...]], self._ask(model_spec("pii_tagger"), texts, deadline_s))

    def side(self, model: str, key: str) -> str:
        """One client asks for one version."""
        return ""

    @property
    def cache_bytes(self) -> int:
        """What the cache holds now, about."""
        return self._cache.size_bytes

    def in_flight_texts(self, model: str) -> int:
        """Texts of a model that are admitted and not yet answered."""
        return self._dispatchers[model].in_flight_texts

    def close(self) -> None:
        """Fails what is under way and ends all connections; may be called twice."""
        if not self._closed:
            self._closed = True
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _ask(self, spec: ModelSpec, texts: Sequence[str], deadline_s: float) -> list[Any]:
        if spec.reads_raw:
            self._endpoint.require_raw(spec.name)
        if self._closed:
            raise ModelFailure(spec.name, FailureKind.AWAY, "the client is closed")
        distinct = list(dict.fromkeys(texts))
        known = self._remembered(spec, distinct)
        missing = [text for text in distinct if text not in known]
        self._observer.cache_asked(spec.name, len(known), len(missing))
        if missing:
            answered = self._infer(spec, missing, deadline_s)
            known.update(zip(missing, answered.values, strict=True))
            self._remember(spec, missing, answered)
        return [known[text] for text in texts]

    def _infer(self, spec: ModelSpec, texts: Sequence[str], deadline_s: float) -> Answered:
        future: Future[Answered] = Future()
        self._loop.call_soon_threadsafe(self._dispatchers[spec.name].ask, texts, deadline_s, future)
        failure = None
        try:
            return future.result(deadline_s + _LOOP_GRACE_S)
        except TimeoutError:
            failure = ModelFailure(spec.name, FailureKind.SLOW, "the client's own loop does not answer")
        raise failure

    def _remembered(self, spec: ModelSpec, texts: Sequence[str]) -> dict[str, Any]:
        served, seen_s = self._served.get(spec.name, (None, 0.0))
        if not self._settings.cache_bytes_max or served is None or time.monotonic() - seen_s > self._settings.version_trust_s:
            return {}
        found = ((text, self._cache.get(self._cache.key(spec.name, served, text))) for text in texts)
        return {text: value for text, value in found if value is not None}

    def _remember(self, spec: ModelSpec, texts: Sequence[str], answered: Answered) -> None:
        if self._settings.cache_bytes_max and len(answered.served) == 1:  # of two, nobody knows which text got which
            (served,) = answered.served
            for text, value in zip(texts, answered.values, strict=True):
                self._cache.put(self._cache.key(spec.name, served, text), value)

    def _run(self, prepared: Future[None]) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.call_soon(self._prepare, prepared)
        self._loop.run_forever()

    def _prepare(self, prepared: Future[None]) -> None:
        try:
            self._transport = self._make_transport()
        except ConfigError as error:
            prepared.set_exception(error)
            self._loop.stop()
            return
        for spec in MODELS:
            version = self._settings.versions.get(spec.name, "")
            saw = partial(self._saw, spec.name)
            self._dispatchers[spec.name] = Dispatcher(spec, version, self._transport, self._settings.dispatch, self._observer, saw)
        prepared.set_result(None)

    def _saw(self, model: str, served: Served) -> None:
        self._served[model] = (served, time.monotonic())

    async def _end(self) -> None:
        for dispatcher in self._dispatchers.values():
            dispatcher.give_up()
        await self._transport.close()
