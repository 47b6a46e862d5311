"""``headrace models serve``, ``status``, ``load``, ``unload``: a model server on this machine, and which models it serves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from schemas.errors import FatalError
from streams.cli.engine import signals_stop
from streams.cli.say import ConfigOption, tell
from streams.stop import Stop

DEFAULT_REPOSITORY: Final = Path(".headrace/models/cpu")
#: The ports that Triton's own documents use.
_GRPC_PORT: Final = 8001
_METRICS_PORT: Final = 8002
_LOOK_EVERY_S: Final = 0.5

UrlOption = Annotated[str | None, typer.Option("--url", help="host:port of Triton's gRPC; default: models.url of the configuration.")]
_NameArgument = Annotated[str, typer.Argument(help="Folder of the model in the repository.")]
_TimeoutOption = Annotated[float, typer.Option("--timeout-s", min=1, max=3_600, help="How long it may take.")]


def serve(
    repository: Annotated[Path, typer.Option("--repository", help="Model repository; `headrace models build` makes one.")] = DEFAULT_REPOSITORY,
    grpc_port: Annotated[int, typer.Option("--grpc-port", min=0, max=65_535, help="Port of gRPC on 127.0.0.1; 0 takes a free one.")] = _GRPC_PORT,
    metrics_port: Annotated[int, typer.Option("--metrics-port", min=0, max=65_535, help="Port of /metrics; 0 takes a free one.")] = _METRICS_PORT,
    model: Annotated[list[str] | None, typer.Option("--model", help="Serve this model; may be repeated. Default: all.")] = None,
    log_dir: Annotated[Path, typer.Option("--log-dir", help="Where triton.log is written.")] = Path(".headrace/triton-server"),
) -> None:
    """Serve a model repository with Triton on this machine, without Docker, until Ctrl-C. Says which model failed where one does not load."""
    from streams.embedded.triton import TritonServer

    server = TritonServer(repository, log_dir, models=model or None, grpc_port=grpc_port or None, metrics_port=metrics_port or None, tell=tell)
    stop = Stop()
    with signals_stop(stop), server:
        print(f"models are ready: gRPC {server.endpoint.url}, metrics {server.metrics_url}, log {server.log}", flush=True)
        while not stop.requested:
            if server.pid is None:
                raise FatalError(f"Triton ended by itself; its log {server.log} ends:\n{server.log_tail}")
            stop.wait(_LOOK_EVERY_S)
        tell("stopping Triton")


def status(url: UrlOption = None, config: ConfigOption = None) -> None:
    """List the models of a running server: name, version, state and, where one is not ready, why. Exit status 1 where one is not."""
    from models.control import ModelControl
    from streams.model_client import endpoint_of

    index = ModelControl(endpoint_of(url, config)).index()
    for model in index:
        print(f"{model.name:12} {model.version or '-':>3} {model.state or 'not loaded':12} {model.reason}".rstrip())
    if not any(model.ready for model in index):
        raise typer.Exit(1)


def load(
    name: _NameArgument,
    version: Annotated[
        list[int] | None, typer.Option("--version", min=1, help="Serve this version; repeat it to serve several side by side.")
    ] = None,
    url: UrlOption = None,
    timeout_s: _TimeoutOption = 120.0,
    config: ConfigOption = None,
) -> None:
    """Load a model, or other versions of it, into a running server. What was served before answers until the new one is ready."""
    from models.control import ModelControl
    from streams.model_client import endpoint_of

    serving = ModelControl(endpoint_of(url, config)).load(name, timeout_s, version or None)
    print(f"{name}: version {', '.join(serving)} answers")


def unload(name: _NameArgument, url: UrlOption = None, timeout_s: _TimeoutOption = 120.0, config: ConfigOption = None) -> None:
    """Take a model out of a running server. The pipeline then treats it as away: policy says whether it waits."""
    from models.control import ModelControl
    from streams.model_client import endpoint_of

    ModelControl(endpoint_of(url, config)).unload(name, timeout_s)
    print(f"{name}: is not served")
