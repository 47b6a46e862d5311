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

    Attributes:
        port: The port it listens on, also where the configuration asked for a free one.
    """

    def __init__(self, http: HttpConfig, telemetry: Telemetry) -> None:
        handler = _handler(http, telemetry)
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


def _handler(http: HttpConfig, telemetry: Telemetry) -> type[BaseHTTPRequestHandler]:
    """Gives a request handler over these parts."""

    class Pages(BaseHTTPRequestHandler):
        timeout = 10  # seconds: a client that says nothing does not hold a thread

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/live":
                self._answer(HTTPStatus.OK, _JSON, b'{"live": true}\n')
            elif path == "/ready":
                problems = readiness_problems(telemetry, http)
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
