"""Over mTLS raw text may leave the machine: a client that proves itself is answered, one that does not is not."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.client import ClientSettings, TritonModels
from models.endpoint import Endpoint, TlsFiles
from models.failures import FailureKind, ModelFailure
from schemas.errors import ConfigError
from streams.embedded.triton import TritonServer
from streams.embedded.triton_install import TritonInstall
from tests.fixtures.triton import write_repository
from tests.fixtures.triton_expected import expected_spans

pytestmark = pytest.mark.integration


def openssl(*arguments: str | Path) -> None:
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def authority(folder: Path, name: str) -> Path:
    """Makes a certificate authority: NAME.pem and NAME.key."""
    subject = ["-subj", f"/CN={name}", "-days", "2", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *subject, "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem")
    return folder / f"{name}.pem"


def certified(folder: Path, name: str, by: str) -> TlsFiles:
    """Makes a key and a certificate for 127.0.0.1 that an authority of the folder signs."""
    names = folder / f"{name}.names"
    names.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    request = folder / f"{name}.csr"
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", folder / f"{name}.key"]
    openssl("req", "-new", "-subj", f"/CN={name}", *key, "-out", request)
    signing = ["-CA", folder / f"{by}.pem", "-CAkey", folder / f"{by}.key", "-CAcreateserial", "-days", "2", "-extfile", names]
    openssl("x509", "-req", "-in", request, *signing, "-out", folder / f"{name}.pem")
    return TlsFiles(folder / f"{by}.pem", folder / f"{name}.key", folder / f"{name}.pem")


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
    with MutualTlsServer(repository, parts_cache, certified(keys, "server", "ours"), certified(keys, "client", "ours")) as running:
        yield running


def refused(endpoint: Endpoint) -> FailureKind:
    with TritonModels(endpoint, ClientSettings(cache_bytes_max=0)) as models, pytest.raises(ModelFailure) as caught:
        models.tag(["Ada"], 2.0)
    return caught.value.kind


def test_a_client_that_proves_itself_is_answered(server: TritonServer) -> None:
    with TritonModels(server.endpoint) as models:
        assert models.tag(["Ada met Bob"], 10.0) == [expected_spans("Ada met Bob")]


def test_a_client_of_strangers_or_without_a_certificate_is_not(server: TritonServer, keys: Path) -> None:
    ours = certified(keys, "client2", "ours")
    strange = certified(keys, "stranger", "strangers")
    for tls in (TlsFiles(ours.root, strange.key, strange.chain), None):
        assert refused(Endpoint(server.endpoint.url, tls)) in {FailureKind.AWAY, FailureKind.SLOW}


def test_a_server_of_strangers_gets_no_text(server: TritonServer, keys: Path) -> None:
    ours = certified(keys, "client3", "ours")
    assert refused(Endpoint(server.endpoint.url, TlsFiles(keys / "strangers.pem", ours.key, ours.chain))) in {FailureKind.AWAY, FailureKind.SLOW}


def test_a_file_that_is_not_there_is_a_configuration_error(keys: Path) -> None:
    with pytest.raises(ConfigError, match=r"models\.tls: \S+/absent\.pem cannot be read \(No such file or directory\)"):
        TritonModels(Endpoint("127.0.0.1:1", TlsFiles(keys / "absent.pem", keys / "ours.key", keys / "ours.pem")))
