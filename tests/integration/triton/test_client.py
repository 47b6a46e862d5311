"""The client against a real server: everyone gets their own answers, whatever the server, the models and the other callers do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from models.breaker import BreakerState
from models.client import ClientSettings, TritonModels
from models.dispatch import DispatchSettings
from models.failures import FailureKind, ModelFailure
from models.results import NameSpan
from streams.embedded.triton import TritonServer
from tests.fixtures.probes import eventually
from tests.fixtures.triton_expected import expected_scores, expected_spans, expected_vector
from tests.integration.triton.observed import Observed

pytestmark = pytest.mark.integration
DEADLINE_S = 20.0
NO_CACHE = ClientSettings(cache_bytes_max=0)
METHODS = ("embed", "guard", "tag")


@pytest.fixture
def models(triton: TritonServer) -> Iterator[TritonModels]:
    with TritonModels(triton.endpoint) as client:
        yield client


def tried(call: Callable[[], object]) -> ModelFailure | None:
    try:
        call()
    except ModelFailure as failure:
        return failure
    return None


def test_each_text_gets_its_own_answer_in_its_place(models: TritonModels) -> None:
    texts = [f"Text {number} of Ada" for number in range(150)] + ["", "Text 3 of Ada", "naïve Ünal 🦜 Émile", "nul \0 Bob", "x" * 5_000]
    assert np.array_equal(models.embed(texts, DEADLINE_S), np.array([expected_vector(text) for text in texts]))
    assert models.guard(texts, DEADLINE_S) == [expected_scores(text) for text in texts]
    assert models.tag(texts, DEADLINE_S) == [expected_spans(text) for text in texts]
    assert models.embed([], DEADLINE_S).shape == (0, 384)
    assert models.tag([], DEADLINE_S) == []


def test_offsets_count_characters_even_where_a_character_cannot_be_sent(models: TritonModels) -> None:
    assert models.tag(["\ud800 🦜 Bob"], DEADLINE_S) == [(NameSpan(4, 7, "PERSON", 0.9),)]


def test_sixty_four_callers_share_batches_and_get_their_own_answers(triton: TritonServer) -> None:
    seen = Observed()
    with TritonModels(triton.endpoint, NO_CACHE, seen) as models, ThreadPoolExecutor(64) as callers:

        def ask(caller: int) -> bool:
            texts = [f"caller {caller} says {number}" for number in range(1 + caller % 5)]
            return all(models.guard(texts, DEADLINE_S) == [expected_scores(text) for text in texts] for _ in range(10))

        assert all(callers.map(ask, range(64)))
    assert sum(seen.answered) == 10 * sum(1 + caller % 5 for caller in range(64))
    assert max(seen.answered) > 5, "texts of several callers in one batch"
    assert len(seen.answered) < 640 / 2
    assert max(seen.answered) <= 64


@pytest.mark.parametrize("order", ["!fail", "!nan", "!shape", "!empty", "!range"])
@pytest.mark.parametrize("method", METHODS)
def test_a_model_that_answers_wrongly_is_a_failure_for_now(models: TritonModels, method: str, order: str) -> None:
    ask: Callable[[list[str], float], Any] = getattr(models, method)
    with pytest.raises(ModelFailure) as caught:
        ask([f"{order} 0 of Mr. Canary", "another Canary"], DEADLINE_S)
    assert caught.value.kind is (FailureKind.REFUSED if order == "!fail" else FailureKind.INVALID)
    assert caught.value.retry_after_ms > 0
    assert "Canary" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert len(ask(["fine"], DEADLINE_S)) == 1, "and the next call is answered"


@pytest.mark.parametrize("method", ["guard", "tag"])
def test_offsets_outside_of_the_text_are_refused(models: TritonModels, method: str) -> None:
    failure = tried(lambda: getattr(models, method)(["!offsets"], DEADLINE_S))
    assert failure is not None
    assert failure.kind is FailureKind.INVALID


def test_a_failing_models_words_reach_no_log(triton: TritonServer, models: TritonModels) -> None:
    for method in METHODS:
        assert tried(lambda method=method: getattr(models, method)(["!fail Canary"], DEADLINE_S)) is not None
    log = triton.log.read_text()
    assert "Started GRPCInferenceService" in log
    assert "Canary" not in log


def test_one_callers_text_that_a_model_fails_on_does_not_stop_the_others(triton: TritonServer) -> None:
    seen = Observed()
    with TritonModels(triton.endpoint, NO_CACHE, seen) as models, ThreadPoolExecutor(16) as callers:
        # Both slots are taken, so that what comes meanwhile shares a batch.
        holding = [callers.submit(models.guard, [f"!slow 400 {number}"], DEADLINE_S) for number in range(2)]
        eventually(lambda: models.in_flight_texts("guard") == 2, "both slots taken")
        failing = callers.submit(tried, lambda: models.guard(["!fail", "of the same caller"], DEADLINE_S))
        others = [callers.submit(models.guard, [f"other {number}"], DEADLINE_S) for number in range(8)]
        assert [other.result() for other in others] == [[expected_scores(f"other {number}")] for number in range(8)]
        failure = failing.result()
        assert all(one.result() for one in holding)
    assert failure is not None
    assert failure.kind is FailureKind.REFUSED
    assert ("guard", "", "refused", 10) in seen.batches, "they had shared a batch"


def test_a_deadline_is_kept_and_a_slow_answer_does_not_stop_what_follows(triton: TritonServer) -> None:
    with TritonModels(triton.endpoint, NO_CACHE) as models:
        began = time.monotonic()
        failure = tried(lambda: models.guard(["!slow 3000"], 0.3))
        taken = time.monotonic() - began
        assert failure is not None
        assert failure.kind is FailureKind.SLOW
        assert 0.3 <= taken < 1.0
        assert models.guard(["next"], DEADLINE_S) == [expected_scores("next")]


def test_a_caller_with_a_short_deadline_does_not_cut_off_its_batch_mates(triton: TritonServer) -> None:
    with TritonModels(triton.endpoint, NO_CACHE) as models, ThreadPoolExecutor(4) as callers:
        holding = [callers.submit(models.guard, [f"!slow 300 {number}"], DEADLINE_S) for number in range(2)]
        eventually(lambda: models.in_flight_texts("guard") == 2, "both slots taken")
        patient = callers.submit(models.guard, ["!slow 600"], DEADLINE_S)
        hasty = callers.submit(tried, lambda: models.guard(["hasty"], 0.5))
        failure = hasty.result()
        assert failure is not None
        assert failure.kind is FailureKind.SLOW
        assert patient.result() == [expected_scores("!slow 600")]
        assert all(one.result() for one in holding)


def test_what_is_in_flight_is_bounded_and_callers_wait_for_room(triton: TritonServer) -> None:
    seen = Observed()
    held: list[int] = []
    bounded = ClientSettings(cache_bytes_max=0, dispatch=DispatchSettings(in_flight_texts_max=100, in_flight_bytes_max=4_000))
    with TritonModels(triton.endpoint, bounded, seen) as models, ThreadPoolExecutor(8) as callers:
        seen.on_batch = lambda: held.append(models.in_flight_texts("guard"))
        texts = [f"{number:030d}" for number in range(800)]
        scores = list(callers.map(lambda caller: models.guard(texts[caller * 100 : caller * 100 + 100], DEADLINE_S), range(8)))
    assert [score for each in scores for score in each] == [expected_scores(text) for text in texts]
    assert 60 < max(held) <= 100


def test_a_result_is_remembered_and_a_failure_is_not(triton: TritonServer) -> None:
    seen = Observed()
    with TritonModels(triton.endpoint, observer=seen) as models:
        first = models.tag(["Ada", "Bob"], DEADLINE_S)
        assert models.tag(["Bob", "Ada", "Bob"], DEADLINE_S) == [first[1], first[0], first[1]]
        assert (len(seen.answered), seen.hits, seen.misses) == (1, 2, 2)
        for _ in range(2):
            assert tried(lambda: models.tag(["!fail"], DEADLINE_S)) is not None
        assert [outcome for _, _, outcome, _ in seen.batches].count("refused") == 2
        assert models.cache_bytes > 0


def test_a_server_that_is_killed_is_away_then_not_asked_and_found_again(own_triton: TritonServer) -> None:
    seen = Observed()
    settings = ClientSettings(dispatch=DispatchSettings(failures_max=2, open_s=0.4))
    with TritonModels(own_triton.endpoint, settings, seen) as models:
        assert models.guard(["before"], DEADLINE_S) == [expected_scores("before")]
        own_triton.kill()
        kinds = [failure.kind for number in range(2) if (failure := tried(lambda n=number: models.guard([f"away {n}"], 5.0)))]
        assert kinds == [FailureKind.AWAY] * 2
        assert seen.sent_again >= 2, "within the deadline it was tried again"
        began = time.monotonic()
        failure = tried(lambda: models.guard(["open"], 5.0))
        assert failure is not None
        assert failure.kind is FailureKind.OPEN
        assert 0 < failure.retry_after_ms <= 400
        assert time.monotonic() - began < 0.2
        own_triton.restart()
        eventually(lambda: tried(lambda: models.guard(["after"], 5.0)) is None, "answered again")
        assert models.guard(["after"], DEADLINE_S) == [expected_scores("after")]
    assert seen.breaker[0] is BreakerState.OPEN
    assert seen.breaker[-1] is BreakerState.CLOSED


def test_a_kill_under_load_gives_right_answers_or_failures_and_never_hangs(own_triton: TritonServer) -> None:
    outcomes: list[str] = []
    with TritonModels(own_triton.endpoint, NO_CACHE) as models, ThreadPoolExecutor(9) as callers:

        def ask(caller: int) -> None:
            for number in range(60):
                text = f"caller {caller} says {number}"
                try:
                    assert models.guard([text], 2.0) == [expected_scores(text)]
                    outcomes.append("ok")
                except ModelFailure as failure:
                    outcomes.append(failure.kind.value)

        asking = [callers.submit(ask, caller) for caller in range(8)]
        eventually(lambda: len(outcomes) > 40, "load")
        own_triton.kill()
        for one in asking:
            one.result(timeout=60)
        own_triton.restart()
        eventually(lambda: tried(lambda: models.guard(["after"], 5.0)) is None, "answered again")
        assert models.in_flight_texts("guard") == 0
    assert len(outcomes) == 480
    assert {"ok", "away"} <= set(outcomes) <= {"ok", "away", "slow", "open"}


def test_a_closed_client_fails_at_once_and_leaves_no_caller_waiting(triton: TritonServer) -> None:
    models = TritonModels(triton.endpoint, NO_CACHE)
    with ThreadPoolExecutor(1) as callers:
        waiting = callers.submit(tried, lambda: models.guard(["!slow 1500"], DEADLINE_S))
        eventually(lambda: models.in_flight_texts("guard") == 1, "under way")
        models.close()
        failure = waiting.result(timeout=1.0)
    assert failure is not None
    assert failure.kind is FailureKind.AWAY
    with pytest.raises(ModelFailure, match="closed"):
        models.guard(["x"], 1.0)


def test_many_clients_of_one_process_do_not_hold_each_other_up(triton: TritonServer) -> None:
    """With grpc.aio underneath, several event loops in one process sometimes hung. What is rare may pass here; what is common does not."""
    clients = [TritonModels(triton.endpoint, NO_CACHE) for _ in range(4)]

    def ask(number: int) -> bool:
        texts = [f"client {number} says {count}" for count in range(400)]
        return all(clients[number % 4].guard([text], DEADLINE_S) == [expected_scores(text)] for text in texts)

    with ThreadPoolExecutor(8) as callers:
        assert all(callers.map(ask, range(8)))
    for client in clients:
        client.close()
