"""What ``headrace models build`` writes is served by a real Triton: the same numbers as in process, and sane answers to odd texts."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as grpc
from tritonclient.utils import InferenceServerException

from models.build.repository import Built
from models.build.texts import sample
from models.client import TritonModels
from models.front.fronts import FRONTS, Front
from models.front.rows import onnx_encoder
from models.front.settings import FILE, read_settings
from models.front.tokens import TextTokenizer
from streams.embedded.triton import TritonServer

ODD = ["", " \n\t", "\u200b", "a" * 100_000, "word. " * 5_000, "\x00\x01", "\U0001f469\u200d\U0001f4bb 北京 Zoe\u0301"]
NAMES = ("embedder", "guard", "pii_tagger")
_DEADLINE_S = 60.0


@pytest.fixture(scope="module")
def server(built_models: Sequence[Built], parts_cache: Path) -> Iterator[TritonServer]:
    with TritonServer(built_models[0].folder.parents[1], cache=parts_cache) as running:
        yield running


@pytest.fixture
def client(server: TritonServer) -> Iterator[TritonModels]:
    models = TritonModels(server.endpoint)
    yield models
    models.close()


@pytest.fixture
def raw(server: TritonServer) -> Iterator[grpc.InferenceServerClient]:
    with grpc.InferenceServerClient(server.endpoint.url) as asking:
        yield asking


def in_process(built: Built) -> Front:
    """Gives the front of a built model in this process."""
    settings = read_settings(built.folder / FILE)
    return FRONTS[built.model](TextTokenizer(built.folder / "tokenizer.json"), onnx_encoder(built.folder, settings, 1), settings)


def asked(raw: grpc.InferenceServerClient, model: str, rows: Sequence[bytes]) -> grpc.InferResult:
    """Sends bytes as they are, which the client of the pipeline would never send."""
    given = grpc.InferInput("TEXT", [len(rows), 1], "BYTES")
    given.set_data_from_numpy(np.array([[row] for row in rows], object))
    return raw.infer(model, [given], client_timeout=_DEADLINE_S)


@pytest.mark.parametrize("number", range(len(NAMES)), ids=NAMES)
def test_triton_answers_what_the_front_gives_in_process(built_models: Sequence[Built], raw: grpc.InferenceServerClient, number: int) -> None:
    texts = [one.text for one in sample(5, 24)] + ODD
    expected = in_process(built_models[number])(texts)
    found = asked(raw, built_models[number].model, [text.encode() for text in texts])
    for name, rows in expected.items():
        if rows.dtype == np.float32:
            np.testing.assert_allclose(found.as_numpy(name), rows, atol=1e-4)
        else:
            for one, two in zip(found.as_numpy(name)[:, 0], rows[:, 0], strict=True):
                assert [row[:2] for row in json.loads(one)] == [row[:2] for row in json.loads(two)]


def test_the_client_accepts_every_answer(client: TritonModels) -> None:
    texts = [one.text for one in sample(6, 8)] + ODD
    assert client.embed(texts, _DEADLINE_S).shape == (len(texts), 384)
    assert [len(one.windows) > 1 for one in client.guard(texts, _DEADLINE_S)][-3:] == [True, False, False]
    assert len(client.tag(texts, _DEADLINE_S)) == len(texts)


@pytest.mark.parametrize("model", NAMES)
@pytest.mark.parametrize(
    ("row", "told"),
    [
        (b"secret \xff text", "TEXT, row 1: must be UTF-8, the byte at offset 7 is not"),
        (b"secret " * 200_000, "TEXT, row 1: 1400000 bytes, at most 1048576 are read"),
    ],
    ids=["no UTF-8", "too long"],
)
def test_a_text_that_cannot_be_read_is_refused_and_not_quoted(raw: grpc.InferenceServerClient, model: str, row: bytes, told: str) -> None:
    with pytest.raises(InferenceServerException) as refused:
        asked(raw, model, [b"fine", row])
    assert told in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_request_that_cannot_be_read_fails_alone(server: TritonServer) -> None:
    told: list[str] = []

    def ask(rows: Sequence[bytes]) -> None:
        with grpc.InferenceServerClient(server.endpoint.url) as asking:
            try:
                told.append(str(asked(asking, "guard", rows).as_numpy("SCORES").shape))
            except InferenceServerException as refused:
                told.append(str(refused))

    threads = [threading.Thread(target=ask, args=([b"\xff"] if number % 4 == 0 else [b"fine", b"too"],)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(answer == "(2, 3)" for answer in told) == 18
    assert sum("must be UTF-8" in answer for answer in told) == 6


def test_neither_cache_nor_log_of_the_server_holds_a_text(server: TritonServer, client: TritonModels, raw: grpc.InferenceServerClient) -> None:
    secret = "Wilhelmina Throckmorton of Ashby-de-la-Zouch"
    client.tag([secret, secret], _DEADLINE_S)
    assert "Throckmorton" not in server.log.read_text(errors="replace")
    for name in NAMES:
        assert not raw.get_model_config(name).config.response_cache.enable
