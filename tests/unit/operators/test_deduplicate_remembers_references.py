"""The first record of an event is the reference, for its time to live and no longer, told by the partition's own event time."""

from __future__ import annotations

import polars as pl
import pytest

from operators.contract import EMPTY_STATE, State
from operators.deduplicate import Deduplicate, needed_ttl_ms
from schemas.coordinates import event_uid
from schemas.errors import ConfigError
from schemas.events import EVENT, ROW_WATERMARK

STEP = Deduplicate(ttl_ms=30, bucket_ms=10)
Told = tuple[str, int, int, int | None]  # event id, content digest, event time, row watermark


def _rows(*told: Told, partition: int = 0, offset: int = 0) -> pl.DataFrame:
    rows = [
        {"topic": "agent_events", "partition": partition, "offset": offset + at, "event_uid": event_uid("agent", "ada", name)}
        | {"content_digest": digest, "event_time": time, "row_watermark": mark}
        for at, (name, digest, time, mark) in enumerate(told)
    ]
    return pl.DataFrame(rows, schema={**EVENT, **ROW_WATERMARK})


def _codes(*told: Told) -> list[str | None]:
    """Gives the code of each row, None where it passes."""
    _, outcome = STEP.apply(EMPTY_STATE, _rows(*told), None)
    codes = dict(outcome.dead.select("offset", "code").iter_rows())
    return [codes.get(at) for at in range(len(told))]


def test_the_same_content_is_a_duplicate_and_other_content_a_conflict_with_the_first() -> None:
    assert _codes(("e", 1, 0, None), ("e", 1, 0, 0), ("e", 2, 0, 0), ("e", 2, 0, 0)) == [None, "duplicate", "id_conflict", "id_conflict"]


def test_an_id_is_free_again_exactly_at_its_time_to_live() -> None:
    assert _codes(("e", 1, 5, 5), ("e", 1, 5, 34), ("e", 1, 5, 35)) == [None, "duplicate", None]


def test_a_new_reference_judges_what_follows_it_in_the_same_batch() -> None:
    assert _codes(("e", 1, 5, 5), ("e", 2, 5, 35), ("e", 2, 5, 36), ("e", 1, 5, 40)) == [None, None, "duplicate", "id_conflict"]


def test_a_duplicate_does_not_prolong_the_life_of_its_reference() -> None:
    assert _codes(("e", 1, 5, 5), ("e", 1, 5, 30), ("e", 1, 5, 36)) == [None, "duplicate", None]


def test_a_jump_of_event_time_does_not_let_the_next_record_repeat() -> None:
    assert _codes(("x", 1, 0, None), ("e", 1, 9_000, 0), ("e", 1, 9_000, 9_000)) == [None, None, "duplicate"]


def test_a_repetition_in_another_partition_is_caught_too() -> None:
    state, _ = STEP.apply(EMPTY_STATE, _rows(("e", 1, 0, None)), None)
    _, outcome = STEP.apply(state, _rows(("e", 2, 0, None), partition=1), None)
    assert outcome.dead["code"].to_list() == ["id_conflict"]


def test_a_batch_leaves_the_runs_it_does_not_merge_as_they_are() -> None:
    state: State = EMPTY_STATE
    state, _ = STEP.apply(state, _rows(*((f"a{at}", 1, 5, 5) for at in range(10))), 0)
    before = dict(state)
    state, _ = STEP.apply(state, _rows(("b", 1, 15, 15), ("c", 1, 6, 6)), 0)
    assert {run: state[run] is before[run] for run in before} == dict.fromkeys(before, True)
    assert len(state) == 3


def test_runs_stay_few_and_sorted() -> None:
    state: State = EMPTY_STATE
    for batch in range(200):
        state, _ = STEP.apply(state, _rows(("x" + str(batch), 1, 5, 5), ("y" + str(batch), 1, 5, 5)), 0)
    assert len(state) <= 10
    assert sum(frame.height for frame in state.values()) == 400
    assert all(frame["uid_hi"].is_sorted() for frame in state.values())


def test_no_duplicate_can_be_counted_twice_with_the_needed_time_to_live() -> None:
    """The latest watermark at which a row still enters its window is one before the first at which its duplicate passes."""
    window, lateness, time = 10, 20, 10  # the first instant of a window: the longest way to its end
    step = Deduplicate(ttl_ms=needed_ttl_ms(window, lateness), bucket_ms=10)
    state, _ = step.apply(EMPTY_STATE, _rows(("e", 1, time, 0)), None)
    last_open = time + window + lateness - 1
    assert step.apply(state, _rows(("e", 1, time, last_open)), None)[1].dead["code"].to_list() == ["duplicate"]


@pytest.mark.parametrize("bucket_ms", [0, -1, 31])
def test_a_bucket_wider_than_the_time_to_live_is_refused(bucket_ms: int) -> None:
    with pytest.raises(ConfigError, match="bucket_ms"):
        Deduplicate(ttl_ms=30, bucket_ms=bucket_ms)
