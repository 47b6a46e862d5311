"""``headrace models train``: fine-tunes the deltas and the head of a model, in an environment apart."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Annotated, Final

import typer

from schemas.errors import ConfigError, FatalError
from streams.cli.say import tell

_ROOT: Final = Path(__file__).parents[2]
TRAINABLE: Final = ("guard", "pii_tagger")


def train(
    model: Annotated[str, typer.Argument(help="guard or pii_tagger.")],
    minutes: Annotated[float, typer.Option("--minutes", min=0.1, help="Stop learning after so long; what was learnt by then is written.")] = 60.0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same weights on the same kind of machine.")] = 0,
    output: Annotated[Path | None, typer.Option("--output", help="File to write; default: models/weights/<model>.safetensors.")] = None,
    texts: Annotated[
        int | None, typer.Option("--texts", min=100, help="Generated texts to learn from; default: what the committed weights took.")
    ] = None,
    start: Annotated[Path | None, typer.Option("--start", help="Weights to go on from, at half the rate; default: begin anew.")] = None,
) -> None:
    """Train a model on a CPU and write its weights. Goes on where it was stopped; installs what it needs on the first run."""
    from models.train.environment import make

    if model not in TRAINABLE:
        raise ConfigError(f"models train: the model must be one of {', '.join(TRAINABLE)}")
    if not (_ROOT / "requirements" / "train.lock").is_file():
        raise ConfigError(f"models train: {_ROOT} is no checkout of headrace; training needs requirements/train.lock")
    python = make(_ROOT, tell, with_tests=True)
    options = ["--minutes", str(minutes), "--seed", str(seed)]
    options += ["--output", str(output.resolve())] if output else []
    options += ["--texts", str(texts)] if texts else []
    options += ["--start", str(start.resolve())] if start else []
    ended = subprocess.run([python, "-m", "models.train", "train", model, *options], cwd=_ROOT, check=False)
    if ended.returncode:
        raise FatalError(f"models train: training ended with status {ended.returncode}; its messages stand above")
