"""The policy changes while events flow, on real Kafka, and the run is killed around the switch: each event is judged by exactly one version."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.topics import OUTPUTS
from streams.embedded.kafka import KafkaBroker
from streams.fleet.fleet import Fleet
from streams.fleet.record import FleetRecord
from streams.policy_file import load_policy
from streams.policy_marks import PolicyMarks
from tests.fixtures.deployment import ROOT, Deployment, make_deployment

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

PACKAGED = (ROOT / "governance" / "policies" / "default.yaml").read_text(encoding="utf-8")
SMALL_BATCHES = {"batch_rows_max": 20, "source_lanes": 2, "linger_ms": 5, "idle_ms": 3_600_000}
#: Every event of an agent hits this rule, whose verdict tells the version.
RULE = """
  - id: test.version
    type: size
    description: Tells the version.
    verdict: {verdict}
    action: pass
    severity: info
    applies_to: {{fields: [value]}}
    bytes_max: 1
"""
VERDICTS = {"101": "warn", "102": "modify", "103": "deny"}


class Fleets:
    """Records without end, and a policy file that changes."""

    def __init__(self, deployment: Deployment) -> None:
        self._records = Fleet(seed=11, agents=12, rate=200.0, base_time_ms=1_700_000_000_000).records()
        self.deployment = deployment
        self.policy = deployment.folder / "policy.yaml"
        self.digests: dict[str, str] = {}
        deployment.settings = {
            "source": SMALL_BATCHES,
            "pipeline": {"name": deployment.prefix.rstrip("."), "lanes": 2, "workers": 2, "policy": self.policy},
        }

    def publish(self, count: int) -> None:
        records: Iterator[FleetRecord] = itertools.islice(self._records, count)
        self.deployment.publish(records)

    def put(self, version: str) -> None:
        """Puts a version in the file, in one step."""
        text = PACKAGED.replace('version: "', f'version: "{version}" # "', 1).replace(
            "\nrules:\n", f"\nrules:{RULE.format(verdict=VERDICTS[version])}", 1
        )
        part = self.policy.with_suffix(".part")
        part.write_text(text, encoding="utf-8")
        part.replace(self.policy)
        self.digests[load_policy(self.policy).policy.digest] = version

    def killed_at(self, failpoint: str) -> None:
        died = self.deployment.headrace("run", failpoint=failpoint)
        assert died.returncode == -signal.SIGKILL, (failpoint, died.stderr[-3000:])


def lines_until(process: subprocess.Popen[str], event: str) -> dict[str, Any]:
    """Reads the log to the next line of an event."""
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("{") and (entry := json.loads(line))["event"] == event:
            return dict(entry)
    raise AssertionError(f"the run ended without {event}")


def check(fleets: Fleets) -> Counter[str]:
    """Holds that every event was judged once, by the version that the recorded marks name; gives the events by version."""
    deployment = fleets.deployment
    events, decisions = deployment.topic("enriched_events"), deployment.topic("guardrail_decisions")
    for topic, records in (("enriched_events", events), ("guardrail_decisions", decisions)):
        ids = Counter(tuple(record[column] for column in OUTPUTS[topic].id_columns) for record in records)
        assert max(ids.values()) == 1, topic
    decided = {record["event_uid"]: record for record in decisions}
    marks: dict[tuple[str, int], list[tuple[int, str]]] = defaultdict(list)
    for mark in PolicyMarks(deployment.recovery / "policies" / "marks.jsonl").marks:
        marks[mark.topic, mark.partition].append((mark.offset, fleets.digests[mark.digest]))
    # Each take-over is in the audit log, once, wherever the run died.
    told = [entry for entry in deployment.topic("audit_log") if entry["what"] == "policy" and entry["service"] == "reload"]
    places = Counter((entry["topic"], entry["partition"], entry["offset"], entry["policy_version"]) for entry in told)
    last = {place: max(event["offset"] for event in events if (event["topic"], event["partition"]) == place) for place in marks}
    expected = {(*place, offset, version) for place, of in marks.items() for offset, version in of if offset <= last[place]}
    assert places == Counter(dict.fromkeys(expected, 1))
    assert deployment.headrace("audit", "verify").returncode == 0
    base = fleets.digests[json.loads((deployment.recovery / "begin.json").read_text())["fingerprint"]["policy"]]
    for event in events:
        version = base
        for offset, after in marks[event["topic"], event["partition"]]:
            version = after if event["offset"] >= offset else version
        assert event["policy_version"] == version, (event["topic"], event["partition"], event["offset"])
        own = decided[event["event_uid"]]
        # The judgement is whole: hits, verdict and version come from one policy.
        assert ("test.version" in event["hits"], own["policy_version"], own["verdict"]) == (True, version, event["verdict"])
        if event["hits"] == ["test.version"]:
            assert event["verdict"] == VERDICTS[version]
    return Counter(event["policy_version"] for event in events)


@pytest.fixture
def fleets(kafka: KafkaBroker, tmp_path: Path) -> Fleets:
    return Fleets(make_deployment(kafka, "", tmp_path))


def test_a_running_pipeline_takes_a_new_version_refuses_a_broken_one_and_keeps_its_word_after_a_kill(fleets: Fleets) -> None:
    fleets.put("101")
    fleets.publish(300)
    process = fleets.deployment.start("run")
    try:
        lines_until(process, "run.started")
        fleets.publish(300)
        fleets.put("102")
        assert lines_until(process, "policy.applied")["policy_version"] == "102"  # the file was looked at, without a signal
        fleets.publish(300)
        fleets.policy.write_text("id: [", encoding="utf-8")
        process.send_signal(signal.SIGHUP)
        assert "not YAML" in lines_until(process, "policy.refused")["problem"]
        fleets.put("103")
        process.send_signal(signal.SIGHUP)
        assert lines_until(process, "policy.applied")["policy_version"] == "103"
        fleets.publish(300)
        assert lines_until(process, "policy.judges")["policy_version"] == "103"
        os.kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.communicate()
    fleets.publish(100)
    # Not stopped in order at its end either: the marks stay to be read.
    done = fleets.deployment.headrace("run", "--until-end")
    assert done.returncode == 0, done.stderr[-3000:]
    by_version = check(fleets)
    assert sum(by_version.values()) > 1_000
    assert by_version["101"] > 0
    assert by_version["103"] > 0


@pytest.mark.slow
def test_kills_around_the_switch_leave_each_event_to_one_version(fleets: Fleets) -> None:
    fleets.put("101")
    fleets.publish(300)
    fleets.killed_at("after_state_update:4")
    fleets.put("102")  # while events are in flight
    fleets.publish(300)
    for death in ("after_poll:2", "after_policy_mark:1", "after_policy_mark:1", "inside_transaction:2", "after_commit:3", "after_pack:1"):
        fleets.killed_at(death)
        fleets.publish(100)
    fleets.put("103")
    for death in ("after_policy_mark:1", "after_state_update:3", "after_commit:6", "before_snapshot:2"):
        fleets.killed_at(death)
        fleets.publish(200)
    done = fleets.deployment.headrace("run", "--until-end")
    assert done.returncode == 0, done.stderr[-3000:]
    assert set(check(fleets)) == {"101", "102", "103"}
