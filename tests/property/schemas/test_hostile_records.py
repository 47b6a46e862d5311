"""Hostile records: none stops the front steps or holds them up, and each goes on or is dead with a code that is known."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from governance.parse import default_policy
from operators.contract import BatchStep
from schemas.errors import record_error_codes
from schemas.events import RAW
from schemas.topics import INPUTS
from streams.config import Config
from streams.front_steps import front_steps
from streams.registry import open_registry
from tests.corpora.hostile_records import hostile_records
from tests.fixtures.records import EXAMPLES

KEY = b"a key for tests, thirty-two bytes long"
#: Bound on one record: an expression may take five seconds on a text, and then rejects its record.
RECORD_S = 10.0


@pytest.fixture(scope="module")
def steps() -> Sequence[BatchStep]:
    return front_steps(Config(), default_policy(), KEY, open_registry(Config()))


def fates(steps: Sequence[BatchStep], records: Sequence[tuple[str, bytes]]) -> list[str]:
    """What became of each record, in order: passed, or a code."""
    frame = pl.DataFrame([(topic, 0, at, None, None, value, None) for at, (topic, value) in enumerate(records)], schema=RAW, orient="row")
    found: list[tuple[int, str]] = []
    for step in steps:
        outcome = step(frame)
        frame = outcome.batch
        found += outcome.dead.select("offset", "code").rows()
    found += [(offset, "passed") for offset in frame["offset"].to_list()]
    assert sorted(offset for offset, _ in found) == list(range(len(records))), "each record has one fate"
    return [fate for _, fate in sorted(found)]


def test_each_record_of_the_corpus_has_a_fate_in_time(steps: Sequence[BatchStep]) -> None:
    records = list(hostile_records())
    assert len(records) > 1_000
    told = set()
    for topic, value in records:
        begin = time.perf_counter()
        told |= set(fates(steps, [(topic, value)]))
        assert time.perf_counter() - begin < RECORD_S, value[:200]
    assert told <= {"passed", *record_error_codes()}
    assert {"passed", "json_invalid", "bytes_invalid", "schema_unknown", "nesting_too_deep", "record_oversized", "type_mismatch"} <= told


@pytest.mark.parametrize("text", ["mia@example.com ", "mia@example.com,", "https://a.example.com/x?email=a@b.com ", '{"email":"x@y.com"} '])
def test_a_text_full_of_values_is_masked_in_time(text: str, steps: Sequence[BatchStep]) -> None:
    begin = time.perf_counter()
    fates(steps, [("agent_events", _written((text * 10_000)[:150_000]))])
    assert time.perf_counter() - begin < RECORD_S


def test_together_they_have_the_fates_that_they_have_alone(steps: Sequence[BatchStep]) -> None:
    records = [record for record in hostile_records() if len(record[1]) < 5_000][::3]
    assert fates(steps, records) == [fates(steps, [record])[0] for record in records]


_TEXTS = st.text(st.characters(exclude_categories=()), max_size=60)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4),
)
_VALUES = st.binary(max_size=200) | st.builds(lambda body: b"\0\0\0\0\1" + body, st.binary(max_size=200)) | _JSON.map(lambda value: _written(value))


def _written(value: object) -> bytes:
    return json.dumps({**EXAMPLES["agent_events"], "input_data": value, "attributes": value}).encode()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(records=st.lists(st.tuples(st.sampled_from(list(INPUTS)), _VALUES), max_size=8))
def test_any_bytes_have_a_fate(steps: Sequence[BatchStep], records: list[tuple[str, bytes]]) -> None:
    begin = time.perf_counter()
    assert set(fates(steps, records)) <= {"passed", *record_error_codes()}
    assert time.perf_counter() - begin < RECORD_S
