"""The pipeline on real Kafka with a real Triton that is killed, slow or wrong under it, and comes back: nothing raw, nothing silent, nothing lost."""

from __future__ import annotations

import itertools
import json
import re
import signal
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from typing import Any

import pytest

from streams.embedded.ports import free_ports
from streams.embedded.triton import TritonServer
from streams.fleet.record import PASSED, FleetRecord
from tests.fixtures.deployment import ROOT, Deployment
from tests.fixtures.probes import eventually
from tests.integration.privacy.canaries import bytes_below

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

BASE = 1_700_000_000_000
#: The small tagger of the tests takes every capitalised word for a name; no pattern takes this one for anything.
CANARY = "Zebulon"
RECORDS = 40


def records(first: int = 0, orders: Sequence[str] = ()) -> list[FleetRecord]:
    """Gives events with a name in running text, except where an order to the model stands."""
    made = []
    for number in range(first, first + RECORDS):
        at = number - first
        text = orders[at] if at < len(orders) else f"a note of {CANARY} about number {number}"
        value = {
            "event_id": f"e{number}",
            "event_type": "agent.executed",
            "timestamp": BASE + number,
            "agent_id": f"a{number % 3}",
            "input_data": text,
        }
        made.append(FleetRecord("agent_events", b"a", json.dumps(value).encode(), number, BASE + number, PASSED))
    return made


@pytest.fixture
def asking(deployment: Deployment, own_triton: TritonServer) -> Callable[..., int]:
    """Sets the deployment to ask the server under a policy; gives the port of its pages."""

    def set_to(tagger: str, guard: str, deadline_ms: int = 2_000) -> int:
        text = (resources.files("governance") / "policies/default.yaml").read_text(encoding="utf-8")
        text = text.replace("when_down: pause", f"when_down: {tagger}", 1)
        text = text.replace("when_down: rules_only\n    after_s: 10", f"when_down: {guard}", 1)
        (deployment.folder / "policy.yaml").write_text(text)
        (port,) = free_ports(1)
        deployment.settings = {
            "pipeline": {"policy": str(deployment.folder / "policy.yaml")},
            "models": {"url": own_triton.endpoint.url, "deadline_ms": deadline_ms},
            "source": {"batch_rows_max": 10},
            "http": {"port": port},
        }
        return port

    return set_to


def metric(port: int, pattern: str) -> float:
    """Gives the sum of the samples whose line matches, 0 where the page does not answer yet."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
            text = page.read().decode()
    except OSError:
        return 0.0
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if re.match(pattern, line))


def seen(deployment: Deployment) -> list[dict[str, Any]]:
    return deployment.topic("enriched_events")


@contextmanager
def running(deployment: Deployment) -> Iterator[None]:
    """A run that is ended in order; it has written nothing of the canary to its log."""
    process = deployment.start("run")
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        out, log = process.communicate(timeout=60)
    assert CANARY not in out + log
    assert process.returncode == 0, log[-3000:]


def assert_masked(events: list[dict[str, Any]]) -> None:
    """No canary, every event scored by version 1."""
    assert CANARY not in str(events)
    assert {event["scored_by"] for event in events} == {"guard/1"}
    assert all(0 <= event["injection_ppm"] <= 1_000_000 for event in events)


def assert_nowhere(deployment: Deployment) -> None:
    """No canary in what the pipeline wrote."""
    for topic in ("enriched_events", "guardrail_decisions", "alerts", "dead_letters", "agent_metrics"):
        assert CANARY not in str(deployment.topic(topic)), topic
    assert [place for place, data in bytes_below(deployment.folder) if CANARY.encode() in data] == []


def test_pause_waits_while_triton_is_dead_and_goes_on_when_it_is_back(
    deployment: Deployment, own_triton: TritonServer, asking: Callable[..., int]
) -> None:
    port = asking("pause", "pause")
    deployment.publish(records())
    with running(deployment):
        eventually(lambda: len(seen(deployment)) == RECORDS, "the first records", 90)
        own_triton.kill()
        deployment.publish(records(RECORDS))
        eventually(lambda: metric(port, r'headrace_model_texts_total\{answer="(away|open)",model="pii_tagger"\}') > 10, "tries", 60)
        assert len(seen(deployment)) == RECORDS, "nothing goes on without the tagger"
        assert metric(port, "headrace_rows_in_flight ") <= 20, "two polls wait at most, Kafka keeps the rest"
        own_triton.restart()
        eventually(lambda: len(seen(deployment)) == 2 * RECORDS, "the rest", 90)
    events = seen(deployment)
    assert_masked(events)
    assert {str(event["degraded"]) for event in events} == {"None"}
    assert all("<PERSON>" in event["input"] for event in events)
    assert Counter(event["event_id"] for event in events) == {f"e{number}": 1 for number in range(2 * RECORDS)}
    assert deployment.topic("dead_letters") == []
    assert_nowhere(deployment)


@pytest.mark.slow
def test_a_run_that_waits_for_a_model_stops_within_its_grace_and_the_next_one_goes_on(
    deployment: Deployment, own_triton: TritonServer, asking: Callable[..., int]
) -> None:
    port = asking("pause", "pause")
    deployment.settings["pipeline"] = {**deployment.settings["pipeline"], "stop_grace_ms": 1_000}
    own_triton.kill()
    deployment.publish(records())
    process = deployment.start("run")
    eventually(lambda: metric(port, r'headrace_model_texts_total\{answer="(away|open)",model="pii_tagger"\}') > 10, "tries", 90)
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "stopped before" in log
    own_triton.restart()
    done = deployment.headrace("run", "--until-end")
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(seen(deployment)) == RECORDS
    assert_masked(seen(deployment))
    assert_nowhere(deployment)


def test_rules_only_marks_what_went_on_without_the_models_and_counts_it(
    deployment: Deployment, own_triton: TritonServer, asking: Callable[..., int]
) -> None:
    port = asking("rules_only", "rules_only")
    own_triton.kill()
    deployment.publish(records())
    with running(deployment):
        eventually(lambda: len(seen(deployment)) == RECORDS, "degraded records", 90)
        for model in ("pii_tagger", "guard"):
            assert metric(port, rf'headrace_degraded_events_total\{{model="{model}"\}}') == RECORDS
        own_triton.restart()
        rounds = itertools.count(1)

        def is_scored_again() -> bool:
            """What is published now may meet a breaker that is still open, so this publishes until an event was scored."""
            number = next(rounds)
            deployment.publish(records(number * RECORDS))
            eventually(lambda: len(seen(deployment)) == (number + 1) * RECORDS, f"round {number}", 90)
            return any(event["degraded"] is None for event in seen(deployment))

        eventually(is_scored_again, "records with models", 120)
    events = seen(deployment)
    without = [event for event in events if event["degraded"] is not None]
    assert len(without) >= RECORDS
    assert all(event["degraded"] == ["pii_tagger", "guard"] for event in without if int(event["event_id"][1:]) < RECORDS)
    assert {event["injection_ppm"] for event in without if "guard" in event["degraded"]} == {None}
    assert all(CANARY not in event["input"] or "pii_tagger" in event["degraded"] for event in events), "raw is never silent"
    assert_masked([event for event in events if event["degraded"] is None])


def test_reject_makes_a_dead_letter_of_each_record_and_lets_nothing_out(
    deployment: Deployment, own_triton: TritonServer, asking: Callable[..., int]
) -> None:
    asking("reject\n    after_s: 0", "reject\n    after_s: 0")
    own_triton.kill()
    deployment.publish(records())
    done = deployment.headrace("run", "--until-end")
    assert done.returncode == 0, done.stderr[-3000:]
    letters = deployment.topic("dead_letters")
    assert {(letter["topic"], letter["code"], letter["step"], letter["agent_id"]) for letter in letters} == {
        ("agent_events", "model_unavailable", "tag", None)
    }
    assert sorted(letter["offset"] for letter in letters) == list(range(RECORDS))
    assert seen(deployment) == []
    assert_nowhere(deployment)


#: What the small models of the tests do when a text begins with it.
WRONG = ("!fail", "!nan", "!shape", "!empty", "!range", "!offsets")


def test_a_text_that_a_model_answers_wrongly_is_rejected_alone(deployment: Deployment, own_triton: TritonServer, asking: Callable[..., int]) -> None:
    asking("reject\n    after_s: 0", "reject\n    after_s: 0")
    deployment.publish(records(orders=WRONG))
    done = deployment.headrace("run", "--until-end")
    assert done.returncode == 0, done.stderr[-3000:]
    letters = deployment.topic("dead_letters")
    assert {letter["code"] for letter in letters} == {"model_unavailable"}
    assert len(letters) == len(WRONG)
    events = seen(deployment)
    assert len(events) == RECORDS - len(WRONG)
    assert_masked(events)
    assert_nowhere(deployment)


def test_a_model_that_misses_its_deadline_is_away_for_what_it_did_not_answer(
    deployment: Deployment, own_triton: TritonServer, asking: Callable[..., int]
) -> None:
    asking("reject\n    after_s: 0", "reject\n    after_s: 0", deadline_ms=500)
    deployment.publish(records(orders=["!slow 1500"]))
    done = deployment.headrace("run", "--until-end")
    assert done.returncode == 0, done.stderr[-3000:]
    letters, events = deployment.topic("dead_letters"), seen(deployment)
    assert {letter["code"] for letter in letters} == {"model_unavailable"}
    assert len(letters) + len(events) == RECORDS
    assert letters
    assert_masked(events)
    assert_nowhere(deployment)


@pytest.mark.slow
def test_with_a_slow_model_rows_in_flight_stay_bounded_and_polls_shrink(deployment: Deployment) -> None:
    """Kafka keeps the backlog; the source follows the rate of the model."""
    (port,) = free_ports(1)
    deployment.program = (str(ROOT / "tests/fixtures/worded_run.py"),)
    deployment.settings = {
        "source": {"batch_rows_max": 200, "rows_in_flight_max": 250, "batch_target_ms": 200},
        "http": {"port": port},
    }
    (deployment.folder / "models_away").write_text("slow 4")
    made = [record for first in range(0, 1_200, RECORDS) for record in records(first)]
    deployment.publish(made)
    in_flight: list[float] = []

    def is_done() -> bool:
        in_flight.append(metric(port, "headrace_rows_in_flight "))
        return metric(port, 'headrace_events_total.*outcome="passed"') == len(made)

    with running(deployment):
        eventually(is_done, "all records through a slow model", 120)
        polls, rows = metric(port, "headrace_batch_rows_count "), metric(port, "headrace_batch_rows_sum ")
        slow_s = metric(port, 'headrace_stage_seconds_sum.*stage="(tag|score)"')
    assert 0 < max(in_flight) <= 250
    assert len(in_flight) > 20
    assert rows == len(made)
    assert rows / polls < 100, "polls shrank"
    assert slow_s > 1_200 * 0.008, "the model was the bottleneck"
    assert len(seen(deployment)) == len(made)
