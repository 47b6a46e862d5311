"""Sends texts to one model in batches: bounded in flight, within deadlines, through the breaker. Lives in one event loop; knows no thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from models.answers import READERS
from models.batching import Admission, Call, Item, Queue, by_call
from models.breaker import Breaker, BreakerState
from models.failures import FailureKind, ModelFailure
from models.observer import ModelObserver
from models.results import Served
from models.spec import ModelSpec
from models.transport import Transport


@dataclass(frozen=True, slots=True)
class Answered:
    """What a call gets.

    Attributes:
        values: One a text, in order.
        served: What gave them; several where the model changed meanwhile.
    """

    values: list[Any]
    served: frozenset[Served]


@dataclass(frozen=True, slots=True)
class DispatchSettings:
    """Bounds of what goes to one model.

    Attributes:
        in_flight_texts_max: Texts admitted and not yet answered; callers wait beyond it.
        in_flight_bytes_max: Their bytes.
        batches_max: Requests under way at once. Two keep a server busy that works on one; more lets it merge less.
        batch_bytes_max: Bytes of one batch; a larger text goes alone.
        attempts_max: How often one batch is sent when the server is away.
        wait_s: Time between attempts.
        failures_max: Failures in a row that open the breaker.
        open_s: How long it stays open.
    """

    in_flight_texts_max: int = 1_024
    in_flight_bytes_max: int = 32 * 2**20
    batches_max: int = 2
    batch_bytes_max: int = 2**20
    attempts_max: int = 3
    wait_s: float = 0.1
    failures_max: int = 5
    open_s: float = 1.0


#: What the breaker is for: a server that does not answer. One that answers wrongly answers fast, and maybe only on some texts.
_COUNTED: Final = frozenset({FailureKind.AWAY, FailureKind.SLOW})


class Dispatcher:
    """One model, or one version of it.

    Args:
        spec: The model.
        version: Which version is asked for; empty leaves the choice to the server.
        transport: Sends batches.
        settings: Bounds.
        observer: Told what happens.
        seen: Called with what gave each answer.
    """

    def __init__(
        self, spec: ModelSpec, version: str, transport: Transport, settings: DispatchSettings, observer: ModelObserver, seen: Callable[[Served], None]
    ) -> None:
        self._spec = spec
        self._version = version
        self._transport = transport
        self._settings = settings
        self._observer = observer
        self._seen = seen
        self._admission = Admission(settings.in_flight_texts_max, settings.in_flight_bytes_max, spec.batch_max)
        self._queue = Queue(spec.batch_max, settings.batch_bytes_max)
        self._breaker = Breaker(settings.failures_max, settings.open_s)
        self._shown = BreakerState.CLOSED
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[Call, tuple[Future[Answered], asyncio.TimerHandle]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def in_flight_texts(self) -> int:
        """Texts admitted and not yet answered."""
        return self._admission.texts

    def ask(self, texts: Sequence[str], deadline_s: float, future: Future[Answered]) -> None:
        """Takes a call; ``future`` gets the results in order, or a ModelFailure, at the deadline at the latest."""
        call = Call(self._loop.time() + deadline_s, [None] * len(texts), len(texts))
        late = ModelFailure(self._spec.name, FailureKind.SLOW, f"{deadline_s:g} s")
        self._waiting[call] = (future, self._loop.call_at(call.deadline_s, self._fail, call, late))
        self._admission.offer(call, (Item(call, place, text.encode("utf-8", "replace"), len(text)) for place, text in enumerate(texts)))
        self._go_on()

    def give_up(self) -> None:
        """Fails every call; for the end."""
        for call in list(self._waiting):
            self._fail(call, ModelFailure(self._spec.name, FailureKind.AWAY, "the client is closed"))
        for task in self._tasks:
            task.cancel()

    def _go_on(self) -> None:
        """Admits what there is room for and sends what there is a slot for."""
        self._queue.put(self._admission.admit())
        while len(self._tasks) < self._settings.batches_max:
            batch, dropped = self._queue.take()
            self._admission.release(dropped)
            if not batch:
                break
            wait_s = self._breaker.wait_s(self._loop.time())
            self._show_breaker()
            if wait_s > 0:
                self._settle(batch, ModelFailure(self._spec.name, FailureKind.OPEN, "", max(1, round(wait_s * 1_000))))
            else:
                task = self._loop.create_task(self._send(batch))
                self._tasks.add(task)
                task.add_done_callback(partial(self._sent, batch))
            self._queue.put(self._admission.admit())

    def _sent(self, batch: list[Item], task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (bug := task.exception()) is not None:
            self._settle(batch, ModelFailure(self._spec.name, FailureKind.REFUSED, f"{type(bug).__name__} in headrace itself"))
        self._go_on()

    async def _send(self, batch: list[Item]) -> None:
        """Sends one batch until it is answered, refused, or out of time."""
        deadline_s = max(item.call.deadline_s for item in batch)
        for attempt in range(1, self._settings.attempts_max + 1):
            failure = await self._try(batch, deadline_s)
            if failure is None:
                return
            again = failure.kind is FailureKind.AWAY and attempt < self._settings.attempts_max
            if not again or self._loop.time() + self._settings.wait_s >= deadline_s:
                break
            self._observer.batch_sent_again(self._spec.name)
            await asyncio.sleep(self._settings.wait_s)
        assert failure is not None
        if failure.kind in _COUNTED:
            self._breaker.failed(self._loop.time())
        else:
            self._breaker.succeeded()
        self._show_breaker()
        parts = by_call(batch)
        if failure.kind in (FailureKind.REFUSED, FailureKind.INVALID) and len(parts) > 1:
            self._queue.put_first(parts)  # one caller's text may be what the model fails on: the others must not share its fate
        else:
            self._settle(batch, failure)

    async def _try(self, batch: list[Item], deadline_s: float) -> ModelFailure | None:
        """Sends a batch once and hands out its answer; gives the failure where there is one."""
        began_s = self._loop.time()
        timeout_s = deadline_s - began_s
        version = self._version
        failure = None
        if timeout_s <= 0:
            return ModelFailure(self._spec.name, FailureKind.SLOW)
        try:
            answer = await self._transport.infer(self._spec, version, [item.data for item in batch], timeout_s)
            version = answer.served.version
            values = READERS[self._spec.name](self._spec, answer.outputs, [item.chars for item in batch], version)
        except ModelFailure as error:
            failure = error
        outcome = "ok" if failure is None else failure.kind.value
        self._observer.batch_done(self._spec.name, version, outcome, len(batch), self._loop.time() - began_s)
        if failure is None:
            self._breaker.succeeded()
            self._show_breaker()
            self._seen(answer.served)
            self._hand_out(batch, values, answer.served)
        return failure

    def _hand_out(self, batch: list[Item], values: list[Any], served: Served) -> None:
        self._admission.release(batch)
        for item, value in zip(batch, values, strict=True):
            call = item.call
            call.results[item.place] = value
            call.served.add(served)
            call.missing -= 1
            if call.missing == 0 and not call.over:
                call.over = True
                future, timer = self._waiting.pop(call)
                timer.cancel()
                future.set_result(Answered(call.results, frozenset(call.served)))

    def _settle(self, batch: list[Item], failure: ModelFailure) -> None:
        self._admission.release(batch)
        for item in batch:
            self._fail(item.call, failure)

    def _fail(self, call: Call, failure: ModelFailure) -> None:
        if not call.over:
            call.over = True
            future, timer = self._waiting.pop(call)
            timer.cancel()
            future.set_exception(failure.fresh())

    def _show_breaker(self) -> None:
        if self._breaker.state is not self._shown:
            self._shown = self._breaker.state
            self._observer.breaker_changed(self._spec.name, self._shown)
