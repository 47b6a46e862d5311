"""Log lines: known keys and short plain values only; everything else is refused and counted."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest
import structlog

from streams.log import configure_logging, log

SECRET = "mia.li@example.com"


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    configure_logging(stream)
    yield stream
    structlog.reset_defaults()


def last(stream: io.StringIO) -> dict[str, object]:
    entry = json.loads(stream.getvalue().splitlines()[-1])
    assert isinstance(entry, dict)
    return entry


def test_known_keys_pass(lines: io.StringIO) -> None:
    log().info("run.started", pipeline="demo", lanes=2, seconds=0.5)
    entry = last(lines)
    assert (entry["event"], entry["level"], entry["pipeline"], entry["lanes"], entry["seconds"]) == ("run.started", "info", "demo", 2, 0.5)
    assert str(entry["at"]).endswith("Z")


def test_unknown_keys_are_dropped_and_counted(lines: io.StringIO) -> None:
    log().warning("run.started", user=SECRET, text=SECRET, lanes=1)
    assert SECRET not in lines.getvalue()
    assert last(lines)["refused"] == 2


@pytest.mark.parametrize("value", [[SECRET], {"a": SECRET}, SECRET.encode(), (SECRET,)])
def test_values_that_are_not_plain_are_dropped(lines: io.StringIO, value: object) -> None:
    log().info("run.started", path=value)
    assert SECRET not in lines.getvalue()
    assert last(lines)["refused"] == 1


def test_a_message_that_is_no_event_name_is_refused(lines: io.StringIO) -> None:
    log().info(f"could not mask {SECRET}")
    assert last(lines)["event"] == "refused"
    assert SECRET not in lines.getvalue()


def test_an_exception_is_logged_by_its_class_only(lines: io.StringIO) -> None:
    try:
        raise ValueError(SECRET)
    except ValueError as error:
        log().exception("run.failed")
        assert last(lines)["error"] == "ValueError"
        log().error("run.failed", exc_info=error)
    assert last(lines)["error"] == "ValueError"
    assert SECRET not in lines.getvalue()


def test_a_long_text_is_replaced_by_its_length(lines: io.StringIO) -> None:
    log().info("run.failed", problem="x" * 401)
    assert last(lines)["problem"] == "[401 characters]"
