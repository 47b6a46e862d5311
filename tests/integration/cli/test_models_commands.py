"""``headrace models serve`` and ``headrace score`` as people meet them: real commands, a real Triton."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from models.client import TritonModels
from models.endpoint import Endpoint
from streams.embedded.ports import accepts
from streams.embedded.triton import TritonServer
from tests.fixtures.probes import eventually
from tests.fixtures.triton import write_repository
from tests.fixtures.triton_expected import expected_scores, expected_spans

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[3]


def environment() -> dict[str, str]:
    outside = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    return {**outside, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def folder(tmp_path: Path, parts_cache: Path) -> Path:
    """A working directory with the installed Triton and a repository in it."""
    (tmp_path / ".headrace").mkdir()
    (tmp_path / ".headrace" / "triton").symlink_to(parts_cache / "triton")
    write_repository(tmp_path / "repository")
    return tmp_path


def headrace(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "streams.cli.main", *arguments]
    return subprocess.run(argv, cwd=folder, env=environment(), capture_output=True, text=True, timeout=120, check=False)


@contextmanager
def serving(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Runs ``models serve`` and gives it with its gRPC address."""
    argv = [sys.executable, "-m", "streams.cli.main", "models", "serve", "--repository", "repository", "--grpc-port", "0", "--metrics-port", "0"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(argv, cwd=folder, env=environment(), text=True, **pipes) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            found = re.search(r"models are ready: gRPC (\S+:\d+), metrics", line)
            assert found is not None, line
            yield server, found[1]
        finally:
            server.kill()


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_serve_answers_until_it_is_told_to_stop_and_models_are_changed_meanwhile(folder: Path) -> None:
    with serving(folder) as (server, url):
        with TritonModels(Endpoint(url)) as models:
            assert models.guard(["text"], 10.0) == [expected_scores("text")]
        assert headrace(folder, "models", "load", "guard", "--version", "1", "--version", "2", "--url", url).stdout == "guard: version 1, 2 answers\n"
        assert headrace(folder, "models", "unload", "embedder", "--url", url).returncode == 0
        status = headrace(folder, "models", "status", "--url", url).stdout
        embedder, *others = (line.split()[:3] for line in status.splitlines())
        assert embedder in (["embedder", "1", "UNAVAILABLE"], ["embedder", "1", "UNLOADING"])  # Triton frees it in its own time
        assert others == [
            ["guard", "1", "READY"],
            ["guard", "2", "READY"],
            ["pii_tagger", "1", "READY"],
        ]
        server.send_signal(signal.SIGTERM)
        _, told = server.communicate(timeout=30)
        assert server.returncode == 0
        assert told.endswith("stopping Triton\n")
    assert not accepts(int(url.rpartition(":")[2]))


def test_serve_says_which_model_does_not_load(folder: Path) -> None:
    (folder / "repository" / "guard" / "1" / "model.py").write_text("raise RuntimeError('no weights')\n")
    done = headrace(folder, "models", "serve", "--repository", "repository", "--grpc-port", "0", "--metrics-port", "0")
    assert done.returncode == 2
    assert "Triton: model guard is not ready: Internal: RuntimeError: no weights" in done.stderr
    assert "Traceback" not in done.stderr


def test_serve_ends_when_its_server_ends(folder: Path) -> None:
    with serving(folder) as (server, url):
        (pid,) = [
            int(path.parent.name)
            for path in Path("/proc").glob("[0-9]*/cmdline")
            if path.parent.name != str(server.pid) and f"--grpc-port={url.rpartition(':')[2]}".encode() in path.read_bytes().split(b"\0")
        ]
        os.kill(pid, signal.SIGKILL)
        _, told = server.communicate(timeout=30)
    assert server.returncode == 1
    assert "Triton ended by itself" in told


def test_score_adds_scores_and_keeps_every_other_key(folder: Path, triton: TritonServer) -> None:
    given = [
        {"text": "Ada met Bob", "id": 12_345_678_901_234_567_890, "nested": {"a": [1, None, "ü"]}},
        {"scores": "old", "text": ""},
        {"text": "half a pair \ud800 of Eve"},
        *({"text": f"line {number}", "number": number} for number in range(1_200)),
    ]
    (folder / "in.jsonl").write_text("\n\n".join(map(json.dumps, given)) + "\n", encoding="utf-8")
    done = headrace(folder, "score", "--model", "guard", "--input", "in.jsonl", "--output", "out.jsonl", "--url", triton.endpoint.url)
    assert done.returncode == 0, done.stderr
    assert "1,203 lines -> out.jsonl" in done.stderr
    found = lines(folder / "out.jsonl")
    expected = [expected_scores(str(line["text"]).replace("\ud800", "?")) for line in given]
    assert found == [
        {**line, "scores": {"injection": score.injection, "jailbreak": score.jailbreak, "toxicity": score.toxicity}}
        for line, score in zip(given, expected, strict=True)
    ]
    assert list(folder.glob("*.part")) == []


def test_score_starts_a_server_where_none_is_named(folder: Path) -> None:
    (folder / "in.jsonl").write_text('{"text": "Ada met Bob in May", "id": 1}\n')
    done = headrace(folder, "score", "--model", "pii_tagger", "--input", "in.jsonl", "--output", "out.jsonl", "--repository", "repository")
    assert done.returncode == 0, done.stderr
    (line,) = lines(folder / "out.jsonl")
    assert line["id"] == 1
    assert line["spans"] == [{"start": s.start, "end": s.end, "entity": s.entity, "score": s.score} for s in expected_spans("Ada met Bob in May")]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ('{"text": "Canary', "line 3: one JSON object is required, this cannot be read from column 10"),
        ('["Canary"]', "line 3: one JSON object is required, list came"),
        ('{"body": "Canary"}', "line 3: a `text` that is a string is required, none came"),
        ('{"text": ["Canary"]}', "line 3: a `text` that is a string is required, list came"),
        ("[" * 100_000, "line 3: one JSON object is required"),
    ],
)
def test_a_wrong_line_is_named_by_its_number_and_not_quoted(folder: Path, triton: TritonServer, wrong: str, says: str) -> None:
    (folder / "in.jsonl").write_text('{"text": "fine"}\n\n' + wrong + "\n")
    done = headrace(folder, "score", "--model", "guard", "--input", "in.jsonl", "--output", "out.jsonl", "--url", triton.endpoint.url)
    assert done.returncode == 2
    assert f"in.jsonl, {says}" in done.stderr
    assert "Canary" not in done.stderr
    assert sorted(path.name for path in folder.glob("out*")) == []


def test_bytes_that_are_no_text_are_named_by_their_line(folder: Path, triton: TritonServer) -> None:
    (folder / "in.jsonl").write_bytes(b'{"text": "fine"}\n{"text": "\xff"}\n')
    done = headrace(folder, "score", "--model", "guard", "--input", "in.jsonl", "--output", "out.jsonl", "--url", triton.endpoint.url)
    assert done.returncode == 2
    assert "in.jsonl, line 2: UTF-8 is required, byte 11 is not" in done.stderr


def test_a_text_that_the_model_fails_on_ends_the_command_without_quoting_it(folder: Path, triton: TritonServer) -> None:
    (folder / "in.jsonl").write_text('{"text": "!fail Canary"}\n')
    done = headrace(folder, "score", "--model", "guard", "--input", "in.jsonl", "--output", "out.jsonl", "--url", triton.endpoint.url)
    assert done.returncode == 1
    assert "in.jsonl, lines 1 to 1: model guard failed on a batch" in done.stderr
    assert "Canary" not in done.stderr
    assert not (folder / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["models", "status"], "no server is named; give --url HOST:PORT or set models.url"),
        (["models", "status", "--url", "http://x:8001/"], "--url: host:port without a scheme is required"),
        (["models", "serve"], "holds no model (no */config.pbtxt); build one with `headrace models build --target cpu`"),
        (["models", "bench"], ".headrace/models/cpu: a model is required and not there; run `headrace models build`"),
        (["score", "--model", "guard", "--input", "a.jsonl", "--output", "a.jsonl"], "--output must be another file"),
        (["score", "--model", "guard", "--input", "a.jsonl", "--output", "b.jsonl"], "--input a.jsonl: cannot be read"),
        (["score", "--model", "embedder", "--input", "a.jsonl", "--output", "b.jsonl"], "Invalid value for '--model'"),
    ],
)
def test_a_wrong_command_line_is_status_2(folder: Path, arguments: list[str], says: str) -> None:
    done = headrace(folder, *arguments)
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_that_is_away_is_status_1(folder: Path) -> None:
    done = headrace(folder, "models", "status", "--url", "127.0.0.1:1")
    assert done.returncode == 1
    assert "Triton at 127.0.0.1:1 does not answer" in done.stderr


def test_a_server_that_goes_is_seen(own_triton: TritonServer, folder: Path) -> None:
    assert headrace(folder, "models", "status", "--url", own_triton.endpoint.url).returncode == 0
    own_triton.kill()
    eventually(lambda: headrace(folder, "models", "status", "--url", own_triton.endpoint.url).returncode == 1, "told")
