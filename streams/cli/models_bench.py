"""``headrace models bench``: how fast the models are, through Triton and in this process, and how accurate."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from models.spec import MODELS
from schemas.errors import ConfigError
from streams.cli.models_serve import UrlOption
from streams.cli.say import tell

if TYPE_CHECKING:
    from models.endpoint import Endpoint
    from streams.model_bench import Measured

_CALLERS: Final = {"cpu": 2, "gpu": 16}
_HEADINGS: Final = ("model", "precision", "tokens", "batch", "path", "texts/s", "p50 ms", "p99 ms", "Triton costs")
_WIDTHS: Final = (12, 10, 7, 6, 16, 10, 9, 9, 13)


class Target(StrEnum):
    """What runs the encoder."""

    CPU = "cpu"
    GPU = "gpu"


def bench(
    target: Annotated[Target, typer.Option("--target", help="Which repository, and whether it can also be run in this process (cpu).")] = Target.CPU,
    repository: Annotated[Path | None, typer.Option("--repository", help="Default: .headrace/models/<target>.")] = None,
    url: UrlOption = None,
    model: Annotated[list[str] | None, typer.Option("--model", help="Only this model; may be repeated. Default: all of the repository.")] = None,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="Length of one run.")] = 2.0,
    runs: Annotated[int, typer.Option("--runs", min=1, help="Runs of each size.")] = 5,
) -> None:
    """Measure the models: texts/s, latency and windows/s at 128 tokens through Triton, beside the same session in process; and the accuracy delta."""
    from models.client import ClientSettings, TritonModels

    home = repository or Path(".headrace/models") / target.value
    names = _names(home, model)
    with _served(home, url) as endpoint, TritonModels(endpoint, ClientSettings(cache_bytes_max=0)) as models:
        for name in names:
            for line in _lines(models, home, name, target, runs, seconds):
                print(line, flush=True)


def _lines(models: Any, home: Path, name: str, target: Target, runs: int, seconds: float) -> Iterator[str]:
    """Measures one model and gives its part of the table as it is made."""
    import time

    from models.front.tokens import TextTokenizer
    from streams import model_bench as measuring

    version = _newest(home / name)
    manifest = measuring.manifest_of(version)
    tokenizer = TextTokenizer(version / "tokenizer.json")
    ask = measuring.asker(models, name)
    paths = {measuring.THROUGH_TRITON: (ask, time.process_time)}
    if target is Target.CPU:
        paths[measuring.IN_PROCESS] = (measuring.in_process(version, name), time.process_time)
    yield _row(_HEADINGS)
    texts = {tokens: measuring.texts_of(tokenizer, tokens) for tokens in measuring.TOKENS}
    pair: list[Measured] = []
    for one in measuring.in_turns(paths, texts, measuring.BATCHES, runs, seconds):
        pair.append(one)
        if len(pair) == len(paths):
            yield from (_row(cells) for cells in _pair(name, manifest["served"], pair))
            pair.clear()
    single = measuring.measure(ask, texts[measuring.TOKENS[0]], 1, seconds)
    windows = measuring.texts_of(tokenizer, measuring.WINDOW_TOKENS, 2_048)
    rate = statistics.median(measuring.windows_per_s(ask, windows, _CALLERS[target.value], seconds) for _ in range(runs))
    yield f"{name}: {rate:,.0f} windows/s at {measuring.WINDOW_TOKENS} tokens ({_CALLERS[target.value]} callers, batches of 64)"
    yield f"{name}: single request of {measuring.TOKENS[0]} tokens p50 {measuring.quantile(single.latencies_ms, 0.5):.2f} ms"
    yield f"{name}: against FP32: {_accuracy(manifest)}"
    yield ""


def _pair(name: str, precision: str, pair: list[Measured]) -> Iterator[tuple[str, ...]]:
    for one in pair:
        cost = ""
        if one is pair[0] and len(pair) > 1:
            costs = [1 - ours.texts_per_s / alone.texts_per_s for ours, alone in zip(one.slices, pair[1].slices, strict=True)]
            cost = f"{statistics.median(costs):.1%}"
        latencies = (f"{one.latency_ms(0.5):.2f}", f"{one.latency_ms(0.99):.2f}")
        yield (name, precision, str(one.tokens), str(one.batch), one.path, f"{one.texts_per_s:,.1f}", *latencies, cost)


def _row(cells: tuple[str, ...]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, _WIDTHS, strict=True)).rstrip()


def _accuracy(manifest: Mapping[str, Any]) -> str:
    """Gives what the build measured of the served variant."""
    found = manifest["variants"][manifest["served"]]["against_fp32"]
    if not found:
        return "it is FP32, the reference"
    return ", ".join(f"{key} {value}" for key, value in found.items())


def _names(home: Path, wanted: list[str] | None) -> list[str]:
    known = [spec.name for spec in MODELS if (home / spec.name / "config.pbtxt").is_file()]
    missing = sorted(set(wanted or ()) - set(known))
    if missing or not known:
        raise ConfigError(f"{home}: {', '.join(missing) or 'a model'} is required and not there; run `headrace models build`")
    return wanted or known


def _newest(home: Path) -> Path:
    """Gives the folder of the version that Triton serves unless told otherwise."""
    return max((path for path in home.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))


@contextmanager
def _served(home: Path, url: str | None) -> Iterator[Endpoint]:
    from streams.embedded.triton import TritonServer
    from streams.model_client import named_endpoint

    endpoint = named_endpoint(url, None) if url else None
    if endpoint is not None:
        yield endpoint
    else:
        # A front may ask another model of the repository (a plan of its encoder): all of them are loaded.
        with TritonServer(home, tell=tell) as server:
            yield server.endpoint
