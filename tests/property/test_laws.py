"""Every registered operator keeps the laws of the fleet, and each law fails on a step that breaks it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import polars as pl
import pytest
from hypothesis import Phase, given, settings

from governance.parse import default_policy
from governance.policy import CONTENT_COLUMNS, GuardPolicy, ModelsPolicy, Outage, TaggerPolicy, TextChoice, WhenDown
from governance.rules import KINDS
from operators.contract import BatchStep, KeyedStep, Step
from operators.registry import OPERATORS, SMALL, Operator
from schemas.events import EVENT, MASKED, NAMED, ROW_WATERMARK, SCORED
from streams.asking import AskSettings
from streams.scoring import Score
from streams.tagging import Tag
from tests.fixtures.words import Outages, WordModels
from tests.property import mutants
from tests.property.event_streams import Case, cases
from tests.property.laws import LAWS, Subject

NAMES = [operator.name for operator in OPERATORS]
KEYED = [operator for operator in OPERATORS if operator.order is not None]
#: Laws about state say nothing of a step that has none.
OF_STATE = ("crash_anywhere", "bounded_state")
#: Steps of the shell, which ask models: with models that answer they keep the laws of batch steps. And mask, given the names that they found.
_MARKED = pl.Schema({**EVENT, **ROW_WATERMARK})
_POLICY = replace(
    default_policy(),
    models=ModelsPolicy(
        guard=GuardPolicy(Outage(WhenDown.PAUSE), (TextChoice(KINDS, ("input", "output")),), sampled_ppm=500_000),
        pii_tagger=TaggerPolicy(Outage(WhenDown.PAUSE), (TextChoice(KINDS, CONTENT_COLUMNS),)),
    ),
)
assert _POLICY.models.guard is not None
assert _POLICY.models.pii_tagger is not None
GUARD, TAGGER = _POLICY.models.guard, _POLICY.models.pii_tagger
REJECTING = replace(TAGGER, outage=Outage(WhenDown.REJECT))


def mask_with_names() -> Step:
    return built("mask")


SHELL: dict[str, tuple[pl.Schema, Callable[[], Step]]] = {
    "tag": (_MARKED, lambda: Tag(_POLICY, TAGGER, WordModels(), AskSettings(texts_max=2))),
    "mask_with_names": (pl.Schema({**_MARKED, **NAMED}), mask_with_names),
    "score": (pl.Schema({**_MARKED, **MASKED, **SCORED}), lambda: Score(GUARD, WordModels(), AskSettings(texts_max=2))),
    "tag_without_its_model": (
        _MARKED,
        lambda: Tag(_POLICY, REJECTING, WordModels(Outages("pii_tagger")), AskSettings()),
    ),
    "score_without_its_model": (
        pl.Schema({**_MARKED, **MASKED, **SCORED}),
        lambda: Score(replace(GUARD, outage=Outage(WhenDown.REJECT)), WordModels(Outages("guard")), AskSettings()),
    ),
}

PAIRS = [(law, operator) for operator in OPERATORS for law in LAWS if operator in KEYED or law not in OF_STATE]


@cache
def built(name: str) -> Step:
    """Gives the one step of that name that tests share, where sharing cannot show: mask takes seconds to build."""
    return OPERATORS[NAMES.index(name)].make()


def subject_of(operator: Operator, make: Callable[[], Step] | None = None) -> Subject:
    """Gives the operator, or a mutant in its place; a batch step is built once, for its rows depend on nothing else."""
    if make is None:
        make = operator.make if operator in KEYED else lambda: built(operator.name)
    repeats = NAMES.index(operator.name) <= NAMES.index("deduplicate")
    return Subject(make, operator.takes, operator.horizon_ms, repeats=repeats, entries_max=operator.entries_max)


@pytest.mark.parametrize(("law", "operator"), PAIRS, ids=[f"{operator.name}-{law}" for law, operator in PAIRS])
def test_every_operator_keeps_every_law(law: str, operator: Operator) -> None:
    subject = subject_of(operator)

    @settings(max_examples=60 if operator in KEYED else 25, deadline=None)
    @given(cases())
    def hold(case: Case) -> None:
        LAWS[law](subject, case)

    hold()


@pytest.mark.parametrize("name", SHELL)
@pytest.mark.parametrize("law", [law for law in LAWS if law not in OF_STATE])
def test_steps_that_ask_models_keep_the_laws_of_batch_steps(law: str, name: str) -> None:
    takes, make = SHELL[name]

    @settings(max_examples=25, deadline=None)
    @given(cases())
    def hold(case: Case) -> None:
        LAWS[law](Subject(make, takes), case)

    hold()


@pytest.mark.parametrize(
    ("law", "takes", "make"),
    [
        ("split_invariance", SHELL["score"][0], lambda: mutants.ScoresByPlace(GUARD, WordModels(), AskSettings())),
        ("declared_order", SHELL["score"][0], lambda: mutants.ScoresByPlace(GUARD, WordModels(), AskSettings())),
        ("split_invariance", SHELL["tag"][0], lambda: mutants.TagsTheFirstRowOnly(_POLICY, TAGGER, WordModels(), AskSettings())),
        (
            "conservation",
            SHELL["tag"][0],
            lambda: mutants.LosesWhatItRejects(_POLICY, REJECTING, WordModels(Outages("pii_tagger")), AskSettings()),
        ),
    ],
)
def test_each_law_fails_on_a_mutant_of_a_step_that_asks_models(law: str, takes: pl.Schema, make: Callable[[], Step]) -> None:
    @settings(max_examples=1_000, deadline=None, database=None, derandomize=True, phases=[Phase.generate], report_multiple_bugs=False)
    @given(cases())
    def hold(case: Case) -> None:
        LAWS[law](Subject(make, takes), case)

    with pytest.raises(AssertionError):
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
    ("declared_order", "limit", lambda: mutants.CountsOverTopics(SMALL.limits)),
    ("declared_order", "limit", lambda: mutants.CountsByMergedWatermark(SMALL.limits)),
    ("split_invariance", "limit", lambda: mutants.CountsInOneBatchOnly(SMALL.limits)),
    ("declared_order", "limit_concurrency", lambda: mutants.OpensOverTopics(SMALL.limits)),
    ("bounded_state", "limit_concurrency", lambda: mutants.KeepsExecutionsOpen(SMALL.limits)),
    ("split_invariance", "limit_depth", lambda: mutants.FollowsOneBatchOnly(SMALL.limits)),
    ("bounded_state", "limit_depth", lambda: mutants.RemembersEveryId(SMALL.limits)),
    ("split_invariance", "control", lambda: mutants.CommandsAtEachBatch(SMALL)),
    ("declared_order", "limit_quota", lambda: mutants.NamesWhatTippedItOver(SMALL, 20)),
    ("declared_order", "limit_quota", lambda: mutants.TakesLateRowsByMergedWatermark(SMALL, 20)),
    ("once", "limit_quota", lambda: mutants.BreachesAgainAndAgain(SMALL, 20)),
    ("crash_anywhere", "limit_quota", lambda: mutants.KeepsSumsInItself(SMALL, 20)),
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
