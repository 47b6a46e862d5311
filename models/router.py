"""Two versions of a model side by side, while the stream goes on: a canary answers a share of the keys, a shadow answers nothing and is compared.

canary   key ── stable hash ──┬── below the share ──> candidate ── fails? ──┐
                              └── else ─────────────> stable <──────────────┘
shadow   every text ──> stable ──> caller
              └── a bounded line ──> candidate ──> compared with the stable answer
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.compare import difference
from models.observer import RouterObserver
from models.results import GuardScores, NameSpan, TextModels
from schemas.errors import RetryableError

#: Shares are counted in parts per million, so that a share is a whole number.
PPM: Final = 1_000_000
_SHADOW_DEADLINE_S: Final = 30.0
_CANARY_THREADS: Final = 8

Answer = TypeVar("Answer")


class RouteMode(StrEnum):
    """What the candidate is for."""

    CANARY = "canary"
    SHADOW = "shadow"


@dataclass(frozen=True, slots=True)
class Route:
    """How one model's texts are shared between two versions.

    Attributes:
        mode: Canary or shadow.
        share_ppm: Share of the keys that the candidate sees, in parts per million.
    """

    mode: RouteMode
    share_ppm: int = PPM


def takes_candidate(key: str, share_ppm: int) -> bool:
    """Whether a key is among the candidate's: the same everywhere and always, and with a larger share those of the smaller one stay."""
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8, person=b"headrace-canary").digest()
    return int.from_bytes(digest, "big") % PPM < share_ppm


class VersionRouter:
    """Implements TextModels over two others; models without a route go to the stable one.

    The key of a text is the text itself unless the caller gives keys, so equal texts get equal answers wherever they occur. A candidate that does not
    answer costs nothing but time: its texts go to the stable version, and the observer is told.

    Args:
        stable: Answers today.
        candidate: Asked for the new version.
        routes: By model.
        observer: Told of comparisons and failures.
        shadow_texts_max: Texts that wait for a shadow; what comes beyond is not compared, and told.
    """

    def __init__(
        self, stable: TextModels, candidate: TextModels, routes: Mapping[str, Route], observer: RouterObserver, shadow_texts_max: int = 1_024
    ) -> None:
        self._stable = stable
        self._candidate = candidate
        self._routes = routes
        self._observer = observer
        self._canaries = ThreadPoolExecutor(_CANARY_THREADS, "headrace-canary")
        self._shadow = _Shadow(observer, shadow_texts_max)

    def embed(self, texts: Sequence[str], deadline_s: float, keys: Sequence[str] | None = None) -> NDArray[np.float32]:
        """Gives float32[texts, 384], each row of length 1."""
        if not texts:
            return self._stable.embed(texts, deadline_s)
        return np.stack(self._routed("embedder", _rows_of(self._stable), _rows_of(self._candidate), texts, deadline_s, keys))

    def guard(self, texts: Sequence[str], deadline_s: float, keys: Sequence[str] | None = None) -> list[GuardScores]:
        """Gives the scores of each text."""
        return self._routed("guard", self._stable.guard, self._candidate.guard, texts, deadline_s, keys)

    def tag(self, texts: Sequence[str], deadline_s: float, keys: Sequence[str] | None = None) -> list[tuple[NameSpan, ...]]:
        """Gives the names in each text."""
        return self._routed("pii_tagger", self._stable.tag, self._candidate.tag, texts, deadline_s, keys)

    def side(self, model: str, key: str) -> str:
        """Tells whether a key is among the candidate's."""
        route = self._routes.get(model)
        return "candidate" if route is not None and takes_candidate(key, route.share_ppm) else ""

    def close(self) -> None:
        """Ends comparisons; the two versions' clients belong to whoever made them."""
        self._canaries.shutdown(wait=True, cancel_futures=True)
        self._shadow.close()

    def _routed(
        self,
        model: str,
        stable: Callable[[Sequence[str], float], Sequence[Answer]],
        candidate: Callable[[Sequence[str], float], Sequence[Answer]],
        texts: Sequence[str],
        deadline_s: float,
        keys: Sequence[str] | None,
    ) -> list[Answer]:
        route = self._routes.get(model)
        if route is None:
            return list(stable(texts, deadline_s))
        chosen = [takes_candidate(key, route.share_ppm) for key in (texts if keys is None else keys)]
        assert len(chosen) == len(texts)
        if route.mode is RouteMode.SHADOW:
            answers = list(stable(texts, deadline_s))
            seen = [(text, answer) for text, answer, is_chosen in zip(texts, answers, chosen, strict=True) if is_chosen]
            self._shadow.offer(model, candidate, seen)
            return answers
        return self._by_canary(model, stable, candidate, list(zip(texts, chosen, strict=True)), deadline_s)

    def _by_canary(
        self,
        model: str,
        stable: Callable[[Sequence[str], float], Sequence[Answer]],
        candidate: Callable[[Sequence[str], float], Sequence[Answer]],
        texts: Sequence[tuple[str, bool]],
        deadline_s: float,
    ) -> list[Answer]:
        """Asks both at once, and the stable one again for what the candidate did not answer, all within the deadline."""
        end_s = time.monotonic() + deadline_s
        of_candidate = [text for text, is_chosen in texts if is_chosen]
        of_stable = [text for text, is_chosen in texts if not is_chosen]
        # Half of the time, so that there is some left for the stable version.
        asked = self._canaries.submit(candidate, of_candidate, deadline_s / 2) if of_candidate else None
        stable_answers = iter(stable(of_stable, deadline_s) if of_stable else ())
        candidate_answers = iter(self._or_stable(model, asked, stable, of_candidate, end_s))
        return [next(candidate_answers if is_chosen else stable_answers) for _, is_chosen in texts]

    def _or_stable(
        self,
        model: str,
        asked: Future[Sequence[Answer]] | None,
        stable: Callable[[Sequence[str], float], Sequence[Answer]],
        texts: Sequence[str],
        end_s: float,
    ) -> Sequence[Answer]:
        if asked is None:
            return ()
        try:
            answers = asked.result()
        except RetryableError:
            self._observer.candidate_failed(model, len(texts))
            return stable(texts, max(end_s - time.monotonic(), 0.0))
        self._observer.candidate_answered(model, len(texts))
        return answers


def _rows_of(models: TextModels) -> Callable[[Sequence[str], float], list[NDArray[np.float32]]]:
    return lambda texts, deadline_s: list(models.embed(texts, deadline_s))


class _Shadow:
    """Asks a candidate in a thread of its own and compares."""

    def __init__(self, observer: RouterObserver, texts_max: int) -> None:
        self._observer = observer
        self._texts_max = texts_max
        self._waiting = 0
        self._lock = threading.Lock()
        self._worker = ThreadPoolExecutor(1, "headrace-shadow")

    def offer(self, model: str, candidate: Callable[[Sequence[str], float], Sequence[Any]], seen: Sequence[tuple[str, Any]]) -> None:
        """Takes texts with their stable answers, or drops them where the shadow is behind; never waits."""
        if not seen:
            return
        with self._lock:
            has_room = self._waiting + len(seen) <= self._texts_max
            self._waiting += len(seen) if has_room else 0
        if has_room:
            self._worker.submit(self._compare, model, candidate, seen)
        else:
            self._observer.shadow_dropped(model, len(seen))

    def close(self) -> None:
        """Ends it after the comparison under way."""
        self._worker.shutdown(wait=True, cancel_futures=True)

    def _compare(self, model: str, candidate: Callable[[Sequence[str], float], Sequence[Any]], seen: Sequence[tuple[str, Any]]) -> None:
        try:
            answers = candidate([text for text, _ in seen], _SHADOW_DEADLINE_S)
        except RetryableError:
            self._observer.candidate_failed(model, len(seen))
        else:
            self._observer.shadow_compared(model, [difference(was, now) for (_, was), now in zip(seen, answers, strict=True)])
        finally:
            with self._lock:
                self._waiting -= len(seen)
