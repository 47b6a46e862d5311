"""Running an engine from the command line: Ctrl-C asks it to stop in order, a second one leaves at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, Generic, TypeVar

from streams.stop import Stop

T = TypeVar("T")
_LOOK_EVERY_S: Final = 0.2


class EngineThread(Generic[T]):
    """A call in a thread of its own, so that the main thread can take signals and draw."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._result: T | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(call,), name="engine", daemon=True)
        self._thread.start()

    def _run(self, call: Callable[[], T]) -> None:
        try:
            self._result = call()
        except BaseException as error:  # noqa: BLE001 - raised again by result()
            self._error = error

    @property
    def running(self) -> bool:
        """Whether the call has neither returned nor raised."""
        return self._thread.is_alive()

    def wait(self, seconds: float) -> None:
        """Waits for the end of the call, at most so long."""
        self._thread.join(seconds)

    def result(self) -> T:
        """Waits for the end of the call and gives its result, or raises what it raised."""
        while self._thread.is_alive():
            self._thread.join(_LOOK_EVERY_S)
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]  # the call returned, so this is its T


@contextmanager
def signals_stop(stop: Stop) -> Iterator[None]:
    """Within the body, SIGINT and SIGTERM ask for an orderly stop; the second one interrupts."""

    def asked(_number: int, _frame: FrameType | None) -> None:
        if stop.requested:
            raise KeyboardInterrupt
        stop.request()

    before = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def hangup_asks(ask: Callable[[], None]) -> Iterator[None]:
    """Within the body, SIGHUP makes the call in place of ending the process."""
    before = signal.signal(signal.SIGHUP, lambda _number, _frame: ask())
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)
