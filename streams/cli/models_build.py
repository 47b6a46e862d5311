"""``headrace models build``: a repository of models that Triton can serve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from models.spec import MODELS
from schemas.errors import ConfigError
from streams.cli.say import tell

OUTPUT: Final = Path(".headrace/models")
#: What may be served on each target, the default first.
PRECISIONS: Final = {"cpu": ("int8", "fp32"), "gpu": ("fp16", "gpu_int8")}
RUNNERS: Final = ("tensorrt", "onnxruntime")


def build(
    target: Annotated[str, typer.Option("--target", help="cpu, or gpu (on the host that has the GPU).")] = "cpu",
    model: Annotated[list[str] | None, typer.Option("--model", help="Only this model; may be repeated. Default: all.")] = None,
    output: Annotated[Path | None, typer.Option("--output", help="Folder of the repository; default: .headrace/models/<target>.")] = None,
    precision: Annotated[str | None, typer.Option("--precision", help="What is served: int8 or fp32 on cpu, fp16 or gpu_int8 on gpu.")] = None,
    version: Annotated[int, typer.Option("--version", min=1, help="Number of the version that is written; others stay.")] = 1,
    weights: Annotated[Path | None, typer.Option("--weights", help="Folder of fine-tuned weights; default: the committed ones.")] = None,
    runner: Annotated[str, typer.Option("--runner", help="On gpu: tensorrt (a plan), or onnxruntime (its TensorRT provider).")] = RUNNERS[0],
) -> None:
    """Build a servable model repository: quantised models, their fronts, and a manifest of where they come from and how accurate they are."""
    from models.build.gpu import require_tensorrt, write_plans
    from models.build.repository import Order
    from models.build.repository import build as build_models
    from models.spec import model_spec
    from models.tuned import WEIGHTS

    known = tuple(spec.name for spec in MODELS)
    names = tuple(dict.fromkeys(model or known))
    _check("--target", target, tuple(PRECISIONS))
    chosen = precision or PRECISIONS[target][0]
    _check(f"--precision on {target}", chosen, PRECISIONS[target])
    _check("--runner", runner, RUNNERS)
    for name in names:
        _check("--model", name, known)
    if target == "gpu" and runner == "tensorrt":
        require_tensorrt()
    place = output or OUTPUT / target
    built = build_models(Order(target, place, names, chosen, version, weights or WEIGHTS, runner), tell)
    if target == "gpu" and runner == "tensorrt":
        for name in names:
            write_plans(place, model_spec(name), version, tell)
    print("\n".join(_lines(built)))


def _check(option: str, given: str, allowed: tuple[str, ...]) -> None:
    if given not in allowed:
        raise ConfigError(f"{option}: must be one of {', '.join(allowed)}")


def _lines(built: list[Any]) -> list[str]:
    """Gives the table at the end: one line a variant and number."""
    lines = [f"{'model':<12}{'variant':<10}{'MB':>6}  {'against FP32':<40}"]
    for one in built:
        for name, variant in one.manifest["variants"].items():
            served = "*" if name == one.served else " "
            numbers = _numbers(variant["against_fp32"] or {}) or ["the reference"]
            lines.append(f"{one.model:<12}{name + served:<10}{variant['size_bytes'] / 1e6:>6.0f}  {numbers[0]}")
            lines += [f"{'':<30}{number}" for number in numbers[1:]]
    return [*lines, "", *(f"{one.model}: {one.folder}" for one in built), "* is served"]


def _numbers(accuracy: dict[str, Any]) -> list[str]:
    return [
        f"{key} " + ", ".join(f"{name} {number:g}" for name, number in value.items()) if isinstance(value, dict) else f"{key} {value:g}"
        for key, value in accuracy.items()
    ]
