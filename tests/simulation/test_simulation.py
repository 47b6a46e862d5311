"""Schedules of crashes leave what a run without one leaves, and every planted bug is found and made small."""

from __future__ import annotations

import pytest

from tests.simulation.broker import Killed
from tests.simulation.engine import Parts, SimFailpoints, run
from tests.simulation.mutants import mutants
from tests.simulation.pipeline import pipeline
from tests.simulation.schedule import drawn
from tests.simulation.search import first_failure, problems

#: ``make simulate`` runs thousands.
SCHEDULES = 30
MUTANTS = mutants()


def test_schedules_of_crashes_leave_what_a_run_without_one_leaves() -> None:
    failure = first_failure(range(1, SCHEDULES + 1))
    assert failure is None, f"seed {failure[0].seed}; shrunk: {failure[0]}; {failure[1]}"


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_bug_is_found(name: str) -> None:
    real = Parts(pipeline())
    assert any(problems(drawn(seed), MUTANTS[name], real) for seed in range(1, 40))


def test_a_schedule_that_goes_wrong_is_told_by_its_seed_and_shrinks() -> None:
    failure = first_failure(range(1, 40), MUTANTS["skip list forgotten"])
    assert failure is not None
    small, told = failure
    assert told
    assert len(small.records) <= 2 < len(drawn(small.seed).records)
    assert len(small.kills) == 1


def test_a_seed_is_one_schedule_and_one_run() -> None:
    real = Parts(pipeline())
    assert drawn(7) == drawn(7) != drawn(8)
    assert run(drawn(7), real) == run(drawn(7), real)


def test_a_schedule_kills_at_every_kind_of_place() -> None:
    """The names of the places that schedules die at: were one never met, the simulation would prove less than it says."""
    met: set[str] = set()
    count = SimFailpoints.request

    def noting(self: SimFailpoints, name: str) -> bool:
        try:
            return count(self, name)
        except Killed:
            met.add(name)
            raise

    with pytest.MonkeyPatch.context() as patching:
        patching.setattr(SimFailpoints, "request", noting)
        for seed in range(1, 80):
            run(drawn(seed), Parts(pipeline()))
    assert met >= {"after_poll", "after_state_update", "inside_transaction", "before_commit", "commit_answer", "after_commit"}
    assert met >= {"before_snapshot", "after_pack", "before_epoch_commit", "after_epoch_commit", "during_recovery"}
