"""A person who is erased while events flow: which of their events go on follows from coordinates and recorded marks, in every life of the run."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from structlog.testing import capture_logs

from schemas.errors import RetryableError
from schemas.events import EVENT
from streams.live_erasure import ErasureWatch, LiveErasure, erasure_marks, persons_marked


def rows(*of: tuple[int, int, str]) -> pl.DataFrame:
    """(partition, offset, user)"""
    made = [{"topic": "agent_events", "partition": partition, "offset": offset, "user_id": user} for partition, offset, user in of]
    return pl.DataFrame(made, schema=EVENT)


def passed(erasure: LiveErasure, batch: pl.DataFrame) -> list[tuple[int, int, str]]:
    outcome = erasure(batch)
    assert outcome.batch.height + outcome.dead.height == batch.height
    assert set(outcome.dead["code"]) <= {"erased"}
    return outcome.batch.select("partition", "offset", "user_id").rows()


def started(path: Path, *, is_settled: bool = True, known: frozenset[str] = frozenset()) -> LiveErasure:
    erasure = LiveErasure(known)
    erasure.start(erasure_marks(path), is_settled=is_settled)
    return erasure


FIRST = ((0, 1, "u_mia"), (1, 4, "u_mia"), (0, 2, "u_omar"))
THEN = ((0, 3, "u_mia"), (0, 4, "u_omar"))


def test_events_end_at_a_recorded_offset_and_a_crash_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "marks"
    erasure = started(path)
    assert passed(erasure, rows(*FIRST)) == list(FIRST)
    assert erasure.want({"u_mia"}) == 1
    assert passed(erasure, rows(*THEN)) == [(0, 4, "u_omar")]
    assert persons_marked(path) == {"u_mia"}

    again = started(path, is_settled=False, known=frozenset())
    # All at once, other cuts, partition 1 quiet when the mark was made: each record has the fate that it had.
    assert passed(again, rows(*FIRST, *THEN, (1, 5, "u_mia"))) == [*FIRST, (0, 4, "u_omar")]


def test_after_an_orderly_stop_nothing_of_the_person_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "marks"
    erasure = started(path)
    passed(erasure, rows(*FIRST))
    erasure.want({"u_mia"})
    passed(erasure, rows(*THEN))
    settled = started(path)
    assert passed(settled, rows((0, 0, "u_mia"), (2, 0, "u_mia"), (2, 1, "u_omar"))) == [(2, 1, "u_omar")]


def test_a_mark_is_durable_before_it_takes_effect(tmp_path: Path) -> None:
    path = tmp_path / "marks"
    seen: list[frozenset[str]] = []
    erasure = LiveErasure(())
    erasure.start(erasure_marks(path, lambda: seen.append(persons_marked(path))), is_settled=True)
    erasure.want({"u_mia"})
    assert passed(erasure, rows(*FIRST)) == [(0, 2, "u_omar")]
    assert seen == [{"u_mia"}]


def test_a_list_that_cannot_be_read_is_tried_again_and_known_persons_are_not_new(tmp_path: Path) -> None:
    erasure = LiveErasure({"u_old"})
    answers: list[object] = [RetryableError("away", 1), {"u_old", "u_mia"}, {"u_old", "u_mia"}]

    def read() -> set[str]:
        answer = answers.pop(0)
        if isinstance(answer, RetryableError):
            raise answer
        assert isinstance(answer, set)
        return answer

    watch = ErasureWatch(read, erasure)
    assert (watch.look(), len(answers)) == (0, 3), "nothing is read before the run has its marks"
    erasure.start(erasure_marks(tmp_path / "marks"), is_settled=True)
    with capture_logs() as logged:
        assert [watch.look() for _ in range(3)] == [0, 1, 0]
    assert [entry["event"] for entry in logged if entry["log_level"] == "warning"] == ["erasures.unread"]
