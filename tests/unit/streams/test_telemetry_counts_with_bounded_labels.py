"""Telemetry: what the engine reports is counted once, and no label can carry what it should not."""

from __future__ import annotations

import threading

import polars as pl
import pytest
from prometheus_client import generate_latest

from operators.contract import dead_rows
from schemas.events import RAW
from streams.telemetry import CATALOGUE, FACTS, Telemetry


def test_dead_and_filtered_rows_are_counted_by_topic_and_code() -> None:
    rows = pl.DataFrame({name: [None] * 3 for name in RAW} | {"topic": ["agent_events", "agent_events", "tool_executions"]}, schema=RAW)
    telemetry = Telemetry()
    telemetry.dead(dead_rows(rows[:2], step="decode", disposition="dead", code="json_invalid", reason=""))
    telemetry.dead(dead_rows(rows[2:], step="deduplicate", disposition="filtered", code="duplicate", reason=""))
    totals = telemetry.snapshot()
    assert totals.each("dead_letters_total", "code") == {"json_invalid": 2}
    assert totals.each("filtered_total", "code") == {"duplicate": 1}
    assert totals.by("events_total", topic="agent_events", outcome="dead") == 2
    assert totals.by("events_total", topic="tool_executions", outcome="filtered") == 1


def test_facts_go_to_their_metric_and_unknown_facts_are_counted_by_name_only() -> None:
    telemetry = Telemetry()
    telemetry.outcome_facts({("masked_entities", "EMAIL_ADDRESS"): 3, ("verdicts", "deny"): 2, ("unheard_of", "mia.li@example.com"): 5})
    totals = telemetry.snapshot()
    assert totals.each("masked_entities_total", "entity") == {"EMAIL_ADDRESS": 3}
    assert totals.each("verdicts_total", "verdict") == {"deny": 2}
    assert totals.each("facts_total", "fact") == {"unheard_of": 5}
    assert b"mia.li" not in generate_latest(telemetry.registry)


@pytest.mark.parametrize(
    ("fact", "label"),
    [
        ("masked_entities", "mia.li@example.com"),
        ("rule_hits", "4111 1111 1111 1111"),
        ("rule_hits", "x" * 65),
        ("verdicts", "perhaps"),
        ("late_events", ""),
    ],
)
def test_a_label_value_that_is_no_name_becomes_other(fact: str, label: str) -> None:
    telemetry = Telemetry()
    telemetry.outcome_facts({(fact, label): 1})
    values = telemetry.snapshot().values[FACTS[fact]]
    assert values == {("other",): 1.0}


def test_a_set_of_label_values_stops_growing() -> None:
    telemetry = Telemetry()
    for number in range(500):
        telemetry.outcome_facts({("rule_hits", f"rule-{number}"): 1})
    hits = telemetry.snapshot().each("rule_hits_total", "rule")
    assert len(hits) == 257
    assert hits["other"] == 500 - 256


def test_an_unknown_topic_becomes_other() -> None:
    telemetry = Telemetry()
    telemetry.outcome("customers_of_acme", "polled", 1)
    assert telemetry.snapshot().each("events_total", "topic") == {"other": 1}


def test_every_metric_is_exposed_under_its_name() -> None:
    telemetry = Telemetry()
    telemetry.rows_in_flight(1)
    exposed = generate_latest(telemetry.registry).decode()
    for metric in CATALOGUE:
        assert f"# HELP headrace_{metric.name}" in exposed, metric.name


def test_threads_lose_no_count() -> None:
    telemetry = Telemetry()

    def count() -> None:
        for _ in range(500):
            telemetry.outcome("agent_events", "polled", 1)
            telemetry.stage_done("mask", 0.001, 2)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    totals = telemetry.snapshot()
    assert totals.by("events_total", outcome="polled") == 2_000
    assert totals.by("stage_rows_total", stage="mask") == 4_000
    assert totals.histograms["stage_seconds"][("mask",)][0] == 2_000


def test_a_stage_that_raises_is_not_counted() -> None:
    telemetry = Telemetry()
    with pytest.raises(ValueError, match="x"), telemetry.stage("mask", 1):
        raise ValueError("x")
    assert telemetry.snapshot().histograms["stage_seconds"] == {}


def test_two_registries_do_not_share_counts() -> None:
    one, other = Telemetry(), Telemetry()
    one.outcome("agent_events", "polled", 1)
    assert other.snapshot().by("events_total") == 0
