"""A model is changed while the stream goes on: two real versions, a canary and a shadow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from models.client import ClientSettings, TritonModels
from models.router import PPM, Route, RouteMode, VersionRouter, takes_candidate
from streams.config import load_config
from streams.embedded.triton import TritonServer
from streams.model_client import open_models
from streams.telemetry import Telemetry
from tests.fixtures.probes import eventually
from tests.fixtures.triton import write_repository
from tests.fixtures.triton_expected import expected_scores, expected_spans, expected_vector
from tests.integration.triton.observed import Observed

pytestmark = pytest.mark.integration
DEADLINE_S = 20.0
TEXTS = [f"Text {number} of Ada" for number in range(40)]
MODELS = ("embedder", "guard", "pii_tagger")


@dataclass
class Trials:
    """Remembers what the router tells."""

    answered: int = 0
    failed: int = 0
    dropped: int = 0
    differences: list[float] = field(default_factory=list)

    def candidate_answered(self, model: str, texts: int) -> None:
        self.answered += texts

    def candidate_failed(self, model: str, texts: int) -> None:
        self.failed += texts

    def shadow_compared(self, model: str, differences: Sequence[float]) -> None:
        self.differences += differences

    def shadow_dropped(self, model: str, texts: int) -> None:
        self.dropped += texts


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, parts_cache: Path) -> Iterator[TritonServer]:
    """A server with versions 1 and 2 of every model."""
    repository = write_repository(tmp_path_factory.mktemp("both"), serve=(1, 2))
    with TritonServer(repository, cache=parts_cache) as server:
        yield server


@contextmanager
def routed(server: TritonServer, route: Route, trials: Trials, candidate: str = "2", **settings: int) -> Iterator[VersionRouter]:
    seen = Observed()
    ones, others = (dict.fromkeys(MODELS, version) for version in ("1", candidate))
    with (
        TritonModels(server.endpoint, ClientSettings(cache_bytes_max=0, versions=ones)) as stable,
        TritonModels(server.endpoint, ClientSettings(cache_bytes_max=0, versions=others), seen) as tried,
    ):
        router = VersionRouter(stable, tried, dict.fromkeys(MODELS, route), trials, **settings)
        try:
            yield router
        finally:
            router.close()


def test_a_canary_answers_its_share_of_the_texts_and_the_stable_version_the_rest(both: TritonServer) -> None:
    trials = Trials()
    chosen = [takes_candidate(text, 300_000) for text in TEXTS]
    with routed(both, Route(RouteMode.CANARY, 300_000), trials) as router:
        scores = router.guard(TEXTS, DEADLINE_S)
        vectors = router.embed(TEXTS, DEADLINE_S)
        names = router.tag(TEXTS, DEADLINE_S)
        assert router.embed([], DEADLINE_S).shape == (0, 384)
    assert 0 < sum(chosen) < len(TEXTS)
    assert [score.version for score in scores] == ["2" if is_chosen else "1" for is_chosen in chosen]
    for text, is_chosen, score, vector, spans in zip(TEXTS, chosen, scores, vectors, names, strict=True):
        expected = expected_scores(text).injection
        assert score.injection == pytest.approx(1 - expected if is_chosen else expected, abs=1e-6)
        assert np.array_equal(vector, expected_vector(text) * (-1 if is_chosen else 1))
        assert [span.start for span in spans] == [span.start for span in expected_spans(text)]
        assert {span.entity for span in spans} == {"LOCATION" if is_chosen else "PERSON"}
    assert trials.answered == 3 * sum(chosen)


def test_the_same_key_gets_the_same_version_whatever_the_text(both: TritonServer) -> None:
    keys = [f"agent-{number % 4}" for number in range(len(TEXTS))]
    with routed(both, Route(RouteMode.CANARY, 500_000), Trials()) as router:
        versions = [score.version for score in router.guard(TEXTS, DEADLINE_S, keys)]
    assert versions == ["2" if takes_candidate(key, 500_000) else "1" for key in keys]
    assert set(versions) == {"1", "2"}


def test_a_canary_that_does_not_answer_is_stood_in_for(both: TritonServer) -> None:
    trials = Trials()
    with routed(both, Route(RouteMode.CANARY, PPM), trials, candidate="9") as router:
        assert router.guard(TEXTS, DEADLINE_S) == [expected_scores(text) for text in TEXTS]
    assert trials.failed == len(TEXTS)


def test_a_shadow_changes_no_answer_and_its_differences_are_told(both: TritonServer) -> None:
    trials = Trials()
    with routed(both, Route(RouteMode.SHADOW), trials) as router:
        assert router.guard(TEXTS, DEADLINE_S) == [expected_scores(text) for text in TEXTS]
        eventually(lambda: len(trials.differences) == len(TEXTS), "compared")
    expected = [
        max(abs(2 * score - 1) for score in (one.injection, one.jailbreak, one.toxicity)) for one in (expected_scores(text) for text in TEXTS)
    ]
    assert trials.differences == pytest.approx(expected, abs=1e-5)


def test_a_shadow_that_is_behind_drops_and_holds_nobody_up(both: TritonServer) -> None:
    trials = Trials()
    with routed(both, Route(RouteMode.SHADOW), trials, shadow_texts_max=50) as router:
        router.guard(["!slow 500", *TEXTS], DEADLINE_S)
        for _ in range(3):
            router.guard(TEXTS, DEADLINE_S)
    assert trials.dropped >= 2 * len(TEXTS)


def test_a_shadow_that_fails_is_told_and_changes_nothing(both: TritonServer) -> None:
    trials = Trials()
    with routed(both, Route(RouteMode.SHADOW), trials, candidate="9") as router:
        assert router.guard(TEXTS, DEADLINE_S) == [expected_scores(text) for text in TEXTS]
        eventually(lambda: trials.failed == len(TEXTS), "told")


def test_the_configuration_opens_a_candidate_and_counts_it(both: TritonServer) -> None:
    environment = {
        "HEADRACE_MODELS__URL": both.endpoint.url,
        "HEADRACE_MODELS__VERSIONS__GUARD": "1",
        "HEADRACE_MODELS__CANDIDATES__GUARD__VERSION": "2",
        "HEADRACE_MODELS__CANDIDATES__GUARD__MODE": "shadow",
    }
    config = load_config(Path("tests/house/data/empty.yaml"), environment).models
    assert config is not None
    telemetry = Telemetry()
    with open_models(config, telemetry) as models:
        for _ in range(2):
            assert models.guard(TEXTS, DEADLINE_S) == [expected_scores(text) for text in TEXTS]
        eventually(lambda: telemetry.snapshot().by("model_candidate_texts_total", trial="compared") == 2 * len(TEXTS), "compared")
    totals = telemetry.snapshot()
    assert totals.histograms["model_difference"][("guard",)][0] == 2 * len(TEXTS)
    assert totals.each("model_texts_total", "answer")["cached"] >= len(TEXTS)
    assert totals.by("model_texts_total", model="guard", answer="ok") == 2 * len(TEXTS)
