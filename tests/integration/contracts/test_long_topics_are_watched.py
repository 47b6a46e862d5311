"""`headrace contracts watch` on a long topic while a pipeline reads it too: every record is checked, in bounded memory."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Iterator
from itertools import islice

import pytest

from streams.fleet.record import PASSED, FleetRecord
from tests.fixtures.deployment import Deployment

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900)]

RECORDS = 120_000
BASE = 1_700_000_000_000
RSS_MAX_MIB = 900
BROKEN = (77, 60_001, 119_990)


def records() -> Iterator[FleetRecord]:
    """Twenty minutes, most of it in the first, so that windows are cut; one partition holds three of four records."""
    for number in range(RECORDS):
        at = BASE + (number if number < RECORDS // 2 else number * 10)
        value = {"event_id": f"e{number}", "event_type": "tool.executed", "timestamp": at, "agent_id": "a", "latency_ms": 3, "tool_name": "t"}
        value |= {"latency_ms": -5} if number in BROKEN else {}
        yield FleetRecord("tool_executions", b"a", json.dumps(value).encode(), at - BASE, at, PASSED, partition=0 if number % 4 else 1)


def test_every_record_of_a_long_topic_is_checked_in_bounded_memory_while_the_pipeline_runs(deployment: Deployment) -> None:
    made = records()
    while some := list(islice(made, 50_000)):
        deployment.publish(some)
    pipeline = deployment.start("run")
    try:
        begin = time.monotonic()
        watched = deployment.headrace("contracts", "watch", "--until-end", "--topic", "tool_executions", timeout_s=800)
        took_s = time.monotonic() - begin
        assert watched.returncode == 1, watched.stderr
        assert pipeline.poll() is None, "the pipeline goes on"
    finally:
        pipeline.kill()
        pipeline.communicate()
    rss_mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    stored = deployment.table("contract_results", ["about", "window_start", "records", "unexpected", "expectation", "field"])
    of_latency = [(start, rows, unexpected) for _, start, rows, unexpected, _, field in stored if field == "latency_ms"]
    by_expectation = {name: sum(rows for _, _, rows, _, one, _ in stored if one == name) for name in {row[4] for row in stored}}
    print(f"{RECORDS} records in {took_s:.0f} s, {RECORDS / took_s:.0f}/s; {rss_mib:.0f} MiB; {len(stored)} results; {by_expectation}")
    assert sum(unexpected for _, _, unexpected in of_latency) == len(BROKEN)
    readable = [rows for _, _, rows, _, _, field in stored if field == "record_is_readable"]
    assert sum(readable) == RECORDS, "no record twice, none left out, cut windows told apart"
    assert rss_mib < RSS_MAX_MIB
