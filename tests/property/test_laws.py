"""Every registered operator keeps the laws of the fleet, and each law fails on a step that breaks it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import Phase, given, settings

from operators.contract import BatchStep, KeyedStep, Step
from operators.registry import OPERATORS, Operator
from tests.property import mutants
from tests.property.event_streams import Case, cases
from tests.property.laws import LAWS, Subject

NAMES = [operator.name for operator in OPERATORS]
KEYED = [operator for operator in OPERATORS if operator.order is not None]
#: Laws about state say nothing of a step that has none.
OF_STATE = ("crash_anywhere", "bounded_state")
PAIRS = [(law, operator) for operator in OPERATORS for law in LAWS if operator in KEYED or law not in OF_STATE]


@cache
def built(name: str) -> Step:
    """Gives the one step of that name that tests share, where sharing cannot show: mask takes seconds to build."""
    return OPERATORS[NAMES.index(name)].make()


def subject_of(operator: Operator, make: Callable[[], Step] | None = None) -> Subject:
    """Gives the operator, or a mutant in its place; a batch step is built once, for its rows depend on nothing else."""
    if make is None:
        make = operator.make if operator in KEYED else lambda: built(operator.name)
    return Subject(make, operator.takes, operator.horizon_ms, repeats=NAMES.index(operator.name) <= NAMES.index("deduplicate"))


@pytest.mark.parametrize(("law", "operator"), PAIRS, ids=[f"{operator.name}-{law}" for law, operator in PAIRS])
def test_every_operator_keeps_every_law(law: str, operator: Operator) -> None:
    subject = subject_of(operator)

    @settings(max_examples=60 if operator in KEYED else 25, deadline=None)
    @given(cases())
    def hold(case: Case) -> None:
        LAWS[law](subject, case)

    hold()


MUTANTS: list[tuple[str, str, Callable[[], Step]]] = [
    ("split_invariance", "deduplicate", lambda: mutants.SeesOneBatchOnly(30, 10)),
    ("split_invariance", "enrich", mutants.NumbersItsRows),
    ("split_invariance", "measure", mutants.CountsLateByMergedWatermark),
    ("crash_anywhere", "measure", mutants.KeepsStateInItself),
    ("crash_anywhere", "deduplicate", lambda: mutants.ChangesFramesInPlace(30, 10)),
    ("conservation", "deduplicate", lambda: mutants.LosesConflicts(30, 10)),
    ("conservation", "deduplicate", lambda: mutants.GivesNoReason(30, 10)),
    ("once", "measure", lambda: mutants.EmitsUnchangedWindows(10, 20)),
    ("bounded_state", "measure", lambda: mutants.NeverFrees(10, 20)),
    ("declared_order", "deduplicate", lambda: mutants.FreesByMergedWatermark(30, 10)),
    ("declared_order", "deduplicate", lambda: mutants.SharesIdsAmongTopics(30, 10)),
    ("declared_order", "measure", mutants.RemembersTheLastLatency),
    ("declared_order", "enrich", mutants.LooksAtItsNeighbours),
]


@pytest.mark.parametrize(("law", "name", "make"), MUTANTS, ids=[f"{law}-{name}-{at}" for at, (law, name, _) in enumerate(MUTANTS)])
def test_each_law_fails_on_its_mutant(law: str, name: str, make: Callable[[], Step]) -> None:
    subject = subject_of(OPERATORS[NAMES.index(name)], make)

    @settings(max_examples=1_000, deadline=None, database=None, derandomize=True, phases=[Phase.generate], report_multiple_bugs=False)
    @given(cases())
    def hold(case: Case) -> None:
        LAWS[law](subject, case)

    with pytest.raises(AssertionError) as broken:
        hold()
    assert broken.traceback[-1].path.name == "laws.py", "the law found it, not an assertion of the step"


def test_every_law_has_a_mutant() -> None:
    assert {law for law, _, _ in MUTANTS} == set(LAWS)


@pytest.mark.parametrize("operator", OPERATORS, ids=NAMES)
def test_a_registered_operator_is_what_its_row_says(operator: Operator) -> None:
    step = built(operator.name)
    assert step.name == operator.name
    assert operator.purpose.endswith(".")
    assert isinstance(step, KeyedStep) is not isinstance(step, BatchStep)
    assert operator.order == (step.order if isinstance(step, KeyedStep) else None)
    if operator.state is not None:
        assert operator.state.version >= 1
        assert "bytes" in operator.state.bound
        assert operator.horizon_ms > 0


def test_no_two_operators_share_a_name() -> None:
    assert len(set(NAMES)) == len(NAMES)
