"""What the errors of Qdrant's client, of gRPC and HTTP below it, and of its engine in process become; see ``sinks.errors`` for the manner.

A test walks the lists of gRPC, httpx, sqlite3 and qdrant-client and fails when one grows an error that no rule names. The engine in process raises
plain exceptions: they are known by an error number of the operating system in their text, or by a few words. Foreign texts are not passed on.
"""

from __future__ import annotations

import re
import sqlite3
from types import MappingProxyType
from typing import Final

import grpc
import httpx
import pydantic
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

from sinks.errors import CONFLICT_MS, RECONNECT_MS, RELIEF_MS, Rule, SinkError, file_failure, made

_RETRY_AFTER_MS_MAX: Final = 60_000

_AWAY: Final = Rule("the server is away or restarts", RECONNECT_MS)
_SLOW: Final = Rule("no answer within the deadline: the server is slow", RECONNECT_MS)
_BUSY: Final = Rule("the server limits what it takes: give it more room, or send less", RELIEF_MS)
_TROUBLE: Final = Rule("the server failed (its disk, its memory, itself): look at its log", RELIEF_MS)
_CONFLICT: Final = Rule("another operation was in the way", CONFLICT_MS)
_LOGIN: Final = Rule("the server refuses this client: check qdrant.api_key")
_MIGRATE: Final = Rule("the collection is missing: run `headrace migrate`")
_SHAPE: Final = Rule("the collection does not take these points: run `headrace migrate`, and report it with this code if that changes nothing")
_VERSION: Final = Rule("client and server do not understand each other: check their versions, which may differ by one minor version")
_ADDRESS: Final = Rule("the address is none that can be asked: check qdrant.url and qdrant.grpc_port")
_BUG: Final = Rule("the call does not fit this store; please report it with this code")
_HELD: Final = Rule("another process holds the directory", RECONNECT_MS)
_DAMAGED: Final = Rule("the files are damaged: restore them, or remove the directory and replay the topics under a new pipeline name")
_PATH: Final = Rule("the directory is missing or not writable: check qdrant.path and its permissions")
_DISK: Final = Rule("the file system is full, over quota or busy: free some space", RELIEF_MS)

#: By gRPC's name of the status, https://grpc.io/docs/guides/status-codes/
GRPC: Final = MappingProxyType(
    {
        "OK": _BUG,
        "CANCELLED": _AWAY,
        "UNKNOWN": _TROUBLE,
        "INVALID_ARGUMENT": _SHAPE,
        "DEADLINE_EXCEEDED": _SLOW,
        "NOT_FOUND": _MIGRATE,
        "ALREADY_EXISTS": _CONFLICT,
        "PERMISSION_DENIED": _LOGIN,
        "UNAUTHENTICATED": _LOGIN,
        "RESOURCE_EXHAUSTED": _BUSY,
        "FAILED_PRECONDITION": _BUG,
        "ABORTED": _CONFLICT,
        "OUT_OF_RANGE": _BUG,
        "UNIMPLEMENTED": _VERSION,
        "INTERNAL": _TROUBLE,
        "UNAVAILABLE": _AWAY,
        "DATA_LOSS": _DAMAGED,
    }
)

#: By HTTP status, or by its first digit.
HTTP: Final = MappingProxyType(
    {
        "400": _SHAPE,
        "401": _LOGIN,
        "403": _LOGIN,
        "404": _MIGRATE,
        "408": _SLOW,
        "409": _CONFLICT,
        "422": _SHAPE,
        "425": _AWAY,
        "429": _BUSY,
        "501": _VERSION,
        "502": _AWAY,
        "503": _AWAY,
        "504": _AWAY,
        "507": _BUSY,
        "1": _VERSION,
        "2": _VERSION,
        "3": _ADDRESS,
        "4": _BUG,
        "5": _TROUBLE,
    }
)

#: What is below an answer that could not be had over HTTP, most specific first.
TRANSPORT: Final[tuple[tuple[type[BaseException], Rule], ...]] = (
    (httpx.TimeoutException, _SLOW),
    (httpx.UnsupportedProtocol, _ADDRESS),
    (httpx.ProxyError, _ADDRESS),
    (httpx.DecodingError, _VERSION),
    (httpx.TooManyRedirects, _ADDRESS),
    (httpx.TransportError, _AWAY),
    (httpx.HTTPStatusError, _TROUBLE),
    (httpx.HTTPError, _BUG),
    (httpx.InvalidURL, _ADDRESS),
    (pydantic.ValidationError, _VERSION),
    (OSError, _AWAY),
)

#: Of qdrant-client itself, most specific first; those with a rule of their own come before the table.
CLIENT: Final[tuple[tuple[type[BaseException], Rule], ...]] = (
    (ResourceExhaustedResponse, _BUSY),
    (UnexpectedResponse, _TROUBLE),
    (ResponseHandlingException, _AWAY),
    (QdrantException, _BUG),
    (ApiException, _BUG),
)

#: Of the client's local mode, which keeps points in SQLite: by SQLite's name of the primary error code, https://www.sqlite.org/rescode.html
SQLITE: Final = MappingProxyType(
    {
        name: rule
        for rule, names in (
            (_CONFLICT, "BUSY LOCKED INTERRUPT PROTOCOL SCHEMA"),
            (_DISK, "FULL IOERR NOMEM"),
            (_PATH, "CANTOPEN READONLY PERM AUTH NOLFS"),
            (_DAMAGED, "CORRUPT NOTADB FORMAT"),
            (_BUG, "ERROR INTERNAL ABORT NOTFOUND EMPTY TOOBIG CONSTRAINT MISMATCH MISUSE RANGE NOTICE WARNING"),
        )
        for name in names.split()
    }
)

#: Words in the texts of the engine in process, which has no classes of errors.
ENGINE: Final[tuple[tuple[str, Rule], ...]] = (
    ("WouldBlock", _HELD),
    ("does not exist", _MIGRATE),
    ("Vector dimension error", _SHAPE),
    ("incompatible", _SHAPE),
)
_OS_CODE: Final = re.compile(r"\bOs \{ code: (\d+)|\(os error (\d+)\)")


def client_failure(error: Exception, where: str) -> SinkError:
    """Gives our error for one that qdrant-client let out, of a server or of its local mode.

    Args:
        error: As it was raised; its text goes nowhere.
        where: Begins the message, e.g. ``qdrant lane 3``.
    """
    if isinstance(error, grpc.RpcError):
        name = error.code().name if isinstance(error, grpc.Call) else "UNKNOWN"
        return made(f"{where}: Qdrant said {name}", GRPC.get(name, _BUG))
    if isinstance(error, ResourceExhaustedResponse):
        return made(f"{where}: Qdrant said RESOURCE_EXHAUSTED", Rule(_BUSY.advice, min(1_000 * max(1, error.retry_after_s), _RETRY_AFTER_MS_MAX)))
    if isinstance(error, UnexpectedResponse):
        status = str(error.status_code)
        return made(f"{where}: Qdrant said {status}", HTTP.get(status) or HTTP.get(status[:1], _BUG))
    if isinstance(error, ResponseHandlingException):
        kind = type(error.source)
        rule = next((rule for known, rule in TRANSPORT if issubclass(kind, known)), _BUG)
        return made(f"{where}: no answer from Qdrant ({kind.__name__})", rule)
    if isinstance(error, sqlite3.Error):
        name = getattr(error, "sqlite_errorname", None) or "SQLITE_ERROR"
        return made(f"{where}: SQLite said {name}", SQLITE.get(name.split("_")[1], _BUG))
    if isinstance(error, OSError):
        return file_failure(error, where)
    if isinstance(error, RuntimeError) and "already accessed" in str(error):
        return made(f"{where}: Qdrant's local mode said {type(error).__name__}", _HELD)
    if isinstance(error, ValueError) and "not found" in str(error):
        return made(f"{where}: Qdrant's local mode said {type(error).__name__}", _MIGRATE)
    kind = type(error)
    return made(f"{where}: qdrant-client said {kind.__name__}", next((rule for known, rule in CLIENT if issubclass(kind, known)), _BUG))


def engine_failure(error: Exception, where: str) -> SinkError:
    """Gives our error for one of the engine in process.

    Args:
        error: As it was raised; its text goes nowhere.
        where: Begins the message.
    """
    text = str(error)
    number = _OS_CODE.search(text)
    if number is not None:
        return file_failure(OSError(int(number[1] or number[2]), ""), where)
    rule = next((rule for words, rule in ENGINE if words in text), _BUG)
    return made(f"{where}: Qdrant's engine said {type(error).__name__}", rule)
