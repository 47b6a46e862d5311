"""The HTTP registry against a real server on loopback: what it asks, and what becomes of every kind of refusal."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from schemas import avro
from schemas.codec.decode import DecodeSettings, RecordDecoder
from schemas.errors import ConfigError, HeadraceError, RetryableError, SchemaUnknown
from schemas.limits import Limits
from schemas.registry import ConfluentRegistry, subject_of
from tests.fixtures.records import EXAMPLES, KEY, as_avro, avro_bytes, raw_frame
from tests.fixtures.registry_server import SECRET, RegistryServer


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    running = RegistryServer()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join(10)


@pytest.mark.parametrize("url", ["mock://one", None])
def test_schemas_come_back_by_their_id(server: RegistryServer, url: str | None) -> None:
    registry = ConfluentRegistry(url or server.url)
    first = registry.id_of("agent_event")
    assert registry.id_of("agent_event") == first
    assert registry.id_of("alert") != first
    assert registry.schema(first) == avro.text("agent_event")
    latest = registry.latest(subject_of("agent_event"))
    assert (latest.id, latest.version, latest.text) == (first, 1, avro.text("agent_event"))
    with pytest.raises(SchemaUnknown, match="schema id 77"):
        registry.schema(77)
    with pytest.raises(SchemaUnknown, match="colours-value"):
        registry.latest("colours-value")


def test_the_decoder_asks_once_for_an_id(server: RegistryServer) -> None:
    registry = ConfluentRegistry(server.url)
    schema_id = registry.id_of("agent_event")
    value = avro_bytes(as_avro(EXAMPLES["agent_events"], "agent_events"), avro.text("agent_event"), schema_id)
    server.paths.clear()
    decoder = RecordDecoder(DecodeSettings(Limits(), KEY, ConfluentRegistry(server.url)))
    for _ in range(3):
        assert decoder(raw_frame([value, value])).events.height == 2
    assert server.paths == [f"/schemas/ids/{schema_id}"]


def test_credentials_are_sent(server: RegistryServer) -> None:
    ConfluentRegistry(server.url, basic_auth=f"user:{SECRET}").id_of("alert")
    assert server.authorization == "Basic " + base64.b64encode(f"user:{SECRET}".encode()).decode()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ((404, b'{"error_code": 40403, "message": "canary-password"}'), SchemaUnknown),
        ((401, b"canary-password"), ConfigError),
        ((403, b'{"error_code": 40301, "message": "canary-password"}'), ConfigError),
        ((409, b'{"error_code": 409, "message": "canary-password"}'), ConfigError),
        ((422, b'{"error_code": 42201, "message": "canary-password"}'), ConfigError),
        ((429, b"canary-password"), RetryableError),
        ((500, b'{"error_code": 50001, "message": "canary-password"}'), RetryableError),
        ((503, b"<html>canary-password</html>"), RetryableError),
        ((200, b"<html>canary-password</html>"), RetryableError),
        ((200, b"{}"), HeadraceError),
    ],
)
def test_every_refusal_becomes_an_error_of_ours_without_its_text(
    server: RegistryServer, answer: tuple[int, bytes], kind: type[HeadraceError]
) -> None:
    registry = ConfluentRegistry(server.url, basic_auth=f"user:{SECRET}")
    server.answer = answer
    for ask in (lambda: registry.schema(5), lambda: registry.register("a-value", '"string"'), lambda: registry.latest("a-value")):
        with pytest.raises(kind) as refused:
            ask()
        assert SECRET not in str(refused.value)
        assert refused.value.__cause__ is None


def test_a_registry_that_is_away_is_asked_again_later() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        registry = ConfluentRegistry(f"http://127.0.0.1:{free.getsockname()[1]}", timeout_ms=500)
        with pytest.raises(RetryableError, match="no answer") as away:
            registry.schema(1)
    assert away.value.retry_after_ms > 0


def test_a_registry_that_never_answers_is_left_at_the_deadline() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        registry = ConfluentRegistry(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_ms=100)
        with pytest.raises(RetryableError, match="ReadTimeout"):
            registry.schema(1)


@pytest.mark.parametrize(
    "body", [{"schema": "{}", "schemaType": "JSON"}, {"schema": '"string"', "references": [{"name": "a", "subject": "b", "version": 1}]}]
)
def test_schemas_of_other_kinds_are_not_taken_for_avro(server: RegistryServer, body: dict[str, Any]) -> None:
    server.schemas[1] = body
    with pytest.raises(SchemaUnknown, match="schema id 1"):
        ConfluentRegistry(server.url).schema(1)


def test_settings_that_the_client_refuses_are_not_quoted() -> None:
    with pytest.raises(ConfigError) as refused:
        ConfluentRegistry("http://127.0.0.1:1", basic_auth=SECRET)
    assert SECRET not in str(refused.value)
