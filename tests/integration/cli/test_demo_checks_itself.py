"""The demo: all numbers equal what was sent, Ctrl-C ends it in order, and a number that differs is told."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from streams.demo.results import ReadBack, checks
from streams.fleet import Book, FleetRecord
from streams.fleet.record import CONFLICT, DUPLICATE, LATE, PASSED
from streams.telemetry import Telemetry

ROOT = Path(__file__).parents[3]
START_DEADLINE_S = 240.0


def started(*arguments: str) -> subprocess.Popen[str]:
    outside = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    return subprocess.Popen(
        [sys.executable, "-m", "streams.cli.main", "demo", *arguments],
        cwd=ROOT,
        env=outside,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_demo_on_a_real_broker_ends_with_all_numbers_right() -> None:
    demo = started("--kafka", "real", "--models", "off", "--seconds", "6", "--rate", "200")
    out, err = demo.communicate(timeout=START_DEADLINE_S)
    assert demo.returncode == 0, out + err
    for claim in ("records read = records sent", "events in windows", "enriched events in Kafka, read committed", "unmasked address"):
        (line,) = [line for line in out.splitlines() if claim in line]
        assert line.endswith("ok"), line


@pytest.mark.slow
def test_ctrl_c_ends_the_demo_in_order_with_its_summary() -> None:
    demo = started("--kafka", "mock", "--models", "off", "--rate", "100")
    assert demo.stdout is not None
    said = ""
    until = time.monotonic() + START_DEADLINE_S
    while "running" not in said:
        assert time.monotonic() < until, said
        if select.select([demo.stdout], [], [], 1.0)[0]:
            line = demo.stdout.readline()
            assert line, f"the demo ended early: {said}"
            said += line
    demo.send_signal(signal.SIGINT)
    out, err = demo.communicate(timeout=START_DEADLINE_S)
    assert demo.returncode == 0, said + out + err
    assert "records read = records sent" in out
    assert "Traceback" not in err


def test_every_check_holds_for_a_right_run_and_a_lost_record_breaks_several() -> None:
    book = Book(window_ms=10_000)
    for fate in (PASSED, PASSED, LATE, DUPLICATE, CONFLICT):
        book.add(FleetRecord("agent_events", b"a", b'{"to":"x@example.org"}', 0, 5_000, fate))

    def failing(passed: int, windows: dict[int, int], enriched: ReadBack) -> set[str]:
        telemetry = Telemetry()
        for outcome, rows in (("polled", 5), ("passed", passed), ("filtered", 1), ("dead", 1)):
            telemetry.outcome("agent_events", outcome, rows)
        telemetry.outcome_facts({("late_events", "agent"): 1, ("verdicts", "allow"): 3, ("masked_entities", "EMAIL_ADDRESS"): 3})
        telemetry._count("filtered_total", 1, code="duplicate")
        telemetry._count("dead_letters_total", 1, code="id_conflict")
        return {check.claim for check in checks(book, telemetry.snapshot(), windows, enriched, 1) if not check.holds}

    assert failing(3, {0: 2}, ReadBack(3, 3, 0)) == set()
    assert failing(2, {0: 2}, ReadBack(2, 2, 0)) == {
        "sent = enriched + dead + duplicates",
        "enriched events",
        "enriched events in Kafka, read committed",
        "different ids among them",
    }
    assert failing(3, {0: 3}, ReadBack(3, 3, 0)) == {"events in windows", "windows whose count differs"}
    assert failing(3, {0: 2}, ReadBack(4, 3, 1)) == {"enriched events in Kafka, read committed", "enriched events with an unmasked address"}


pytestmark = pytest.mark.integration
