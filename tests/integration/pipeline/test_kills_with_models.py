"""Killed with SIGKILL while models are up in one life and away in the next: what was said of a record once stays said."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from schemas.topics import OUTPUTS
from streams.embedded.kafka import KafkaBroker
from streams.embedded.postgres import PostgresServer
from streams.fleet.record import PASSED, FleetRecord
from tests.fixtures.deployment import ROOT, Deployment, make_deployment
from tests.fixtures.words import ATTACK, PEOPLE
from tests.integration.pipeline.test_kills import final_state

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]

#: Lives in the order of their deaths, each with the models that are away in it.
DEATHS = (
    ("after_facts:1", ""),
    ("after_commit:2", "guard"),
    ("after_facts:2", "pii_tagger"),
    ("inside_transaction:2", ""),
    ("during_recovery:1", "pii_tagger\nguard"),
    ("after_facts:4", "guard"),
    ("before_snapshot:2", "pii_tagger"),
    ("after_pack:3", "guard"),
    ("after_commit:1", "pii_tagger"),
)
RECORDS_PER_LIFE = 60
BASE = 1_700_000_000_000
SETTINGS: dict[str, Any] = {
    "source": {"batch_rows_max": 20, "source_lanes": 2, "linger_ms": 5, "idle_ms": 3_600_000},
    "pipeline": {"workers": 2, "lanes": 2},
}


def chunks() -> Iterator[list[FleetRecord]]:
    """Gives the records of each life: a text of its own in each, with a name that only the tagger knows, and now and then an attack."""
    for life in range(len(DEATHS) + 1):
        yield [_record(number) for number in range(life * RECORDS_PER_LIFE, (life + 1) * RECORDS_PER_LIFE)]


def _record(number: int) -> FleetRecord:
    agent, time = f"agent-{number % 7}", BASE + 200 * number
    text = f"note {number}: {PEOPLE[number % len(PEOPLE)]} wrote from Timbuktu{f', {ATTACK}' if number % 11 == 0 else ''}"
    value = {"event_id": f"e{number}", "timestamp": time, "agent_id": agent, "latency_ms": number % 50}
    if number % 2:
        value |= {"event_type": "tool.executed", "tool_name": "search", "result": text}
    else:
        value |= {"event_type": "agent.executed", "input_data": text}
    topic = "tool_executions" if number % 2 else "agent_events"
    return FleetRecord(topic, agent.encode(), json.dumps(value).encode(), 200 * number, time, PASSED)


def deployed(kafka: KafkaBroker, dsn: str, folder: Path, reactions: tuple[str, str], settings: dict[str, Any]) -> Deployment:
    """Gives a deployment whose models live in its process, under a policy that says what happens while they are away."""
    made = make_deployment(kafka, dsn, folder)
    text = (resources.files("governance") / "policies/default.yaml").read_text(encoding="utf-8")
    tagger, guard = reactions
    text = text.replace("when_down: pause", f"when_down: {tagger}\n    after_s: 0", 1)
    text = text.replace("when_down: rules_only\n    after_s: 10", f"when_down: {guard}\n    after_s: 0", 1)
    (folder / "policy.yaml").write_text(text)
    made.program = (str(ROOT / "tests/fixtures/worded_run.py"),)
    made.settings = {name: dict(section) for name, section in settings.items()}
    made.settings["pipeline"] = {**made.settings["pipeline"], "policy": str(folder / "policy.yaml")}
    return made


def ordered(deployment: Deployment, away: str) -> None:
    """Gives the models of the next run their orders."""
    (deployment.folder / "models_away").write_text(away)


def fates(state: dict[str, Any]) -> dict[tuple[str, int, int], tuple[int, Any]]:
    """Gives what became of each record, by coordinates: (number of outputs, marks)."""
    found: dict[tuple[str, int, int], tuple[int, Any]] = {}
    for topic, marks in (("enriched_events", "degraded"), ("dead_letters", "step")):
        for row in state[topic].values():
            place = row["topic"], row["partition"], row["offset"]
            found[place] = found.get(place, (0, None))[0] + 1, row[marks]
    return found


def away_in(state: dict[str, Any], numbers: dict[tuple[str, int, int], int]) -> str:
    """Gives orders under which the same models are away for the same records."""
    lines = []
    for event in state["enriched_events"].values():
        lines += [f"{model} {numbers[event['topic'], event['partition'], event['offset']]}" for model in event["degraded"] or ()]
    for letter in state["dead_letters"].values():
        number = numbers[letter["topic"], letter["partition"], letter["offset"]]
        lines.append(f"{'pii_tagger' if letter['step'] == 'tag' else 'guard'} {number}")
    return "\n".join(lines)


def numbered(deployment: Deployment, records: Sequence[FleetRecord]) -> dict[tuple[str, int, int], int]:
    """Gives the number of each record by its coordinates: records of one key lie in one partition, in order."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": deployment.bootstrap, "group.id": "numbers", "auto.offset.reset": "earliest"})
    consumer.assign([TopicPartition(deployment.prefix + topic, part, 0) for topic in ("agent_events", "tool_executions") for part in range(4)])
    found: dict[tuple[str, int, int], int] = {}
    while len(found) < len(records):
        for message in consumer.consume(1_000, timeout=1.0):
            assert message.error() is None
            value = message.value()
            topic, partition, offset = message.topic(), message.partition(), message.offset()
            assert value is not None
            assert topic is not None
            assert partition is not None
            assert offset is not None
            found[topic.removeprefix(deployment.prefix), partition, offset] = int(json.loads(value)["event_id"][1:])
    consumer.close()
    return found


@pytest.mark.parametrize(
    "reactions",
    [pytest.param(("reject", "reject"), id="reject"), pytest.param(("rules_only", "rules_only"), id="rules_only")],
)
def test_kills_and_outages_give_what_an_unkilled_run_gives_whose_models_are_away_for_the_same_records(
    reactions: tuple[str, str], kafka: KafkaBroker, postgres: PostgresServer, database: str, tmp_path: Path
) -> None:
    (tmp_path / "killed").mkdir()
    (tmp_path / "whole").mkdir()
    killed = deployed(kafka, database, tmp_path / "killed", reactions, SETTINGS)
    everything = [record for chunk in chunks() for record in chunk]
    to_come = chunks()
    for death, away in DEATHS:
        ordered(killed, away)
        killed.publish(next(to_come))
        died = killed.headrace("run", failpoint=death)
        assert died.returncode == -signal.SIGKILL, (death, died.stderr[-3000:])
    ordered(killed, "")
    killed.publish(next(to_come))
    done = killed.headrace("run", "--until-end")
    assert done.returncode == 0, done.stderr[-3000:]
    found = final_state(killed)

    numbers = numbered(killed, everything)
    told = fates(found)
    assert told.keys() == numbers.keys(), "every record has a fate"
    assert {count for count, _ in told.values()} == {1}, "and one alone"
    touched = {json.dumps(marks) for _, marks in told.values()}
    assert len(touched) >= 3, f"both models were away for some records: {touched}"
    for event in found["enriched_events"].values():
        text = "".join(json.loads(event[column]) for column in ("input", "output") if event[column] is not None)
        is_spoken = any(name in text for name in PEOPLE)
        assert is_spoken == ("pii_tagger" in (event["degraded"] or ())), "a name gets out where the event says that nobody looked, and nowhere else"

    whole = deployed(
        kafka,
        postgres.create_database(f"whole_{reactions[0]}"),
        tmp_path / "whole",
        reactions,
        {**SETTINGS, "source": {**SETTINGS["source"], "batch_rows_max": 1}},
    )
    ordered(whole, away_in(found, numbers))
    whole.publish(everything)
    done = whole.headrace("run", "--until-end")
    assert done.returncode == 0, done.stderr[-3000:]
    expected = final_state(whole)
    for topic in OUTPUTS:
        assert found[topic].keys() == expected[topic].keys(), topic
        assert found[topic] == expected[topic], topic
