"""What librdkafka says goes through the one log, each kind of trouble once in a while."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from confluent_kafka import Consumer

from streams.client_log import ClientLog, with_log
from streams.log import configure_logging
from tests.fixtures.probes import eventually


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    configure_logging(stream)
    yield stream
    structlog.reset_defaults()


def told(lines: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in lines.getvalue().splitlines()]


def test_one_kind_of_trouble_is_told_once_in_a_while(lines: io.StringIO) -> None:
    now = [100.0]
    logger = logging.Logger("test", logging.WARNING)
    logger.addHandler(ClientLog(lambda: now[0]))
    for second, level, kind in ((0, 40, "FAIL"), (1, 40, "FAIL"), (2, 30, "GETPID"), (29.9, 40, "FAIL"), (30.1, 40, "FAIL"), (90, 20, "INIT")):
        now[0] = 100 + second
        logger.log(level, "%s [%s] %s", kind, "rdkafka#producer-1", f"at {second}")
    assert [(line["event"], line["level"], line["code"], line["problem"]) for line in told(lines)] == [
        ("kafka.client", "error", "FAIL", "FAIL [rdkafka#producer-1] at 0"),
        ("kafka.client", "warning", "GETPID", "GETPID [rdkafka#producer-1] at 2"),
        ("kafka.client", "error", "FAIL", "FAIL [rdkafka#producer-1] at 30.1"),
    ]


def test_a_real_client_says_nothing_past_the_log(lines: io.StringIO, capfd: pytest.CaptureFixture[str]) -> None:
    consumer = Consumer(with_log({"bootstrap.servers": "127.0.0.1:1", "group.id": "test"}))
    eventually(lambda: consumer.consume(1, timeout=0.05) == [] and told(lines) != [], "a line")
    consumer.consume(1, timeout=0.5)
    consumer.close()
    said = told(lines)
    assert [(line["event"], line["code"]) for line in said] == [("kafka.client", "FAIL")]
    assert "127.0.0.1:1" in str(said[0]["problem"])
    assert capfd.readouterr().err == ""


def test_debug_lines_that_were_asked_for_go_through_the_log_too(lines: io.StringIO, capfd: pytest.CaptureFixture[str]) -> None:
    consumer = Consumer(with_log({"bootstrap.servers": "127.0.0.1:1", "group.id": "test", "debug": "broker"}))
    eventually(lambda: consumer.consume(1, timeout=0.05) == [] and len(told(lines)) > 3, "debug lines")
    consumer.close()
    assert "debug" in {line["level"] for line in told(lines)}
    assert capfd.readouterr().err == ""
