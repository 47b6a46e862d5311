"""The sink to Qdrant on the engine in process: what a slow, wrong or absent embedder does, what a replay costs, and who may open a collection."""

from __future__ import annotations

import json
import resource
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import qdrant_edge as edge
from numpy.typing import NDArray
from qdrant_client import QdrantClient
from qdrant_client import models as qdrant_models

from models.results import GuardScores, NameSpan
from models.router import PPM, Route, RouteMode, VersionRouter, takes_candidate
from models.spec import EMBEDDING_SIZE
from schemas.errors import ConfigError, FatalError, HeadraceError, RetryableError
from sinks.qdrant import PART_TEXTS, TOPIC, QdrantSink
from sinks.step_texts import TextRule
from sinks.vector_client import LocalBackend, ServerBackend
from sinks.vector_edge import EdgeBackend
from sinks.vectors import VECTOR_SIZE, StoredStep, VectorBackend, Where, WrongShape
from tests.fixtures.certificates import Certified, authority, certified
from tests.fixtures.embedder import embed
from tests.fixtures.outputs import START_MS, records
from tests.fixtures.qdrant_wire import API_KEY, qdrant_wire

DEADLINE_S = 10.0
RULE = TextRule({"reasoning": ("output",)})


class Model:
    """An embedder that counts, and fails when told to."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.deadlines: list[float] = []
        self.fails_at: int | None = None
        self.answer: Callable[[Sequence[str]], NDArray[np.float32]] = lambda texts: embed(texts, 1.0)

    def __call__(self, texts: Sequence[str], deadline_s: float, keys: Sequence[str] | None = None) -> NDArray[np.float32]:
        if self.fails_at == len(self.deadlines):
            self.fails_at = None
            raise RetryableError("the model is away", 10)
        self.texts += texts
        self.deadlines.append(deadline_s)
        return self.answer(texts)


class _Deaf:
    """Is told of the canary, and does nothing."""

    def candidate_answered(self, model: str, texts: int) -> None: ...
    def candidate_failed(self, model: str, texts: int) -> None: ...
    def shadow_compared(self, model: str, differences: Sequence[float]) -> None: ...
    def shadow_dropped(self, model: str, texts: int) -> None: ...


class _Version:
    """One version of the models; only the embedder is asked."""

    def __init__(self, asked: list[str]) -> None:
        self._asked = asked

    def embed(self, texts: Sequence[str], deadline_s: float, keys: Sequence[str] | None = None) -> NDArray[np.float32]:
        self._asked += texts
        return embed(texts, deadline_s)

    def guard(self, texts: Sequence[str], deadline_s: float, keys: Sequence[str] | None = None) -> list[GuardScores]:
        raise NotImplementedError

    def tag(self, texts: Sequence[str], deadline_s: float, keys: Sequence[str] | None = None) -> list[tuple[NameSpan, ...]]:
        raise NotImplementedError

    def side(self, model: str, key: str) -> str:
        raise NotImplementedError


def steps(count: int, first: int = 0) -> dict[str, pl.DataFrame]:
    """Gives so many events, each with a text of its own."""
    texts = [json.dumps(f"step number {number} of a plan that is long enough") for number in range(first, first + count)]
    frame = records(TOPIC, count, first=first).with_columns(pl.Series("output", texts), pl.lit("reasoning").alias("kind"))
    # A made id may look like personal data; these do not.
    return {TOPIC: frame.with_columns(pl.lit("s-1").alias("session_id"), pl.lit("x").alias("execution_id"))}


def made(folder: Path) -> EdgeBackend:
    backend = EdgeBackend(folder, "agent_steps")
    backend.prepare(DEADLINE_S)
    return backend


def test_the_length_of_a_vector_is_that_of_the_embedder() -> None:
    assert VECTOR_SIZE == EMBEDDING_SIZE


def test_a_replay_embeds_nothing_again(tmp_path: Path) -> None:
    model = Model()
    sink = QdrantSink(made(tmp_path), model, RULE)
    lane = sink.open_lane(0, 1, sink.begin())
    lane.write(steps(100), DEADLINE_S)
    embedded = len(model.texts)
    receipt = lane.write({TOPIC: pl.concat([steps(100)[TOPIC], steps(5, first=100)[TOPIC]])}, DEADLINE_S)
    lane.close()
    assert (embedded, len(model.texts)) == (100, 105)
    assert (receipt.written, receipt.skipped) == ({TOPIC: 5}, {TOPIC: 100})


def test_a_try_after_a_failure_goes_on_behind_what_is_there_and_counts_it_as_written(tmp_path: Path) -> None:
    model = Model()
    model.fails_at = 2
    sink = QdrantSink(made(tmp_path), model, RULE)
    lane = sink.open_lane(0, 1, b"")
    batch = steps(3 * PART_TEXTS)
    with pytest.raises(RetryableError, match="the model is away"):
        lane.write(batch, DEADLINE_S)
    receipt = lane.write(batch, DEADLINE_S)
    assert (receipt.written, receipt.skipped) == ({TOPIC: 3 * PART_TEXTS}, {TOPIC: 0})
    assert len(model.texts) == 3 * PART_TEXTS
    assert lane.write(batch, DEADLINE_S).skipped == {TOPIC: 3 * PART_TEXTS}
    lane.close()


def test_a_canary_embeds_what_an_agent_says_with_one_version_whatever_it_says(tmp_path: Path) -> None:
    agents = [f"agent {number}" for number in range(40)]
    said = [(agent, f"a long enough text number {number}") for number in range(3) for agent in agents]
    batch = {
        TOPIC: steps(len(said))[TOPIC].with_columns(
            pl.Series("agent_id", [agent for agent, _ in said]), pl.Series("output", [json.dumps(text) for _, text in said])
        )
    }
    asked: dict[str, list[str]] = {"stable": [], "candidate": []}
    stable, candidate = (_Version(texts) for texts in asked.values())
    router = VersionRouter(stable, candidate, {"embedder": Route(RouteMode.CANARY, PPM // 2)}, _Deaf())
    sink = QdrantSink(made(tmp_path), router.embed, RULE)
    lane = sink.open_lane(0, 1, b"")
    lane.write(batch, DEADLINE_S)
    lane.close()
    router.close()
    of_candidate = sorted(text for agent, text in said if takes_candidate(agent, PPM // 2))
    assert 0 < len(of_candidate) < len(said)
    assert sorted(asked["candidate"]) == of_candidate
    assert len(asked["stable"]) == len(said) - len(of_candidate)


def test_the_embedder_is_given_what_is_left_of_the_deadline_and_none_means_not_now(tmp_path: Path) -> None:
    model = Model()
    sink = QdrantSink(made(tmp_path), model, RULE)
    lane = sink.open_lane(0, 1, b"")
    lane.write(steps(2 * PART_TEXTS), DEADLINE_S)
    assert DEADLINE_S > model.deadlines[0] > model.deadlines[1] > 0
    with pytest.raises(RetryableError, match="deadline"):
        lane.write(steps(1, first=1_000), 0.0)
    lane.close()


@pytest.mark.parametrize(
    "answer",
    [
        lambda texts: np.zeros((len(texts), VECTOR_SIZE), np.float32),
        lambda texts: np.full((len(texts), VECTOR_SIZE), np.nan, np.float32),
        lambda texts: np.ones((len(texts) - 1, VECTOR_SIZE), np.float32),
        lambda texts: np.ones((len(texts), 3), np.float32),
        lambda texts: np.zeros((0, 0), np.float32),
    ],
    ids=["zero", "nan", "fewer", "shorter", "empty"],
)
def test_an_answer_that_can_be_none_is_not_written(tmp_path: Path, answer: Callable[[Sequence[str]], NDArray[np.float32]]) -> None:
    model = Model()
    model.answer = answer
    backend = made(tmp_path)
    lane = QdrantSink(backend, model, RULE).open_lane(0, 1, b"")
    with pytest.raises(RetryableError, match=r"float32\[3, 384\]"):
        lane.write(steps(3), DEADLINE_S)
    lane.close()
    store = backend.open(DEADLINE_S)
    assert store.count(DEADLINE_S) == 0
    store.close()


def test_what_seems_unmasked_is_counted_and_named_by_coordinates_and_the_rest_is_written(tmp_path: Path) -> None:
    batch = steps(3)
    leaking = pl.when(pl.int_range(pl.len()) == 1).then(pl.lit('"write to mia.li@example.com about it"')).otherwise("output").alias("output")
    frame = batch[TOPIC].with_columns(leaking)
    backend = made(tmp_path)
    lane = QdrantSink(backend, Model(), RULE).open_lane(0, 1, b"")
    receipt = lane.write({TOPIC: frame}, DEADLINE_S)
    lane.close()
    assert (receipt.written, receipt.left_out) == ({TOPIC: 2}, {TOPIC: {"unmasked": 1}})
    row = frame.row(1, named=True)
    assert [(one.topic, one.partition, one.offset) for one in receipt.refused] == [(row["topic"], row["partition"], row["offset"])]
    assert b"mia.li" not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_a_collection_that_is_missing_or_of_another_shape_is_a_matter_of_configuration(tmp_path: Path) -> None:
    for folder, size in (("small", 8), ("none", None)):
        if size is not None:
            config = edge.EdgeConfig(vectors=edge.EdgeVectorParams(size=size, distance=edge.Distance.Cosine))
            edge.EdgeShard.create(str(tmp_path / folder / "agent_steps"), config).close()
        sink = QdrantSink(EdgeBackend(tmp_path / folder, "agent_steps"), embed)
        with pytest.raises(ConfigError, match="collection"):
            sink.begin()
        with pytest.raises(FatalError, match="collection"):
            sink.open_lane(0, 1, b"")
    with pytest.raises(WrongShape, match="384 long"):
        EdgeBackend(tmp_path / "small", "agent_steps").prepare(DEADLINE_S)


def test_another_distance_or_a_missing_index_is_told_by_every_backend(tmp_path: Path) -> None:
    dot = qdrant_models.VectorParams(size=VECTOR_SIZE, distance=qdrant_models.Distance.DOT)
    cosine = qdrant_models.VectorParams(size=VECTOR_SIZE, distance=qdrant_models.Distance.COSINE)
    client = QdrantClient(path=str(tmp_path))
    client.create_collection("dot", vectors_config=dot)
    client.close()
    with pytest.raises(WrongShape, match="with dot"):
        LocalBackend(tmp_path, "dot").prepare(DEADLINE_S)
    with qdrant_wire() as port:
        client = QdrantClient(url="http://127.0.0.1", grpc_port=port, prefer_grpc=True, check_compatibility=False, headers={"api-key": API_KEY})
        client.create_collection("dot", vectors_config=dot)
        client.create_collection("bare", vectors_config=cosine)
        client.close()
        with pytest.raises(WrongShape, match="with dot"):
            ServerBackend("http://127.0.0.1", port, API_KEY, "dot").open(DEADLINE_S)
        bare = ServerBackend("http://127.0.0.1", port, API_KEY, "bare")
        with pytest.raises(WrongShape, match=r"no index of agent_id \(keyword\)"):
            bare.open(DEADLINE_S)
        assert len(bare.prepare(DEADLINE_S)) == 5
        assert bare.prepare(DEADLINE_S) == []
        bare.open(DEADLINE_S).close()
        with pytest.raises(FatalError, match=r"UNAUTHENTICATED.*qdrant.api_key"):
            ServerBackend("http://127.0.0.1", port, "another-key", "bare").open(DEADLINE_S)


def test_a_server_with_a_certificate_of_our_own_authority_is_spoken_to_over_tls(tmp_path: Path) -> None:
    """gRPC, as the sink writes; the authority of strangers, and nobody's, are refused, and so is a connection in the clear."""
    ours, strangers = authority(tmp_path, "ours"), authority(tmp_path, "strangers")
    proof = certified(tmp_path, "qdrant", "ours")
    point = StoredStep("ffffffff-0000-0000-0000-000000000000", np.ones(VECTOR_SIZE, dtype=np.float32), {})
    with qdrant_wire(proof) as port:
        backend = ServerBackend("https://127.0.0.1", port, API_KEY, "agent_steps", ours)
        backend.prepare(DEADLINE_S)
        store = backend.open(DEADLINE_S)
        store.put([point], DEADLINE_S)
        assert store.count(DEADLINE_S) == 1
        store.close()
        for url, root in (("https://127.0.0.1", strangers), ("https://127.0.0.1", None), ("http://127.0.0.1", ours)):
            with pytest.raises(RetryableError):
                ServerBackend(url, port, API_KEY, "agent_steps", root).open(2.0)


def test_http_over_tls_is_held_to_our_own_authority(tmp_path: Path) -> None:
    """The certificate of strangers ends the handshake; with ours the answer of what is no Qdrant comes through it."""
    ours, strangers = authority(tmp_path, "ours"), authority(tmp_path, "strangers")
    with not_qdrant(certified(tmp_path, "server", "ours")) as (port, asked):
        with pytest.raises(RetryableError):
            ServerBackend(f"https://127.0.0.1:{port}", None, API_KEY, "agent_steps", strangers).open(DEADLINE_S)
        assert asked == []
        with pytest.raises(HeadraceError):
            ServerBackend(f"https://127.0.0.1:{port}", None, API_KEY, "agent_steps", ours).open(DEADLINE_S)
        assert asked[0].startswith("/collections/agent_steps")


@contextmanager
def not_qdrant(proof: Certified) -> Iterator[tuple[int, list[str]]]:
    """Serves HTTPS on a free port and refuses everything; gives the port and the paths that were asked for."""
    asked: list[str] = []

    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(403)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(proof.chain, proof.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1], asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_certificate_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("hello")
    for name in ("no.pem", "absent.pem"):
        with pytest.raises(ConfigError, match=rf"{name}: no file of certificates in PEM .*check qdrant.root_certificate"):
            ServerBackend("https://127.0.0.1", 1, None, "agent_steps", tmp_path / name).open(DEADLINE_S)


@pytest.mark.parametrize("grpc_port", [1, None], ids=["grpc", "http"])
def test_a_server_that_is_not_there_is_retried(grpc_port: int | None) -> None:
    sink = QdrantSink(ServerBackend("http://127.0.0.1:1", grpc_port, None, "agent_steps"), embed)
    with pytest.raises(RetryableError, match=r"qdrant http://127.0.0.1:1: "):
        sink.begin()


def test_a_collection_is_held_by_one_process_which_is_named(tmp_path: Path) -> None:
    backend = made(tmp_path)
    held = backend.open(DEADLINE_S)
    code = f"from pathlib import Path; from sinks.vector_edge import EdgeBackend; EdgeBackend(Path({str(tmp_path)!r}), 'agent_steps').open(1.0)"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3])
    held.close()
    assert "RetryableError" in other.stderr
    assert "held by process" in other.stderr
    backend.open(DEADLINE_S).close()


def test_lanes_of_a_sink_share_the_collection_and_the_last_one_lets_it_go(tmp_path: Path) -> None:
    backend = made(tmp_path)
    sink = QdrantSink(backend, embed, RULE)
    lanes = [sink.open_lane(number, 2, sink.begin()) for number in range(2)]
    lanes[0].close()
    lanes[0].close()  # twice is once
    lanes[1].write(steps(1), DEADLINE_S)
    with pytest.raises(RetryableError):
        backend.open(DEADLINE_S)
    lanes[1].close()
    backend.open(DEADLINE_S).close()


def test_a_disk_without_room_is_retried_and_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    backend = made(tmp_path)
    store = backend.open(DEADLINE_S)
    vector = [1.0] + [0.0] * (VECTOR_SIZE - 1)

    acknowledged = []

    def fill(first: int, chars: int) -> None:
        for number in range(first, first + 100):
            store.put([StoredStep(f"{number:08}-0000-0000-0000-{part:012}", vector, {"text": "x" * chars}) for part in range(50)], DEADLINE_S)
            acknowledged.append(50)

    fill(0, 10)

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
    try:
        with pytest.raises(RetryableError, match="EFBIG"):
            fill(100, 20_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    store.put([StoredStep("ffffffff-0000-0000-0000-000000000000", vector, {})], DEADLINE_S)
    store.close()
    store = backend.open(DEADLINE_S)
    assert store.count(DEADLINE_S) >= sum(acknowledged) + 1 > 5_000
    store.close()


@pytest.fixture(params=["edge", "local", "server"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VectorBackend]:
    if request.param == "server":
        with qdrant_wire() as port:
            yield ServerBackend("http://127.0.0.1", port, API_KEY, "agent_steps")
        return
    yield EdgeBackend(tmp_path, "agent_steps") if request.param == "edge" else LocalBackend(tmp_path, "agent_steps")


def test_a_search_gives_the_nearest_first_within_its_filters(backend: VectorBackend) -> None:
    backend.prepare(DEADLINE_S)
    store = backend.open(DEADLINE_S)
    texts = ["book a train to Rome", "book a flight to Rome", "compare prices of shoes", "book a train to Rome at night"]
    vectors = embed(texts, 1.0).tolist()
    for number, (text, vector) in enumerate(zip(texts, vectors, strict=True)):
        payload = {"agent_id": f"a-{number % 2}", "kind": "reasoning" if number < 3 else "tool", "event_time": START_MS + number, "text": text}
        store.put([StoredStep(f"00000000-0000-0000-0000-{number:012}", vector, payload)], DEADLINE_S)

    def search(where: Where, limit: int = 10) -> list[str]:
        return [str(found.payload["text"]) for found in store.similar(vectors[0], where, limit, DEADLINE_S)]

    assert search(Where(), 2) == [texts[0], texts[3]]
    assert store.similar(vectors[0], Where(), 1, DEADLINE_S)[0].score == pytest.approx(1.0, abs=1e-5)
    assert search(Where(agent_id="a-1")) == [texts[3], texts[1]]
    assert search(Where(agent_id="a-1", kind="reasoning")) == [texts[1]]
    assert search(Where(from_ms=START_MS + 1, to_ms=START_MS + 3)) == [texts[1], texts[2]]
    assert search(Where(from_ms=START_MS + 4)) == []
    store.close()


@pytest.mark.parametrize("kind", [EdgeBackend, LocalBackend])
def test_steps_of_a_person_or_an_age_are_counted_and_taken_away(kind: type[EdgeBackend] | type[LocalBackend], tmp_path: Path) -> None:
    backend = kind(tmp_path / "vectors", "steps")
    backend.prepare(10)
    store = backend.open(10)
    points = [StoredStep(f"00000000-0000-0000-0000-{n:012x}", [1.0] * VECTOR_SIZE, {"user_id": f"u_{n % 2}", "event_time": n}) for n in range(10)]
    store.put(points, 10)
    assert [store.count(10, where) for where in (Where(), Where(user_id="u_1"), Where(to_ms=4), Where(user_id="u_1", to_ms=4))] == [10, 5, 4, 2]
    store.remove(Where(user_id="u_1"), 10)
    store.remove(Where(to_ms=4), 10)
    assert store.count(10) == 3
    store.close()
