"""The step ``decode`` is a batch step that conserves records and counts what it did."""

from __future__ import annotations

from operators.contract import BatchStep
from operators.decode import Decode
from schemas.codec.decode import DecodeSettings
from schemas.limits import Limits
from tests.fixtures.records import EXAMPLES, KEY, json_bytes, raw_frame


def test_events_go_on_and_the_rest_is_dead() -> None:
    step = Decode(DecodeSettings(Limits(), KEY))
    assert isinstance(step, BatchStep)
    good = json_bytes(EXAMPLES["agent_events"])
    outcome = step(raw_frame([good, b"bad", good, None]))
    assert outcome.batch["offset"].to_list() == [0, 2]
    assert outcome.dead["offset"].to_list() == [1, 3]
    assert set(outcome.dead["step"]) == {step.name}
    assert outcome.facts == {("decoded", "agent"): 2, ("undecoded", "json_invalid"): 1, ("undecoded", "field_missing"): 1}
    assert step(raw_frame([])).facts == {}
