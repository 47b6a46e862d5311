"""Over mTLS raw text may leave the machine: a client that proves itself is answered, one that does not is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from models.client import ClientSettings, TritonModels
from models.endpoint import Endpoint, TlsFiles
from models.failures import FailureKind, ModelFailure
from schemas.errors import ConfigError
from streams.embedded.triton import TritonServer
from streams.embedded.triton_install import TritonInstall
from tests.fixtures.certificates import authority, certified
from tests.fixtures.triton import write_repository
from tests.fixtures.triton_expected import expected_spans

pytestmark = pytest.mark.integration


def tls(folder: Path, name: str, by: str) -> TlsFiles:
    made = certified(folder, name, by)
    return TlsFiles(made.root, made.key, made.chain)


class MutualTlsServer(TritonServer):
    """A server that asks for proof, which the embedded one on the loopback interface has no need of."""

    def __init__(self, repository: Path, cache: Path, own: TlsFiles, clients: TlsFiles) -> None:
        super().__init__(repository, cache=cache)
        self._own, self._clients = own, clients

    @property
    def endpoint(self) -> Endpoint:
        """Where clients that prove themselves find it."""
        return Endpoint(f"127.0.0.1:{self.grpc_port}", self._clients)

    def _arguments(self, install: TritonInstall, names: list[str]) -> list[str | Path]:
        files = [f"--grpc-server-key={self._own.key}", f"--grpc-server-cert={self._own.chain}", f"--grpc-root-cert={self._own.root}"]
        return [*super()._arguments(install, names), "--grpc-use-ssl=true", "--grpc-use-ssl-mutual=true", *files]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ours", "strangers"):
        authority(folder, name)
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, parts_cache: Path, keys: Path) -> Iterator[TritonServer]:
    repository = write_repository(tmp_path_factory.mktemp("repository"))
    with MutualTlsServer(repository, parts_cache, tls(keys, "server", "ours"), tls(keys, "client", "ours")) as running:
        yield running


def refused(endpoint: Endpoint) -> FailureKind:
    with TritonModels(endpoint, ClientSettings(cache_bytes_max=0)) as models, pytest.raises(ModelFailure) as caught:
        models.tag(["Ada"], 2.0)
    return caught.value.kind


def test_a_client_that_proves_itself_is_answered(server: TritonServer) -> None:
    with TritonModels(server.endpoint) as models:
        assert models.tag(["Ada met Bob"], 10.0) == [expected_spans("Ada met Bob")]


def test_a_client_of_strangers_or_without_a_certificate_is_not(server: TritonServer, keys: Path) -> None:
    ours = tls(keys, "client2", "ours")
    strange = tls(keys, "stranger", "strangers")
    for files in (TlsFiles(ours.root, strange.key, strange.chain), None):
        assert refused(Endpoint(server.endpoint.url, files)) in {FailureKind.AWAY, FailureKind.SLOW}


def test_a_server_of_strangers_gets_no_text(server: TritonServer, keys: Path) -> None:
    ours = tls(keys, "client3", "ours")
    assert refused(Endpoint(server.endpoint.url, TlsFiles(keys / "strangers.pem", ours.key, ours.chain))) in {FailureKind.AWAY, FailureKind.SLOW}


def test_a_file_that_is_not_there_is_a_configuration_error(keys: Path) -> None:
    with pytest.raises(ConfigError, match=r"models\.tls: \S+/absent\.pem cannot be read \(No such file or directory\)"):
        TritonModels(Endpoint("127.0.0.1:1", TlsFiles(keys / "absent.pem", keys / "ours.key", keys / "ours.pem")))
