"""Models are changed while requests go on."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from models.client import ClientSettings, TritonModels
from models.control import ModelControl
from models.endpoint import Endpoint
from models.failures import FailureKind, ModelFailure
from models.results import GuardScores
from schemas.errors import ConfigError, RetryableError
from streams.embedded.triton import TritonServer
from tests.fixtures.triton_expected import expected_scores

pytestmark = pytest.mark.integration
LOAD_S = 30.0


@pytest.fixture
def control(own_triton: TritonServer) -> ModelControl:
    return ModelControl(own_triton.endpoint)


def pinned(server: TritonServer, version: str) -> TritonModels:
    return TritonModels(server.endpoint, ClientSettings(cache_bytes_max=0, versions={"guard": version}))


def turned(scores: GuardScores) -> float:
    """What version 2 gives where version 1 gives these."""
    return 1 - scores.injection


def test_a_second_version_is_served_beside_the_first_and_each_is_asked_by_its_number(own_triton: TritonServer, control: ModelControl) -> None:
    assert control.versions("guard") == ("1",)
    assert control.load("guard", LOAD_S, versions=[1, 2]) == ("1", "2")
    expected = expected_scores("text")
    with pinned(own_triton, "1") as one, pinned(own_triton, "2") as two, pinned(own_triton, "") as newest:
        assert one.guard(["text"], 10.0) == [expected]
        assert two.guard(["text"], 10.0)[0].injection == pytest.approx(turned(expected), abs=1e-6)
        assert newest.guard(["text"], 10.0) == two.guard(["text"], 10.0)
        assert newest.guard(["text"], 10.0)[0].version == "2"


def test_requests_go_on_while_versions_come_and_go(own_triton: TritonServer, control: ModelControl) -> None:
    ended = threading.Event()
    wrong: list[str] = []
    count = 0

    def ask(models: TritonModels) -> None:
        nonlocal count
        while not ended.is_set():
            text = f"text {count}"
            try:
                if models.guard([text], 10.0) != [expected_scores(text)]:
                    wrong.append("another version's answer")
            except ModelFailure as failure:
                wrong.append(str(failure))
            count += 1

    with pinned(own_triton, "1") as models:
        asking = threading.Thread(target=ask, args=(models,))
        asking.start()
        for versions in ([1, 2], [1], [2, 1]):
            control.load("guard", LOAD_S, versions)
        ended.set()
        asking.join()
    assert wrong == []
    assert count > 10


def test_a_cached_result_is_not_given_for_another_version(own_triton: TritonServer, control: ModelControl) -> None:
    with TritonModels(own_triton.endpoint, ClientSettings(version_trust_s=0.0)) as models:
        first = models.guard(["text"], 10.0)
        control.load("guard", LOAD_S, versions=[2])
        second = models.guard(["text"], 10.0)
    assert first == [expected_scores("text")]
    assert second[0].injection == pytest.approx(turned(first[0]), abs=1e-6)


def test_a_cached_result_is_not_given_for_another_build_of_the_same_version(own_triton: TritonServer, control: ModelControl, tmp_path: Path) -> None:
    """Each answer says which build gave it: the first one after a rebuild makes what the old build said worthless."""
    with TritonModels(own_triton.endpoint, ClientSettings(version_trust_s=60.0)) as models:
        assert models.guard(["text"], 10.0) == [expected_scores("text")]
        model = tmp_path / "repository" / "guard" / "1" / "model.py"
        model.write_text(model.read_text().replace("scores if self.version == 1 else 1 - scores", "1 - scores"))
        control.load("guard", LOAD_S, versions=[1])
        assert models.guard(["another"], 10.0)[0].injection == pytest.approx(turned(expected_scores("another")), abs=1e-6)
        assert models.guard(["text"], 10.0)[0].injection == pytest.approx(turned(expected_scores("text")), abs=1e-6)


def test_a_version_that_does_not_load_leaves_the_old_one_serving(own_triton: TritonServer, control: ModelControl, tmp_path: Path) -> None:
    (tmp_path / "repository" / "guard" / "2" / "model.py").write_text("raise RuntimeError('broken on purpose')\n")
    with pytest.raises(ConfigError, match=r"(?s)guard was not loaded.*broken on purpose"):
        control.load("guard", LOAD_S, versions=[1, 2])
    with pinned(own_triton, "1") as models:
        assert models.guard(["text"], 10.0) == [expected_scores("text")]


def test_a_version_that_is_not_there_is_named(control: ModelControl) -> None:
    with pytest.raises(ConfigError, match=r"guard: 7 is not in the repository, served now: 1; add the folder guard/7"):
        control.load("guard", LOAD_S, versions=[1, 7])
    with pytest.raises(ConfigError, match="model nothing was not loaded"):
        control.load("nothing", LOAD_S)


def test_an_unloaded_model_is_away_until_it_is_loaded_again(own_triton: TritonServer, control: ModelControl) -> None:
    with pinned(own_triton, "") as models:
        control.unload("guard", LOAD_S)
        assert not control.ready(["guard"])
        with pytest.raises(ModelFailure) as caught:
            models.guard(["text"], 5.0)
        assert caught.value.kind is FailureKind.AWAY
        assert control.load("guard", LOAD_S) == ("1",)
        assert models.guard(["text"], 10.0) == [expected_scores("text")]


def test_a_server_that_is_away_is_told() -> None:
    control = ModelControl(Endpoint("127.0.0.1:1"))
    assert not control.live()
    with pytest.raises(RetryableError, match=r"Triton at 127\.0\.0\.1:1 does not answer"):
        control.index()
