"""The pages by which a run is watched and stopped.

``/live`` answers as long as the process does. ``/ready`` is 200 when the source is assigned, every sink is reachable, and neither lag nor a
stall is out of bounds; otherwise 503, and the body says which part is not and why. ``/metrics`` is Prometheus text, ``/config`` the
configuration with its secrets masked. A POST to ``/stop`` asks for an orderly stop.

The first two answer everybody with a status, for probes send no token; what they say beside it, and the other pages, need a role (``PAGES``).
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final

from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from schemas.errors import ConfigError
from streams.access import Access
from streams.config import Config, HttpConfig, HttpTlsConfig, Role
from streams.telemetry import Telemetry

_JSON: Final = "application/json"
#: How long a client may take to agree on TLS, in seconds.
_HANDSHAKE_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Page:
    """One page.

    Attributes:
        method: GET or POST.
        role: The least role that may have it; None for everybody.
    """

    method: str
    role: Role | None


#: Every page; what is not here is not found.
PAGES: Final[Mapping[str, Page]] = {
    "/live": Page("GET", None),
    "/ready": Page("GET", None),  # what is not ready, and why: for viewers
    "/metrics": Page("GET", Role.VIEWER),
    "/config": Page("GET", Role.OPERATOR),
    "/stop": Page("POST", Role.ADMIN),
}


def readiness_problems(telemetry: Telemetry, http: HttpConfig) -> Mapping[str, str]:
    """Gives what speaks against being ready, by part: source, sinks, lag, stall. Empty means ready."""
    problems: dict[str, str] = {}
    if not telemetry.source_assigned:
        problems["source"] = "has no partitions assigned yet"
    for sink in sorted(telemetry.sinks_away()):
        problems[f"sink {sink}"] = "does not answer; writes are tried again"
    lags = telemetry.snapshot().values["consumer_lag_records"]
    worst = max(lags, key=lambda at: lags[at], default=None)
    if worst is not None and lags[worst] > http.lag_records_max:
        problems["lag"] = f"{worst[0]} partition {worst[1]} lags {lags[worst]:.0f} records, more than {http.lag_records_max}"
    stalled_s = telemetry.stalled_s()
    if stalled_s * 1_000 > http.stall_ms_max:
        problems["stall"] = f"rows are in flight and no sink acknowledged any for {stalled_s:.1f} s, more than {http.stall_ms_max / 1_000:.1f}"
    return problems


class HealthServer:
    """Serves the pages from a thread of its own; a context manager that stops it.

    Args:
        http: Where, for whom and over what.
        telemetry: What ``/ready`` and ``/metrics`` show.
        config: What ``/config`` shows; None shows nothing.
        stop: Called by ``/stop``.

    Attributes:
        port: The port it listens on, also where the configuration asked for a free one.

    Raises:
        ConfigError: The port is taken, or a file of ``http.tls`` or ``http.access`` is unfit.
    """

    def __init__(self, http: HttpConfig, telemetry: Telemetry, config: Config | None = None, stop: Callable[[], None] = lambda: None) -> None:
        pages = _Pages(http, telemetry, config, stop)
        secured = None if http.tls is None else _secured(http.tls)
        try:
            self._server = _Server((http.host, http.port), _handler(pages), secured)
        except OSError as error:
            raise ConfigError(f"http.port: cannot listen on {http.host}:{http.port} ({error.strerror}); choose another or 0") from None
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="health", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops listening and waits for the thread; may be called twice."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()

    def __enter__(self) -> HealthServer:
        return self

    def __exit__(self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    """A server whose connections are secured in the thread that serves them, so that a slow handshake holds nobody else."""

    daemon_threads = True

    def __init__(self, at: tuple[str, int], handler: type[BaseHTTPRequestHandler], secured: ssl.SSLContext | None) -> None:
        self._secured = secured
        super().__init__(at, handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serves one connection; one that does not speak TLS where it must is dropped without a word."""
        if self._secured is None:
            super().finish_request(request, client_address)
            return
        request.settimeout(_HANDSHAKE_S)
        try:
            secured = self._secured.wrap_socket(request, server_side=True)
        except OSError:
            return
        with secured:
            super().finish_request(secured, client_address)


def _secured(tls: HttpTlsConfig) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(tls.chain, tls.key)
    except OSError as error:
        raise ConfigError(
            f"http.tls: {tls.chain} and {tls.key} cannot be used ({error.strerror}); a certificate and its key in PEM are required"
        ) from None
    return context


@dataclass(frozen=True, slots=True)
class _Answer:
    status: HTTPStatus
    body: bytes
    content_type: str = _JSON


class _Pages:
    """What each page answers, apart from the protocol."""

    def __init__(self, http: HttpConfig, telemetry: Telemetry, config: Config | None, stop: Callable[[], None]) -> None:
        self._http, self._telemetry, self._config, self._stop = http, telemetry, config, stop
        self._access = Access(http.access)

    def answer(self, method: str, path: str, authorization: str | None) -> _Answer:
        page = PAGES.get(path)
        if page is None:
            return _json(HTTPStatus.NOT_FOUND, {"pages": list(PAGES)})
        if method != page.method:
            return _json(HTTPStatus.METHOD_NOT_ALLOWED, {"error": f"{path} takes {page.method}"})
        role = self._access.role_of(authorization)
        if page.role is not None and role is None:
            return _json(HTTPStatus.UNAUTHORIZED, {"error": "a bearer token is required"})
        if page.role is not None and role is not None and role.rank < page.role.rank:
            return _json(HTTPStatus.FORBIDDEN, {"error": f"the role {page.role.value} is required, the token has {role.value}"})
        return self._content(path, role is not None)

    def _content(self, path: str, is_known: bool) -> _Answer:
        if path == "/live":
            return _json(HTTPStatus.OK, {"live": True})
        if path == "/ready":
            problems = readiness_problems(self._telemetry, self._http)
            said = {"ready": not problems, **({"problems": problems} if is_known else {})}
            return _json(HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK, said)
        if path == "/metrics":
            return _Answer(HTTPStatus.OK, generate_latest(self._telemetry.registry), CONTENT_TYPE_LATEST)
        if path == "/config":
            return _json(HTTPStatus.OK, {} if self._config is None else self._config.model_dump(mode="json"))
        self._stop()
        return _json(HTTPStatus.ACCEPTED, {"stopping": True})


def _json(status: HTTPStatus, said: Mapping[str, Any]) -> _Answer:
    return _Answer(status, json.dumps(said).encode() + b"\n")


def _handler(pages: _Pages) -> type[BaseHTTPRequestHandler]:
    """Gives a request handler over these pages."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 10  # seconds: a client that says nothing does not hold a thread

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            found = pages.answer(self.command, self.path.partition("?")[0], self.headers.get("Authorization"))
            self.send_response(found.status)
            self.send_header("Content-Type", found.content_type)
            self.send_header("Content-Length", str(len(found.body)))
            if found.status == HTTPStatus.UNAUTHORIZED:
                self.send_header("WWW-Authenticate", "Bearer")
            self.end_headers()
            self.wfile.write(found.body)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing: a probe every second is no news."""

    return Handler
