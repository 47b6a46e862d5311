"""Every error of gRPC, httpx, sqlite3 and qdrant-client has a rule, and no message repeats a foreign text."""

from __future__ import annotations

import inspect
import sqlite3
from collections.abc import Iterator

import grpc
import httpx
import pytest
import qdrant_edge
from qdrant_client.common import client_exceptions
from qdrant_client.http import exceptions as http_exceptions

from schemas.errors import FatalError, RetryableError
from sinks.vector_errors import CLIENT, GRPC, HTTP, SQLITE, TRANSPORT, client_failure, engine_failure

SECRET = "alice@example.org"
WHERE = "qdrant lane 0"


def descendants(kind: type) -> Iterator[type]:
    yield kind
    for child in kind.__subclasses__():
        yield from descendants(child)


def in_module(module: object) -> set[type]:
    return {kind for _, kind in inspect.getmembers(module, inspect.isclass) if issubclass(kind, Exception) and kind.__module__ == module.__name__}  # type: ignore[attr-defined]


class Call(grpc.RpcError, grpc.Call):  # type: ignore[misc]  # grpc has no types
    """What a stub raises."""

    def __init__(self, code: grpc.StatusCode) -> None:
        super().__init__(SECRET)
        self._code = code

    def code(self) -> grpc.StatusCode:
        return self._code


for _name in Call.__abstractmethods__:
    setattr(Call, _name, None)
Call.__abstractmethods__ = frozenset()


def test_every_status_of_grpc_has_a_rule() -> None:
    assert set(GRPC) == {code.name for code in grpc.StatusCode}


def test_every_class_of_qdrant_client_has_a_rule() -> None:
    assert in_module(client_exceptions) | in_module(http_exceptions) == {kind for kind, _ in CLIENT}


def test_every_class_of_httpx_has_a_rule_below_its_root() -> None:
    known = tuple(kind for kind, _ in TRANSPORT if kind is not httpx.HTTPError)
    ours = {kind for kind in descendants(httpx.HTTPError) if kind.__module__.startswith("httpx") and kind is not httpx.HTTPError}
    assert {kind for kind in ours if not issubclass(kind, known)} == {httpx.RequestError}


def test_every_primary_code_of_sqlite_has_a_rule() -> None:
    named = {name.removeprefix("SQLITE_"): value for name, value in vars(sqlite3).items() if name.startswith("SQLITE_")}
    of_extended = {name.split("_")[0] for name, value in named.items() if value > 255} - {"OK"}
    # Constants of the authorizer share the numbers; a new word is looked at by a person.
    actions = {*["DELETE", "INSERT", "PRAGMA", "READ", "SELECT", "TRANSACTION", "UPDATE", "ATTACH", "DETACH", "REINDEX", "ANALYZE", "DENY", "IGNORE"]}
    single = {name for name, value in named.items() if "_" not in name and 0 < value < 29} - actions
    assert of_extended | single == set(SQLITE)


@pytest.mark.parametrize("table", [TRANSPORT, CLIENT], ids=["transport", "client"])
def test_no_rule_hides_a_more_specific_one(table: tuple[tuple[type, object], ...]) -> None:
    kinds = [kind for kind, _ in table]
    for place, kind in enumerate(kinds):
        assert not any(issubclass(later, kind) for later in kinds[place + 1 :])


def test_the_engine_in_process_still_has_no_classes_of_errors() -> None:
    assert [name for name, kind in inspect.getmembers(qdrant_edge, inspect.isclass) if issubclass(kind, BaseException)] == []


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Call(grpc.StatusCode.UNAVAILABLE), RetryableError),
        (Call(grpc.StatusCode.DEADLINE_EXCEEDED), RetryableError),
        (Call(grpc.StatusCode.UNAUTHENTICATED), FatalError),
        (Call(grpc.StatusCode.NOT_FOUND), FatalError),
        (grpc.RpcError(SECRET), RetryableError),
        (http_exceptions.UnexpectedResponse(401, SECRET, SECRET.encode(), httpx.Headers()), FatalError),
        (http_exceptions.UnexpectedResponse(503, SECRET, SECRET.encode(), httpx.Headers()), RetryableError),
        (http_exceptions.UnexpectedResponse(418, SECRET, SECRET.encode(), httpx.Headers()), FatalError),
        (http_exceptions.ResponseHandlingException(httpx.ReadTimeout(SECRET)), RetryableError),
        (http_exceptions.ResponseHandlingException(httpx.UnsupportedProtocol(SECRET)), FatalError),
        (http_exceptions.ResponseHandlingException(ConnectionRefusedError(SECRET)), RetryableError),
        (http_exceptions.ResponseHandlingException(KeyError(SECRET)), FatalError),
        (RuntimeError(f"Storage folder {SECRET} is already accessed by another instance"), RetryableError),
        (ValueError(f"Collection {SECRET} not found"), FatalError),
        (ValueError(SECRET), FatalError),
        (OSError(28, SECRET), RetryableError),
        (client_exceptions.QdrantException(SECRET), FatalError),
    ],
    ids=repr,
)
def test_an_error_of_the_client_decides_whether_to_retry_and_its_text_goes_nowhere(error: Exception, kind: type[Exception]) -> None:
    failure = client_failure(error, WHERE)
    assert type(failure) is kind
    assert str(failure).startswith(WHERE)
    assert SECRET not in str(failure)


def test_a_server_that_says_when_to_come_back_is_believed_up_to_a_minute() -> None:
    for asked_s, waits_ms in ((0, 1_000), (7, 7_000), (86_400, 60_000)):
        failure = client_failure(client_exceptions.ResourceExhaustedResponse(SECRET, asked_s), WHERE)
        assert isinstance(failure, RetryableError)
        assert failure.retry_after_ms == waits_ms


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Service runtime error: failed to open WAL a/wal: Can't init WAL: Kind(WouldBlock)", RetryableError),
        ("Service runtime error: cannot load edge shard: directory a does not exist", FatalError),
        ("Vector dimension error: expected dim: 4, got 3", FatalError),
        ("Service runtime error: config is incompatible with existing segments", FatalError),
        ('Service runtime error: Can\'t write WAL: Os { code: 28, kind: StorageFull, message: "No space left on device" }', RetryableError),
        ("Service runtime error: Permission denied (os error 13)", FatalError),
        (SECRET, FatalError),
    ],
)
def test_the_engines_texts_are_known_by_a_number_or_a_few_words(text: str, kind: type[Exception]) -> None:
    failure = engine_failure(Exception(f"{text} {SECRET}"), WHERE)
    assert type(failure) is kind
    assert SECRET not in str(failure)


def test_every_class_of_http_status_has_a_rule() -> None:
    assert {status for status in HTTP if len(status) == 1} == set("12345")
