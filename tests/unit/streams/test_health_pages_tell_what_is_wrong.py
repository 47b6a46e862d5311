"""The health pages: live, ready with reasons, metrics; and they stop."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from schemas.errors import ConfigError
from streams.config import HttpConfig
from streams.health import HealthServer, readiness_problems
from streams.telemetry import Telemetry

HTTP = HttpConfig(port=0, lag_records_max=10, stall_ms_max=100)


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture
def server(telemetry: Telemetry) -> Iterator[HealthServer]:
    with HealthServer(HTTP, telemetry) as server:
        yield server


def get(server: HealthServer, page: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{page}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()


def test_live_answers_before_anything_is_ready(server: HealthServer) -> None:
    assert get(server, "/live")[0] == 200
    status, body = get(server, "/ready")
    assert status == 503
    assert json.loads(body) == {"ready": False, "problems": {"source": "has no partitions assigned yet"}}


def test_ready_once_the_source_reads(server: HealthServer, telemetry: Telemetry) -> None:
    telemetry.lag("agent_events", 0, 10)
    assert get(server, "/ready")[0] == 200


def test_lag_beyond_the_bound_is_named(telemetry: Telemetry) -> None:
    telemetry.lag("agent_events", 0, 3)
    telemetry.lag("tool_executions", 1, 11)
    assert readiness_problems(telemetry, HTTP) == {"lag": "tool_executions partition 1 lags 11 records, more than 10"}


def test_a_sink_that_is_away_is_named_until_it_answers(telemetry: Telemetry) -> None:
    telemetry.lag("agent_events", 0, 0)
    telemetry.sink_retried("timescale")
    assert list(readiness_problems(telemetry, HTTP)) == ["sink timescale"]
    telemetry.sink_acknowledged("kafka", 0.1)
    assert list(readiness_problems(telemetry, HTTP)) == ["sink timescale"]
    telemetry.sink_acknowledged("timescale", 0.1)
    assert readiness_problems(telemetry, HTTP) == {}


def test_a_stall_is_rows_in_flight_that_nobody_acknowledges() -> None:
    clock = [1_000.0]
    telemetry = Telemetry(clock=lambda: clock[0])
    telemetry.lag("agent_events", 0, 0)
    clock[0] += 60
    telemetry.rows_in_flight(5)  # idle until now: no stall yet
    assert readiness_problems(telemetry, HTTP) == {}
    clock[0] += 0.2
    assert list(readiness_problems(telemetry, HTTP)) == ["stall"]
    telemetry.sink_acknowledged("kafka", 0.1)
    assert readiness_problems(telemetry, HTTP) == {}
    clock[0] += 0.2
    telemetry.rows_in_flight(0)
    assert readiness_problems(telemetry, HTTP) == {}


def test_metrics_are_prometheus_text(server: HealthServer, telemetry: Telemetry) -> None:
    telemetry.outcome("agent_events", "polled", 7)
    status, body = get(server, "/metrics")
    assert status == 200
    assert 'headrace_events_total{outcome="polled",topic="agent_events"} 7.0' in body


def test_an_unknown_page_is_not_found(server: HealthServer) -> None:
    assert get(server, "/secrets")[0] == 404


def test_it_listens_on_loopback_and_stops(telemetry: Telemetry) -> None:
    server = HealthServer(HTTP, telemetry)
    server.close()
    server.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=1)


def test_a_port_that_is_taken_is_a_configuration_problem(server: HealthServer, telemetry: Telemetry) -> None:
    with pytest.raises(ConfigError, match=r"http\.port"):
        HealthServer(HttpConfig(port=server.port), telemetry)
