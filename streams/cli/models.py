"""``headrace models``: the commands around the models."""

from __future__ import annotations

import typer

from streams.cli.models_bench import bench
from streams.cli.models_build import build
from streams.cli.models_serve import load, serve, status, unload
from streams.cli.models_train import train

models_app = typer.Typer(
    name="models", help="Build, train and serve the models, and change them while they are served.", no_args_is_help=True, rich_markup_mode=None
)
models_app.command("build")(build)
models_app.command("train")(train)
models_app.command("serve")(serve)
models_app.command("status")(status)
models_app.command("load")(load)
models_app.command("unload")(unload)
models_app.command("bench")(bench)
