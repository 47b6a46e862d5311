"""What the Kafka client says, through the one log that headrace has: each kind of trouble once in a while, not once a try."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from streams.log import log

#: A client whose broker is away says so twenty times a second.
_QUIET_S: Final = 30.0


class ClientLog(logging.Handler):
    """Passes warnings and errors of librdkafka on as ``kafka.client``, of one kind at most one in ``_QUIET_S`` seconds.

    They name clients, threads, brokers, topics and codes; librdkafka never writes what a record holds.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(logging.WARNING)
        self._clock = clock
        self._said: dict[str, float] = {}
        self._said_lock = threading.Lock()

    def emit(self, record: logging.LogRecord) -> None:
        """Passes one line on; its kind is the facility (``FAIL``, ``GETPID``) that librdkafka puts before it."""
        arguments = record.args if isinstance(record.args, tuple) else ()
        kind = str(arguments[0]) if arguments else "LOG"
        now = self._clock()
        with self._said_lock:
            if now - self._said.get(kind, -_QUIET_S) < _QUIET_S:
                return
            self._said[kind] = now
        log().log(record.levelno, "kafka.client", code=kind, problem=record.getMessage())


def client_logger() -> logging.Logger:
    """Gives the logger that Kafka clients are made with (``logger`` among their settings)."""
    logger = logging.Logger("headrace.kafka", logging.WARNING)  # not in the registry of loggers: nobody else configures it
    logger.addHandler(ClientLog())
    return logger
