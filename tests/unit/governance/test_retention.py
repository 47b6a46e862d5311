"""Retention in a policy: what is named, what follows from the data class, and what is told of a wrong section."""

from __future__ import annotations

from importlib import resources

import pytest

from governance.data_classes import DataClass
from governance.parse import parse_policy
from governance.policy import Policy
from governance.retention import Kind
from schemas.errors import ConfigError

SECTION = """
retention:
  classes:
    internal: {days: 400, purpose: answer for agents}
  tables:
    metric_windows: {days: 90, purpose: capacity}
"""


def policy(section: str) -> Policy:
    text = resources.files("governance").joinpath("policies/default.yaml").read_text(encoding="utf-8")
    kept = text.split("\nretention:")[0]
    return parse_policy(kept + section)


def test_a_place_that_is_named_wins_over_its_data_class() -> None:
    retention = policy(SECTION).retention
    assert [keep.days for keep in (retention.of(Kind.TABLE, "metric_windows", DataClass.INTERNAL),) if keep] == [90]
    assert [keep.days for keep in (retention.of(Kind.TOPIC, "metric_windows", DataClass.INTERNAL),) if keep] == [400]
    assert retention.of(Kind.TABLE, "alerts", DataClass.PERSONAL) is None
    assert retention.of(Kind.TABLE, "audit_records", None) is None


def test_without_the_section_nothing_is_removed() -> None:
    assert policy("").retention.of(Kind.TABLE, "alerts", DataClass.INTERNAL) is None


def test_every_problem_is_told_with_its_place() -> None:
    wrong = "\nretention:\n  classes:\n    internal: {days: 0, purpose: x}\n  tables:\n    alerts: {days: 9}\n  buckets: {}\n"
    with pytest.raises(ConfigError) as told:
        policy(wrong)
    text = str(told.value)
    assert all(part in text for part in ("retention.classes.internal.days", "retention.tables.alerts.purpose", "buckets"))
