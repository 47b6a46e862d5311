"""The embedded Triton is a real one: on the loopback interface only, gone with its parent, no text left behind, and it says which model failed."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from models.client import TritonModels
from models.control import ModelControl
from models.spec import MODELS
from schemas.errors import ConfigError
from streams.embedded.ports import LOOPBACK, accepts
from streams.embedded.triton import TritonServer
from streams.embedded.triton_install import missing_for_triton
from tests.fixtures.probes import eventually, exists, listening
from tests.fixtures.triton import write_repository

pytestmark = pytest.mark.integration
SHARED_MEMORY = Path("/dev/shm")


def regions(server: TritonServer) -> list[Path]:
    return list(SHARED_MEMORY.glob(f"headrace_triton_{server.grpc_port}_*"))


def test_it_listens_on_the_loopback_address_only_and_shows_metrics(triton: TritonServer) -> None:
    assert triton.pid is not None
    # gRPC opens a socket for both families, bound to the IPv4 loopback address in its IPv6 form.
    found = {(address.replace("::ffff:7f00:1", LOOPBACK), port) for address, port in listening(triton.pid)}
    assert found == {(LOOPBACK, triton.grpc_port), (LOOPBACK, triton.metrics_port)}
    with urllib.request.urlopen(triton.metrics_url, timeout=5) as page:
        assert b"nv_inference_request_success" in page.read()


def test_every_model_of_the_repository_is_ready_when_start_returns(triton: TritonServer) -> None:
    assert {model.name for model in ModelControl(triton.endpoint).index() if model.ready} == {spec.name for spec in MODELS}


def test_no_shared_memory_is_left_after_a_kill_or_a_stop(own_triton: TritonServer) -> None:
    with TritonModels(own_triton.endpoint) as models:
        models.tag(["Ada Lovelace"], 10.0)
    assert regions(own_triton) != []
    own_triton.kill()
    assert regions(own_triton) == []
    own_triton.start()
    assert regions(own_triton) != []
    own_triton.stop()
    assert regions(own_triton) == []


def test_the_server_and_its_models_die_when_the_parent_is_killed(tmp_path: Path, parts_cache: Path, pytestconfig: pytest.Config) -> None:
    repository = write_repository(tmp_path / "repository")
    program = (
        "import json, signal, sys; from pathlib import Path; from streams.embedded.child import descendants\n"
        "from streams.embedded.triton import TritonServer\n"
        "with TritonServer(Path(sys.argv[1]), Path(sys.argv[2]), cache=Path(sys.argv[3])) as server:\n"
        "    print(json.dumps([server.grpc_port, server.pid, *descendants(server.pid)]), flush=True); signal.pause()"
    )
    argv = [sys.executable, "-c", program, str(repository), str(tmp_path / "triton"), str(parts_cache)]
    with subprocess.Popen(argv, cwd=pytestconfig.rootpath, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        port, *pids = json.loads(parent.stdout.readline())
        assert len(pids) > len(MODELS)
        parent.kill()
    eventually(lambda: not any(map(exists, pids)) and not accepts(port), "server gone and its port closed", within_s=30)
    assert list(SHARED_MEMORY.glob(f"headrace_triton_{port}_*")) == []


def test_a_model_that_does_not_load_is_named_with_its_reason_and_nothing_is_left(tmp_path: Path, parts_cache: Path) -> None:
    repository = write_repository(tmp_path / "repository")
    (repository / "guard" / "1" / "model.py").write_text("raise RuntimeError('the weights are missing')\n")
    server = TritonServer(repository, cache=parts_cache)
    with pytest.raises(ConfigError) as caught:
        server.__enter__()
    assert "model guard is not ready" in caught.value.problems[0]
    assert "the weights are missing" in caught.value.problems[0]
    assert not any("embedder is not ready" in problem for problem in caught.value.problems)
    assert server.pid is None
    assert not server.log.exists()


def test_a_wrong_configuration_is_named(tmp_path: Path, parts_cache: Path) -> None:
    repository = write_repository(tmp_path / "repository")
    config = repository / "embedder" / "config.pbtxt"
    config.write_text(config.read_text().replace("max_batch_size", "max_batch_sise"))
    with pytest.raises(ConfigError, match=r"(?s)model embedder is not ready.*max_batch_sise"), TritonServer(repository, cache=parts_cache):
        pass


def test_an_empty_repository_and_an_unknown_model_are_refused_before_anything_starts(tmp_path: Path, parts_cache: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no model.*headrace models build"):
        TritonServer(tmp_path, cache=parts_cache).start()
    with pytest.raises(ConfigError, match=r"has no model gard; it has embedder, guard, pii_tagger"):
        TritonServer(write_repository(tmp_path / "repository"), cache=parts_cache, models=["gard"]).start()


def test_a_port_that_is_taken_is_named(tmp_path: Path, parts_cache: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} on 127.0.0.1 is taken"):
            TritonServer(write_repository(tmp_path / "repository"), cache=parts_cache, grpc_port=port).start()


def test_a_missing_installation_is_told_with_its_fix(tmp_path: Path) -> None:
    (problem,) = missing_for_triton(tmp_path)
    assert "make setup" in problem
    with pytest.raises(ConfigError, match="make setup"):
        TritonServer(write_repository(tmp_path / "repository"), cache=tmp_path).start()
