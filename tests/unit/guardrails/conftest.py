"""Masked events and small policies for the guardrail tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import polars as pl
import pytest

from governance.parse import default_policy
from governance.policy import Policy
from governance.rules import AnyRule
from schemas.events import EVENT, MASKED, ROW_WATERMARK, SCORED

SCHEMA = {**EVENT, **MASKED, **SCORED, **ROW_WATERMARK}
ALWAYS = {"topic": "agent_events", "partition": 0, "kind": "agent", "event_type": "agent.executed", "event_time": 1_000, "value_bytes": 10}


@pytest.fixture
def events() -> Callable[..., pl.DataFrame]:
    """Gives a frame of masked events from what is special about each."""

    def make(*rows: dict[str, object]) -> pl.DataFrame:
        whole = [
            {
                **dict.fromkeys(SCHEMA),
                **ALWAYS,
                "masked_count": 0,
                "agent_id": f"a{n}",
                "event_id": f"e{n}",
                "event_uid": f"{n:032x}",
                "offset": n,
                **row,
            }
            for n, row in enumerate(rows)
        ]
        return pl.DataFrame(whole, schema=SCHEMA)

    return make


@pytest.fixture
def policy_with() -> Callable[..., Policy]:
    """Gives the default policy with other rules."""
    return lambda *rules: replace(default_policy(), rules=tuple[AnyRule, ...](rules))
