"""Structured logs on stderr: one JSON object a line, with event names and keys from fixed sets, so that no payload can get in.

An event is a dotted name such as ``run.started``; a key that is not in ``KEYS`` is dropped and counted under ``refused``; a long text is
replaced by its length. Exceptions are logged by class name: a foreign error's text may quote a value.
"""

from __future__ import annotations

import re
import sys
from collections.abc import MutableMapping
from typing import Any, Final, TextIO

import structlog

#: Every key a log line may have, beside ``event``, ``level`` and ``at``.
KEYS: Final = frozenset(
    {
        "topic",
        "partition",
        "offset",
        "lane",
        "lanes",
        "worker",
        "workers",
        "epoch",
        "step",
        "sink",
        "code",
        "rows",
        "rows_in",
        "rows_dead",
        "rows_filtered",
        "rows_out",
        "batches",
        "bytes",
        "seconds",
        "wait_ms",
        "deadline_ms",
        "attempt",
        "pipeline",
        "policy_id",
        "policy_version",
        "version",
        "path",
        "host",
        "port",
        "error",
        "problem",
        "signal",
        "failpoint",
        "migration",
        "watermark_ms",
        "brokers",
        "partitions",
    }
)
_EVENT: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")
_EVENT_CHARS_MAX: Final = 64
_TEXT_CHARS_MAX: Final = 400

Entry = MutableMapping[str, Any]


def refuse_payloads(_logger: object, _method: str, entry: Entry) -> Entry:
    """Gives the entry with nothing in it but known keys and short plain values."""
    kept: dict[str, Any] = {}
    refused = 0
    event = entry.pop("event", "")
    known = isinstance(event, str) and len(event) <= _EVENT_CHARS_MAX and _EVENT.fullmatch(event) is not None
    kept["event"] = event if known else "refused"
    for fixed in ("level", "at"):
        if fixed in entry:
            kept[fixed] = entry.pop(fixed)
    exc_info = entry.pop("exc_info", None)
    if isinstance(exc_info, BaseException):
        kept["error"] = type(exc_info).__name__
    elif exc_info and (current := sys.exc_info()[0]) is not None:
        kept["error"] = current.__name__
    for key, value in entry.items():
        if key in KEYS and (value is None or isinstance(value, bool | int | float | str)):
            kept[key] = f"[{len(value)} characters]" if isinstance(value, str) and len(value) > _TEXT_CHARS_MAX else value
        else:
            refused += 1
    if refused:
        kept["refused"] = refused
    return kept


def configure_logging(stream: TextIO | None = None) -> None:
    """Sends log lines to a stream (None: stderr as it is when a line is written)."""
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            refuse_payloads,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(stream or sys.stderr),
        cache_logger_on_first_use=False,
    )


def log() -> structlog.typing.FilteringBoundLogger:
    """Gives the logger: ``log().info("run.started", pipeline=name, lanes=2)``."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger
