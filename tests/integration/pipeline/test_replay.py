"""History on real Kafka is judged again: recorded scores are adopted, and nothing on the cluster changes."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.topics import INPUTS, OUTPUTS
from streams.embedded.kafka import KafkaBroker
from streams.fleet.fleet import Fleet
from tests.fixtures.deployment import PARTITIONS, ROOT, Deployment, make_deployment

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

PACKAGED = (ROOT / "governance" / "policies" / "default.yaml").read_text(encoding="utf-8")


def ends(deployment: Deployment) -> dict[tuple[str, int], int]:
    consumer = Consumer({"bootstrap.servers": deployment.bootstrap, "group.id": "ends"})
    places = [(topic, partition) for topic in (*INPUTS, *OUTPUTS) for partition in range(PARTITIONS)]
    found = {place: consumer.get_watermark_offsets(TopicPartition(deployment.prefix + place[0], place[1]), timeout=10)[1] for place in places}
    consumer.close()
    return found


def groups(deployment: Deployment) -> set[str]:
    return {group.group_id for group in AdminClient({"bootstrap.servers": deployment.bootstrap}).list_consumer_groups().result(10).valid}


def replayed(deployment: Deployment, policy: Path, *options: str) -> dict[str, Any]:
    done = deployment.headrace("replay", "--policy", str(policy), "--format", "json", *options)
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout))


@pytest.mark.slow
def test_a_range_is_judged_again_with_recorded_scores_and_nothing_is_touched(kafka: KafkaBroker, tmp_path: Path) -> None:
    deployment = make_deployment(kafka, "", tmp_path)
    # The run asks models that answer in its process; the replay has no model server at all.
    deployment.program = ("-m", "tests.fixtures.worded_run")
    deployment.settings = {"models": {"url": "127.0.0.1:1"}}
    records = list(itertools.islice(Fleet(seed=5, agents=8, rate=100.0, base_time_ms=1_700_000_000_000).records(), 400))
    deployment.publish(records)
    done = deployment.headrace("run", "--until-end")
    assert done.returncode == 0, done.stderr[-3000:]
    events = deployment.topic("enriched_events")
    scored = [event for event in events if event["injection_ppm"] is not None]
    assert len(scored) > 20
    deployment.program, deployment.settings = ("-m", "streams.cli.main"), {}
    before, groups_before = ends(deployment), groups(deployment)
    recovery = {path: path.read_bytes() for path in sorted(deployment.recovery.rglob("*")) if path.is_file()}

    same = tmp_path / "same.yaml"
    same.write_text(PACKAGED, encoding="utf-8")
    found = replayed(deployment, same, "--from", "0", "--against", "recorded")
    assert (found["records"], found["changed"], found["rules"]) == (len(records), 0, [])
    assert found["unknown"] == len(records) - len(events)
    assert found["old"] == "what the run published"

    # Every score of the run is above one in a million: under this policy all that were scored are flagged, by their recorded scores.
    strict = tmp_path / "strict.yaml"
    strict.write_text(
        re.sub(r"(id: scores\.injection\b.*?threshold: )0\.\d+", r"\g<1>0.000001", PACKAGED, count=1, flags=re.DOTALL).replace(
            'version: "', 'version: "strict', 1
        ),
        encoding="utf-8",
    )
    for against in ((), ("--against", "recorded")):
        found = replayed(deployment, strict, "--from", "1970-01-01T00:00:00Z", *against)
        gained = {rule["rule"]: rule["gained"] for rule in found["rules"]}
        hit = Counter(event["injection_ppm"] >= 1 and "scores.injection" not in (event["hits"] or ()) for event in scored)[True]
        assert gained == {"scores.injection": hit}, against

    half = deployment.epoch_ms + records[200].due_ms
    assert replayed(deployment, same, "--from", "0", "--to", str(half))["records"] == sum(r.due_ms < records[200].due_ms for r in records)
    assert replayed(deployment, same, "--from", str(half))["records"] == sum(r.due_ms >= records[200].due_ms for r in records)

    assert ends(deployment) == before
    assert groups(deployment) == groups_before
    assert {path: path.read_bytes() for path in sorted(deployment.recovery.rglob("*")) if path.is_file()} == recovery
