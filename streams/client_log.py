"""What the Kafka client says, through the one log that headrace has: each kind of trouble once in a while, not once a try."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from streams.log import log

#: A client whose broker is away says so twenty times a second.
_QUIET_S: Final = 30.0


class ClientLog(logging.Handler):
    """Passes what librdkafka says on as ``kafka.client``; of one kind of warning or error at most one in ``_QUIET_S`` seconds.

    They name clients, threads, brokers, topics and codes; librdkafka never writes what a record holds.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._said: dict[str, float] = {}
        self._said_lock = threading.Lock()

    def emit(self, record: logging.LogRecord) -> None:
        """Passes one line on; its kind is the facility (``FAIL``, ``GETPID``) that librdkafka puts before it."""
        arguments = record.args if isinstance(record.args, tuple) else ()
        kind = str(arguments[0]) if arguments else "LOG"
        now = self._clock()
        with self._said_lock:
            if record.levelno >= logging.WARNING and now - self._said.get(kind, -_QUIET_S) < _QUIET_S:
                return
            self._said[kind] = now
        log().log(record.levelno, "kafka.client", code=kind, problem=record.getMessage())


def with_log(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Gives a client's settings with the log added: warnings and errors, and with the setting ``debug`` every line that it asks for."""
    # Not from the registry of loggers: nobody else configures it.
    logger = logging.Logger("headrace.kafka", logging.DEBUG if "debug" in settings else logging.WARNING)
    logger.addHandler(ClientLog())
    return {**settings, "logger": logger}
