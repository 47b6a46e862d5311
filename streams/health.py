"""The pages by which a run is watched: ``/live``, ``/ready`` and ``/metrics``.

``/live`` answers as long as the process does. ``/ready`` is 200 when the source is assigned, every sink is reachable, and neither lag nor a
stall is out of bounds; otherwise 503, and the body says which part is not and why. ``/metrics`` is Prometheus text.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Final

from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from schemas.errors import ConfigError
from streams.config import HttpConfig
from streams.telemetry import Telemetry

_JSON: Final = "application/json"


class Readiness:
    """Which parts of a run are ready; the engine tells, the page asks. Every method may be called from any thread."""

    def __init__(self, *parts: str) -> None:
        """Begins with every part not ready; parts are ``source`` and the names of the sinks."""
        self._lock = threading.Lock()
        self._problems: dict[str, str | None] = dict.fromkeys(parts, "has not started")

    def ready(self, part: str) -> None:
        """The part works."""
        with self._lock:
            self._problems[part] = None

    def not_ready(self, part: str, problem: str) -> None:
        """The part does not work; the problem says what is away, without any payload value."""
        with self._lock:
            self._problems[part] = problem

    def problems(self) -> Mapping[str, str]:
        """Gives the parts that are not ready, with what is wrong."""
        with self._lock:
            return {part: problem for part, problem in self._problems.items() if problem is not None}


def readiness_problems(readiness: Readiness, telemetry: Telemetry, http: HttpConfig) -> Mapping[str, str]:
    """Gives all that speaks against being ready: parts, lag, stall. Empty means ready."""
    problems = dict(readiness.problems())
    totals = telemetry.snapshot()
    lags = totals.values["consumer_lag_records"]
    worst = max(lags, key=lambda at: lags[at], default=None)
    if worst is not None and lags[worst] > http.lag_records_max:
        problems["lag"] = f"{worst[0]} partition {worst[1]} lags {lags[worst]:.0f} records, more than {http.lag_records_max}"
    waited_s = telemetry.seconds_since_acknowledged()
    in_flight = totals.by("rows_in_flight")
    if in_flight and waited_s is not None and waited_s * 1_000 > http.stall_ms_max:
        problems["stall"] = f"{in_flight} rows are in flight and no sink acknowledged one for {waited_s:.0f} s"
    return problems


class HealthServer:
    """Serves the pages from a thread of its own; a context manager that stops it.

    Attributes:
        port: The port it listens on, also where the configuration asked for a free one.
    """

    def __init__(self, http: HttpConfig, telemetry: Telemetry, readiness: Readiness) -> None:
        handler = _handler(http, telemetry, readiness)
        try:
            self._server = ThreadingHTTPServer((http.host, http.port), handler)
        except OSError as error:
            raise ConfigError(f"http.port: cannot listen on {http.host}:{http.port} ({error.strerror}); choose another or 0") from None
        self._server.daemon_threads = True
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


def _handler(http: HttpConfig, telemetry: Telemetry, readiness: Readiness) -> type[BaseHTTPRequestHandler]:
    """Gives a request handler over these parts."""

    class Pages(BaseHTTPRequestHandler):
        timeout = 10  # seconds: a client that says nothing does not hold a thread

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/live":
                self._answer(HTTPStatus.OK, _JSON, b'{"live": true}\n')
            elif path == "/ready":
                problems = readiness_problems(readiness, telemetry, http)
                body = json.dumps({"ready": not problems, "problems": problems}).encode() + b"\n"
                self._answer(HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK, _JSON, body)
            elif path == "/metrics":
                self._answer(HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(telemetry.registry))
            else:
                self._answer(HTTPStatus.NOT_FOUND, _JSON, b'{"pages": ["/live", "/ready", "/metrics"]}\n')

        def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing: a probe every second is no news."""

    return Pages
