"""A limit that two policies have goes on counting while one takes over from the other, on both exchanges."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from governance.limits import Budget, Command, LimitsPolicy, Measure, Per, Quota, Scope
from governance.parse import default_policy
from governance.policy import Policy
from governance.rules import KINDS
from governance.verdict import Action, Enforcement, Severity, Verdict
from operators.contract import EMPTY_STATE, KeyedStep
from operators.guardrails.limit import Limit
from schemas.events import EVENT, INSPECTED, MASKED, ROW_WATERMARK
from streams.by_policy import STAMP, KeyedByPolicy
from streams.config import Config
from streams.pipeline import POLICY_STEPS, build_topology
from streams.policy_file import PolicyFile
from streams.telemetry import Telemetry
from streams.versions import Built, PolicyVersions

HEAD = ("counts", Verdict.DENY, Action.THROTTLE, Enforcement.ENFORCE, Severity.WARNING, KINDS)
BUDGET = Budget("limit.events", *HEAD, Per.AGENT, Measure.EVENTS, 10, 2)
QUOTA = Quota("quota.events", "d", Enforcement.ENFORCE, Severity.INFO, KINDS, Scope.USER, Measure.EVENTS, 10, 2, Command.PAUSE, 0)
LATE = 2**40  # behind every window


def policy(version: str) -> Policy:
    return replace(default_policy(), version=version, limits=LimitsPolicy(agents=(BUDGET,), quotas=(QUOTA,)))


def events(stamps: list[str]) -> pl.DataFrame:
    common = {"topic": "agent_events", "partition": 0, "kind": "agent", "agent_id": "ada", "user_id": "u_1", "content_digest": 1}
    rows = [{**common, "offset": at, "event_time": at, "event_uid": f"{at:x}" * 32, STAMP: stamp} for at, stamp in enumerate(stamps)]
    return pl.DataFrame(rows, schema={**EVENT, **ROW_WATERMARK, **MASKED, **INSPECTED, STAMP: pl.String()})


def test_the_watermark_of_a_batch_frees_nothing_before_its_last_run() -> None:
    step = KeyedByPolicy("limit", lambda _digest: Limit(LimitsPolicy(agents=(BUDGET,))))
    state, outcome = step.apply(EMPTY_STATE, events(["old", "new", "old"]), LATE)
    assert outcome.batch["hits"].to_list() == [None, None, ["limit.events"]]
    assert state == {}


def test_a_quota_counts_rows_of_both_policies_and_says_which_one_judged() -> None:
    first, second = (PolicyFile(policy(version), f"id: {version}") for version in ("one", "two"))
    config = Config()
    versions = PolicyVersions(first, lambda chosen: Built(build_topology(config, chosen, bytes(32), None, front=())), POLICY_STEPS, Telemetry())
    versions.add(second)
    shared = versions.topology.shared
    assert shared is not None
    rows = shared.spread(events([first.policy.digest, second.policy.digest, second.policy.digest]))
    assert rows is not None
    assert rows.schema == shared.schema
    quota = shared.steps[-1]
    assert isinstance(quota, KeyedStep)
    told = quota.apply(EMPTY_STATE, rows, LATE)[1].outputs["agent_control"]
    assert told.select("target", "policy_version").rows() == [("u_1", "two")]
