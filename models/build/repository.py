"""Writes a servable Triton repository: for each model its configuration, and a version with all that its front needs.

    <output>/guard/config.pbtxt           from triton_repo/guard, for CPU or GPU
    <output>/guard/warmup/text            what the model reads before it is ready
    <output>/guard/1/model.py             from triton_repo/guard/1
    <output>/guard/1/front/*.py           a copy of models/front
    <output>/guard/1/settings.json        what the front is told
    <output>/guard/1/tokenizer.json       of the base encoder
    <output>/guard/1/model.onnx           CPU; for a GPU fp16.onnx and gpu_int8.onnx, of which plans are built
    <output>/guard/1/manifest.json        provenance, licence, hashes, accuracy

A version appears whole or not at all; others beside it stay as they are.
"""

from __future__ import annotations

import json
import shutil
import struct
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
import tokenizers
from numpy.typing import NDArray

import models.front
from models.base_encoder import Base, load_base
from models.build.calibrate import calibrate
from models.build.compare import ALONE, ALONE_COUNT, Accuracy, compare
from models.build.heads import LABELS, OUTPUTS
from models.build.quantise import SMOOTHING, Ranges
from models.build.texts import CALIBRATION_COUNT, CALIBRATION_SEED, EVALUATION_COUNT, EVALUATION_SEED
from models.build.variants import CPU_VARIANTS, FP32, GPU_VARIANTS, Variant
from models.digest import sha256
from models.front.fronts import FRONTS, Front
from models.front.rows import onnx_encoder
from models.front.settings import FILE as SETTINGS_FILE
from models.front.settings import Runner, Settings
from models.front.tokens import TextTokenizer
from models.spec import MODELS, ModelSpec, model_spec
from models.tuned import WEIGHTS, Tuned, load_tuned
from schemas.errors import FatalError

SOURCE: Final = Path(__file__).parents[1] / "triton_repo"
MODEL_FILE: Final = "model.onnx"
MANIFEST_FILE: Final = "manifest.json"
#: A text gets the same numbers alone as in any batch, within this.
ALONE_MOST: Final = 1e-3
WARM_UP_TEXT: Final = "The quick brown fox jumps over the lazy dog, and Ann Lee of Acme in Paris sees it. " * 8

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Order:
    """What to build.

    Attributes:
        target: ``cpu`` or ``gpu``.
        output: Folder of the repository.
        models: Which models.
        precision: Which variant is served: ``int8`` or ``fp32`` on a CPU, ``fp16`` or ``gpu_int8`` on a GPU.
        version: Number of the version that is written.
        weights: Folder of the fine-tuned weights.
        runner: What runs the encoder on a GPU: ``tensorrt`` (a plan) or ``onnxruntime`` (its TensorRT provider, which builds a plan at the start).
        evaluation_count: Texts over which variants are compared with FP32.
    """

    target: str
    output: Path
    models: tuple[str, ...] = tuple(spec.name for spec in MODELS)
    precision: str = "int8"
    version: int = 1
    weights: Path = WEIGHTS
    runner: str = "tensorrt"
    evaluation_count: int = EVALUATION_COUNT


@dataclass(frozen=True, slots=True)
class Built:
    """One model that was written.

    Attributes:
        model: Its name.
        folder: Of the version.
        served: Variant that is served.
        manifest: What its manifest holds.
    """

    model: str
    folder: Path
    served: str
    manifest: Mapping[str, Any]


def build(order: Order, tell: Tell = lambda line: None) -> list[Built]:
    """Builds models, one after the other.

    Raises:
        ConfigError: Weights are missing or do not fit; nothing was written.
    """
    base = load_base()
    tuned = {name: load_tuned(order.weights / f"{name}.safetensors", LABELS[name]) for name in order.models if name in LABELS}
    return [_build_model(order, model_spec(name), base, tuned.get(name), tell) for name in order.models]


def _build_model(order: Order, spec: ModelSpec, base: Base, tuned: Tuned | None, tell: Tell) -> Built:
    variants = CPU_VARIANTS if order.target == "cpu" else GPU_VARIANTS
    weights = base.weights if tuned is None else tuned.merged(base.weights)
    tokenizer = TextTokenizer(base.tokenizer)
    tell(f"{spec.name}: measuring activations over {CALIBRATION_COUNT} texts")
    measured = calibrate(spec.name, weights, tokenizer, spec.window_tokens)
    home = order.output / spec.name
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home, prefix=".building-") as made:
        scratch, folder = Path(made), Path(made) / "version"
        folder.mkdir()
        graphs = _write_graphs(scratch, spec, (FP32, *variants.values()), weights, tuned, measured)
        accuracy = {}
        for name in sorted(variants.keys() - {FP32.name}):
            tell(f"{spec.name}: comparing {name} with FP32 over {order.evaluation_count} texts")
            reference, variant = (_front(scratch, spec, tuned, tokenizer, each) for each in (FP32.name, name))
            accuracy[name] = compare(spec.name, reference, variant, order.evaluation_count)
            refuse_leaks(spec.name, name, accuracy[name])
        kept = {MODEL_FILE: order.precision} if order.target == "cpu" else {f"{name}.onnx": name for name in variants}
        for file, name in kept.items():
            shutil.copy(graphs[name], folder / file)
        _write_front(folder, spec, _settings(order, spec, tuned), base.tokenizer)
        manifest = _manifest(order, spec, base, tuned, accuracy, graphs, folder)
        (folder / MANIFEST_FILE).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        _put(folder, home / str(order.version))
    _write_home(home, spec, order.target)
    return Built(spec.name, home / str(order.version), order.precision, manifest)


def refuse_leaks(model: str, variant: str, accuracy: Accuracy) -> None:
    """Refuses a variant in which texts of one batch change one another's numbers.

    Raises:
        FatalError: They do, by more than 1e-3.
    """
    if accuracy[ALONE] > ALONE_MOST:
        raise FatalError(f"{model} in {variant}: a batch moves a number by {accuracy[ALONE]}, at most {ALONE_MOST} is accepted; it is not written")


def _write_graphs(
    folder: Path,
    spec: ModelSpec,
    variants: Sequence[Variant],
    weights: Mapping[str, NDArray[np.float32]],
    tuned: Tuned | None,
    measured: Mapping[str, Ranges],
) -> dict[str, Path]:
    written = {}
    for variant in variants:
        written[variant.name] = folder / f"{variant.name}.onnx"
        onnx.save(variant.graph(spec.name, weights, tuned, measured, spec.window_tokens), written[variant.name])
    return written


def _front(folder: Path, spec: ModelSpec, tuned: Tuned | None, tokenizer: TextTokenizer, variant: str) -> Front:
    """Gives the front of a model over a variant that was just written, in this process."""
    settings = _head_settings(Runner("onnxruntime", f"{variant}.onnx", OUTPUTS[spec.name][0]), spec, tuned)
    return FRONTS[spec.name](tokenizer, onnx_encoder(folder, settings, 0), settings)


def _head_settings(runner: Runner, spec: ModelSpec, tuned: Tuned | None, rows_max: int = 32, cells_max: int = 2_048) -> Settings:
    labels, thresholds = (tuned.labels, tuned.thresholds) if tuned else ((), {})
    return Settings(runner, spec.window_tokens, spec.overlap_tokens, rows_max=rows_max, cells_max=cells_max, labels=labels, thresholds=thresholds)


def _settings(order: Order, spec: ModelSpec, tuned: Tuned | None) -> Settings:
    output = OUTPUTS[spec.name][0]
    if order.target == "cpu":
        return _head_settings(Runner("onnxruntime", MODEL_FILE, output), spec, tuned)
    from models.build.gpu import CELLS_MAX, ROWS_MAX, encoder_name, providers

    if order.runner == "tensorrt":
        runner = Runner("triton", encoder_name(spec.name, order.precision), output, {})
    else:
        runner = Runner("onnxruntime", f"{order.precision}.onnx", output, providers(order.precision, spec.window_tokens))
    return _head_settings(runner, spec, tuned, ROWS_MAX, CELLS_MAX)


def _write_front(folder: Path, spec: ModelSpec, settings: Settings, tokenizer: Path) -> None:
    """Writes all of a version that is not its model."""
    shutil.copy(SOURCE / spec.name / "1" / "model.py", folder / "model.py")
    source = Path(models.front.__file__).parent
    (folder / "front").mkdir()
    for file in sorted(source.glob("*.py")):
        shutil.copy(file, folder / "front" / file.name)
    shutil.copy(tokenizer, folder / "tokenizer.json")
    (folder / SETTINGS_FILE).write_text(settings.text(), encoding="utf-8")


def _write_home(home: Path, spec: ModelSpec, target: str) -> None:
    """Writes what all versions of a model share."""
    source = SOURCE / spec.name
    shutil.copy(source / "config.pbtxt" if target == "cpu" else source / "configs" / f"{target}.pbtxt", home / "config.pbtxt")
    text = WARM_UP_TEXT.encode()
    (home / "warmup").mkdir(exist_ok=True)
    (home / "warmup" / "text").write_bytes(struct.pack("<I", len(text)) + text)


def _put(folder: Path, place: Path) -> None:
    """Moves a finished version to its place; an older one of the same number goes."""
    if place.exists():
        place.rename(folder.parent / "replaced")
    folder.rename(place)


def _manifest(
    order: Order, spec: ModelSpec, base: Base, tuned: Tuned | None, accuracy: Mapping[str, Accuracy], graphs: Mapping[str, Path], folder: Path
) -> dict[str, Any]:
    variants = CPU_VARIANTS if order.target == "cpu" else GPU_VARIANTS
    return {
        "model": spec.name,
        "purpose": spec.purpose,
        "target": order.target,
        "served": order.precision,
        "version": order.version,
        "licence": base.provenance["licence"],
        "base": base.provenance,
        "tuned": tuned.provenance if tuned else None,
        "thresholds": dict(tuned.thresholds) if tuned else {},
        "calibration": {"texts": CALIBRATION_COUNT, "seed": CALIBRATION_SEED, "source": "models/build/texts.py", "smoothing": SMOOTHING},
        "evaluation": {
            "texts": order.evaluation_count,
            "seed": EVALUATION_SEED,
            "source": "models/build/texts.py",
            "texts_also_alone": ALONE_COUNT,
            "computed_by": f"ONNX Runtime {onnxruntime.__version__} on a CPU",
        },
        "variants": {
            name: {
                "what": variant.what,
                "sha256": sha256(graphs[name]),
                "size_bytes": graphs[name].stat().st_size,
                "against_fp32": accuracy.get(name),
            }
            for name, variant in variants.items()
        },
        "files": {path.relative_to(folder).as_posix(): sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()},
        "built_with": {"onnx": onnx.__version__, "tokenizers": tokenizers.__version__, "numpy": np.__version__},
    }
