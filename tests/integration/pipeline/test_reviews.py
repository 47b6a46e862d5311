"""Control and reviews on real Kafka and PostgreSQL: commands reach agents, a held event goes out once, whatever dies between approval and release."""

from __future__ import annotations

import json
import signal
from collections import Counter
from pathlib import Path

import psycopg
import pytest

from streams.fleet.orders import Orders
from streams.fleet.record import PASSED, FleetRecord
from tests.fixtures.deployment import Deployment

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

START = 1_700_000_000_000
DEFAULT = (Path(__file__).parents[3] / "governance/policies/default.yaml").read_text(encoding="utf-8")
RULES = """
rules:
  - {id: size.value, type: size, description: d, verdict: warn, action: pass, severity: info, bytes_max: 100000, applies_to: {fields: [value]}}
  - {id: tools.wire, type: tools, description: Money leaves., verdict: escalate, action: pause_agent, severity: error, deny: [wire_money]}
limits:
  hold: {throttle_s: 60, pause_s: 600, review_s: 7776000}
  agents:
    - {id: loop, type: budget, description: d, verdict: warn, action: throttle, severity: info, per: call, measure: events, window_s: 60, max: 2}
  quotas:
    - {id: quota.user, description: d, severity: warning, per: user, measure: events, window_s: 60, max: 4, control: pause, hold_s: 5}
"""


def call(number: int, agent: str, tool: str, at_ms: int) -> FleetRecord:
    fields = {"event_id": f"e{number}", "event_type": "tool.executed", "timestamp": at_ms, "agent_id": agent, "tool_name": tool, "user_id": "mia"}
    value = json.dumps(fields | {"arguments": {"to": "the usual account"}}).encode()
    return FleetRecord("tool_executions", agent.encode(), value, at_ms - START, at_ms, PASSED)


@pytest.fixture
def held(deployment: Deployment) -> tuple[Deployment, dict[str, str]]:
    """A deployment that ran over two wire transfers and a loop; the open reviews by agent."""
    policy = deployment.folder / "policy.yaml"
    policy.write_text(DEFAULT[: DEFAULT.index("\nmodels:")].rsplit("# ---", 1)[0] + RULES, encoding="utf-8")
    now_ms = _now_ms(deployment)
    deployment.epoch_ms = START
    deployment.settings = {"pipeline": {"policy": policy, "lanes": 2}}
    calls = [call(1, "ada", "wire_money", now_ms), call(2, "bob", "wire_money", now_ms)] + [call(3 + n, "cyd", "search", now_ms) for n in range(4)]
    deployment.publish(calls)
    done = deployment.headrace("run", "--until-end")
    assert done.returncode == 0, done.stderr[-3000:]
    told = deployment.headrace("review", "list")
    assert told.returncode == 0, told.stderr[-3000:]
    return deployment, {line.split()[3]: line.split()[0] for line in told.stdout.splitlines()}


def _now_ms(deployment: Deployment) -> int:
    """The database's clock, which says what has expired."""
    with psycopg.connect(deployment.dsn) as connection:
        row = connection.execute("SELECT (extract(epoch FROM now()) * 1000)::bigint").fetchone()
    assert row is not None
    return int(row[0])


def released(deployment: Deployment) -> list[str]:
    return [event["released_from"] for event in deployment.topic("enriched_events") if event["released_from"] is not None]


SLOW = [pytest.param(point, marks=pytest.mark.slow) for point in ("inside_transaction", "after_commit", "after_release")]


@pytest.mark.parametrize("point", ["after_approval", *SLOW])
def test_an_approved_event_goes_out_once_wherever_the_approval_dies(held: tuple[Deployment, dict[str, str]], point: str) -> None:
    deployment, reviews = held
    died = deployment.headrace("review", "approve", reviews["ada"], "--reason", "known", failpoint=f"{point}:1")
    assert died.returncode == -signal.SIGKILL, died.stderr
    again = deployment.headrace("review", "release")
    assert again.returncode == 0, again.stderr
    assert again.stdout == "released 1\n"
    assert deployment.headrace("review", "release").stdout == "released 0\n"
    [event] = [event for event in deployment.topic("enriched_events") if event["agent_id"] == "ada" and event["released_from"] is None]
    assert event["input"] is None
    assert released(deployment) == [event["event_uid"]]
    [out] = [event for event in deployment.topic("enriched_events") if event["released_from"] is not None]
    assert (json.loads(out["input"]), out["action"]) == ({"to": "the usual account"}, "pass")
    assert [row["state"] for row in deployment.topic("reviews") if row["agent_id"] == "ada"].count("approved") == 1


def test_reviews_are_closed_once_and_commands_reach_agents(held: tuple[Deployment, dict[str, str]]) -> None:
    deployment, reviews = held
    assert set(reviews) == {"ada", "bob"}
    orders = Orders()
    for command in deployment.topic("agent_control"):
        orders.take(command)
    issued_at = max(command["issued_at"] for command in deployment.topic("agent_control"))
    assert [orders.standing(agent=agent, at=issued_at) for agent in ("ada", "bob", "cyd", "dan")] == ["pause", "pause", "throttle", None]
    [user] = {row[0] for row in deployment.table("control_commands", ["target"])} - {"ada", "bob", "cyd"}
    assert orders.standing(agent="dan", user=user, at=issued_at) == "pause"

    assert deployment.headrace("review", "approve", reviews["ada"], "--reason", "known").returncode == 0
    assert deployment.headrace("review", "deny", reviews["bob"], "--reason", "an attack").returncode == 0
    for command in deployment.topic("agent_control"):
        orders.take(command)
    assert [orders.standing(agent=agent, at=issued_at) for agent in ("ada", "bob")] == [None, "pause"]

    twice = deployment.headrace("review", "approve", reviews["bob"], "--reason", "changed my mind")
    assert twice.returncode == 2
    assert "must be open, is denied" in twice.stderr
    assert deployment.headrace("review", "deny", "0" * 32, "--reason", "x").returncode == 2
    audited = deployment.table("audit_records", ["what", "result", "agent_id", "action", "policy_id"])
    assert {row[1:4] for row in audited if row[0] == "review"} == {
        ("listed", "headrace", None),
        ("approved", "ada", "pause_agent"),
        ("released", "ada", "pause_agent"),
        ("denied", "bob", "pause_agent"),
    }
    issued = Counter((row[2], row[3]) for row in audited if row[0] == "action")
    assert issued == Counter({("ada", "pause"): 1, ("bob", "pause"): 1, ("cyd", "throttle"): 1, ("headrace", "pause"): 1})
    in_topic = [(entry["agent_id"], entry["action"]) for entry in deployment.topic("audit_log") if entry["what"] == "action"]
    assert Counter(in_topic) == issued
    assert all(row[4] for row in audited if row[0] == "action" or row[1] in ("approved", "denied", "released"))
    verified = deployment.headrace("audit", "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    history = {row[0]: row[1:] for row in deployment.table("review_history", ["review_uid", "state", "why"])}
    assert history == {reviews["ada"]: ("approved", "known"), reviews["bob"]: ("denied", "an attack")}
    with psycopg.connect(deployment.dsn) as connection, pytest.raises(psycopg.errors.RestrictViolation, match="only grows"):
        connection.execute("DELETE FROM review_history")
    assert len(released(deployment)) == 1


@pytest.mark.slow
def test_a_review_that_nobody_closes_expires(held: tuple[Deployment, dict[str, str]]) -> None:
    deployment, reviews = held
    with psycopg.connect(deployment.dsn) as connection:
        connection.execute("UPDATE reviews SET expires_at = now() - interval '1 second' WHERE agent_id = 'ada'")
    refused = deployment.headrace("review", "approve", reviews["ada"], "--reason", "too late")
    assert refused.returncode == 2
    assert "must be open, is expired" in refused.stderr
    assert deployment.headrace("review", "list").stdout.split()[3] == "bob"
    assert released(deployment) == []
