"""A real Triton Inference Server on the loopback interface, serving one model repository."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from models.control import ModelControl
from models.endpoint import Endpoint
from schemas.errors import ConfigError, RetryableError
from streams.embedded.child import ChildProcess
from streams.embedded.part import EmbeddedPart
from streams.embedded.ports import LOOPBACK, accepts, free_ports
from streams.embedded.triton_install import DEFAULT_CACHE, TritonInstall, find_triton

START_DEADLINE_S: Final = 120.0
STOP_DEADLINE_S: Final = 15.0
_SHARED_MEMORY: Final = Path("/dev/shm")
_LOG_LINES_SHOWN: Final = 12
_LOG_BYTES_READ: Final = 2**20


class TritonServer(EmbeddedPart):
    """A Triton server as a child process; a context manager. gRPC and metrics listen on 127.0.0.1, HTTP is off.

    Models are under explicit control: all of the repository are loaded at the start, later changes come over ``ModelControl`` only. The server
    neither logs nor caches requests and responses. What its Python backend holds in shared memory is removed when it ends, however it ends.

    Args:
        repository: Model repository: a folder a model with config.pbtxt and numbered versions.
        directory: Keeps the log across runs; None for a temporary directory that goes at the end of the ``with``.
        cache: Where ``make setup`` installed Triton.
        models: Which models are loaded; None for all of the repository.
        grpc_port: Port for clients; None for a free one.
        metrics_port: Port for Prometheus; None for a free one.
        tell: Called with one line before anything that takes long.

    Attributes:
        log: The server's log file.
        start_seconds: How long the last start took, until every model was ready.

    Raises:
        ConfigError: From ``start``: Triton or the repository is missing, the server did not start, or a model did not load (with its reason).
    """

    def __init__(
        self,
        repository: Path,
        directory: Path | None = None,
        *,
        cache: Path = DEFAULT_CACHE,
        models: Sequence[str] | None = None,
        grpc_port: int | None = None,
        metrics_port: int | None = None,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        super().__init__("triton", directory)
        self._repository = repository.resolve()
        self._cache = cache
        self._models = models
        self._tell = tell
        free = free_ports(2)
        self.grpc_port = grpc_port or free[0]
        self.metrics_port = metrics_port or free[1]
        self._log_start = 0

    @property
    def endpoint(self) -> Endpoint:
        """Where clients find it."""
        return Endpoint(f"{LOOPBACK}:{self.grpc_port}")

    @property
    def metrics_url(self) -> str:
        """Where Prometheus finds it."""
        return f"http://{LOOPBACK}:{self.metrics_port}/metrics"

    @property
    def log_tail(self) -> str:
        """The end of its log."""
        return self._child.tail() if self._child is not None else ""

    def start(self) -> None:
        """Starts it and returns when every model is ready."""
        began = time.monotonic()
        install = find_triton(self._cache)
        names = self._wanted()
        for port in (self.grpc_port, self.metrics_port):
            if accepts(port):
                raise ConfigError(f"Triton: port {port} on {LOOPBACK} is taken; choose another one, or stop what listens there")
        self._tell(f"starting Triton with {', '.join(names)} from {self._repository}")
        self._sweep()
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        env = {"PATH": f"{install.bin}:/usr/local/bin:/usr/bin:/bin", "LD_LIBRARY_PATH": str(install.python_library), "HOME": str(self._kept.path)}
        argv = self._arguments(install, names)
        self._child = ChildProcess("Triton", argv, log=self.log, cwd=self._kept.path, env=env, death_signal=signal.SIGTERM)
        self._child.await_ready(lambda: self._settled(names), START_DEADLINE_S)
        control = ModelControl(self.endpoint)
        index = control.index()
        ready = {model.name for model in index if model.ready}
        if failed := [name for name in names if name not in ready]:
            told = {model.name: model.reason for model in index if model.reason}
            reasons = [f"Triton: model {name} is not ready: {told.get(name, 'see the log below')}" for name in failed]
            raise ConfigError(*reasons, f"Triton: its log says:\n{self._log_of(failed)}")
        control.silence_log()
        self.start_seconds = time.monotonic() - began

    def stop(self) -> None:
        """Stops it in order; requests under way get ten seconds. Does nothing when it is down."""
        if self._child is not None:
            self._child.stop(signal.SIGTERM, within_s=STOP_DEADLINE_S)
            self._sweep()

    def kill(self) -> None:
        """Kills the server and its models' processes at once (SIGKILL)."""
        super().kill()
        self._sweep()

    def _wanted(self) -> tuple[str, ...]:
        """Gives the names of the models to load."""
        there = sorted(path.parent.name for path in self._repository.glob("*/config.pbtxt"))
        if not there:
            raise ConfigError(f"Triton: {self._repository} holds no model (no */config.pbtxt); build one with `headrace models build --target cpu`")
        missing = sorted(set(self._models or ()) - set(there))
        if missing:
            raise ConfigError(f"Triton: {self._repository} has no model {', '.join(missing)}; it has {', '.join(there)}")
        return tuple(self._models or there)

    def _arguments(self, install: TritonInstall, names: Sequence[str]) -> list[str | Path]:
        return [
            install.server,
            f"--model-repository={self._repository}",
            f"--backend-directory={install.backends}",
            "--model-control-mode=explicit",
            *(f"--load-model={name}" for name in names),
            # A model that does not load is told by name; the server would only end.
            "--exit-on-error=false",
            "--strict-readiness=true",
            "--disable-auto-complete-config",
            "--exit-timeout-secs=10",
            "--allow-http=false",
            f"--grpc-address={LOOPBACK}",
            f"--grpc-port={self.grpc_port}",
            f"--metrics-address={LOOPBACK}",
            f"--metrics-port={self.metrics_port}",
            "--allow-gpu-metrics=false",
            # Verbose logs hold requests.
            "--log-verbose=0",
            f"--backend-config=python,shm-region-prefix-name={self._shm_prefix}",
        ]

    @property
    def _shm_prefix(self) -> str:
        """Stands before the names of this server's shared memory; the port is its own for as long as it lives."""
        return f"headrace_triton_{self.grpc_port}_"

    def _settled(self, names: Sequence[str]) -> bool:
        """Whether the server answers: it does when it has tried to load every model; one that it could not even read is not in its index."""
        # The page of metrics opens last, after the models are ready.
        if not accepts(self.grpc_port) or not accepts(self.metrics_port):
            return False
        try:
            index = ModelControl(self.endpoint).index()
        except RetryableError:
            return False
        return not any(model.state == "LOADING" for model in index if model.name in names)

    def _log_of(self, names: Sequence[str]) -> str:
        """Gives the lines of the log that warn or name a model. The log holds no record: at the start none has come yet."""
        with self.log.open("rb") as file:
            file.seek(self._log_start)
            lines = file.read(_LOG_BYTES_READ).decode("utf-8", "replace").splitlines()
        told = [line for line in lines if line[:1] in ("E", "W", "[") or (line[:1] == "I" and any(name in line for name in names))]
        return "\n".join(line.replace("\\n", "\n") for line in told[-_LOG_LINES_SHOWN:])

    def _sweep(self) -> None:
        """Removes what a killed server left in shared memory: it may hold texts."""
        for region in _SHARED_MEMORY.glob(f"{self._shm_prefix}*"):
            region.unlink(missing_ok=True)
