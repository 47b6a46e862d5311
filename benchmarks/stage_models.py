"""Ways to compute the encoder on a CPU, side by side: CPU time a text, accuracy against FP32, and what a batch changes in a text's vector.

The front with its session in this process, one thread, batches of 16 texts. The build keeps ``int8``; the others are here so that the choice can be
measured again. Run: ``python -m benchmarks.stage_models [--quick]``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType, quantize_dynamic

from benchmarks.result import Row, Table, save
from models.base_encoder import Base, load_base
from models.build.calibrate import calibrate
from models.build.compare import ALONE, compare
from models.build.encoder import Layer, Linear, in_float
from models.build.graph import MICROSOFT, Graph
from models.build.heads import OUTPUTS, model_graph
from models.build.quantise import PerToken, Ranges, per_channel
from models.front.fronts import FRONTS, Front
from models.front.rows import onnx_encoder
from models.front.settings import Runner, Settings
from models.front.tokens import TextTokenizer
from models.spec import model_spec
from streams.model_bench import texts_of

MODEL: Final = "embedder"
TOKENS: Final = (20, 60, 200)
BATCH: Final = 16
BLOCK: Final = 64


class NotSmoothed(PerToken):
    """INT8 with a scale a token, and channels as they are."""

    @staticmethod
    def smooths(layer: Layer) -> bool:
        """Tells that none is."""
        return False


def fixed(measured: Mapping[str, Ranges]) -> Linear:
    """Gives INT8 with one scale a layer, from the calibration texts."""

    def add(graph: Graph, layer: Layer, x: str) -> tuple[str, NDArray[np.float32]]:
        least, most = min(float(measured[layer.name].least.min()), 0.0), max(float(measured[layer.name].most.max()), 0.0)
        step = graph.constant(f"{layer.name}.step", np.array((most - least) / 255, np.float32))
        zero = graph.constant(f"{layer.name}.zero", np.array(np.rint(-least / (most - least) * 255), np.uint8))
        quantised, scale = per_channel(layer.weight)
        weights = (graph.constant(f"{layer.name}.int8", quantised), step, graph.constant(f"{layer.name}.scale", scale), zero)
        return graph.add("MatMulIntegerToFloat", graph.add("QuantizeLinear", x, step, zero), *weights, domain=MICROSOFT), layer.bias

    return add


def blocks(graph: Graph, layer: Layer, x: str) -> tuple[str, NDArray[np.float32]]:
    """Adds INT8 with a scale for every 64 weights of a channel, and for every 64 values of a token, which the kernel computes."""
    size_in, size_out = layer.weight.shape
    parts = layer.weight.T.reshape(size_out, size_in // BLOCK, BLOCK)
    scale = np.maximum(np.abs(parts).max(axis=-1), 1e-6) / 127
    stored = (np.clip(np.rint(parts / scale[..., None]), -127, 127) + 128).astype(np.uint8)
    constants = (graph.constant(f"{layer.name}.blocks", stored), graph.constant(f"{layer.name}.scales", scale.astype(np.float32)))
    sizes = {"K": size_in, "N": size_out, "bits": 8, "block_size": BLOCK, "accuracy_level": 4}
    return graph.add("MatMulNBits", x, *constants, domain=MICROSOFT, **sizes), layer.bias


def write_graphs(folder: Path, base: Base, tokenizer: TextTokenizer) -> list[str]:
    """Writes the encoder in every way; gives their names."""
    tokens_max = model_spec(MODEL).window_tokens
    measured = calibrate(MODEL, base.weights, tokenizer, tokens_max)
    ways: dict[str, Linear] = {
        "fp32": in_float,
        "int8: a scale a token, smoothed (kept)": PerToken(measured),
        "int8: a scale a token": NotSmoothed(measured),
        "int8: fixed scales": fixed(measured),
        "int8: blocks of 64": blocks,
    }
    for number, linear in enumerate(ways.values()):
        onnx.save(model_graph(MODEL, base.weights, None, linear, tokens_max, True), folder / f"{number}.onnx")
    options = {"MatMulConstBOnly": True, "DefaultTensorType": onnx.TensorProto.FLOAT}
    source, made = folder / "0.onnx", folder / f"{len(ways)}.onnx"
    quantize_dynamic(source, made, op_types_to_quantize=["MatMul"], per_channel=True, weight_type=QuantType.QInt8, extra_options=options)
    return [*ways, "int8: a scale a batch (quantize_dynamic)"]


def front(folder: Path, number: int, tokenizer: TextTokenizer) -> Front:
    """Gives the front over one of the graphs, on one thread."""
    settings = Settings(Runner("onnxruntime", f"{number}.onnx", OUTPUTS[MODEL][0]), model_spec(MODEL).window_tokens)
    return FRONTS[MODEL](tokenizer, onnx_encoder(folder, settings, 1), settings)


def rows(folder: Path, tokenizer: TextTokenizer, names: list[str], runs: int, texts: int) -> Iterator[Row]:
    """Measures every way: in turns at each size, so that a busy machine is busy for all."""
    fronts = [front(folder, number, tokenizer) for number in range(len(names))]
    spent: list[dict[str, list[float]]] = [{} for _ in names]
    for tokens in TOKENS:
        pool = texts_of(tokenizer, tokens, texts)
        for run in range(runs + 1):
            for one, times in zip(fronts, spent, strict=True):
                began = time.process_time()
                for start in range(0, texts, BATCH):
                    one(pool[start : start + BATCH])
                if run:  # the first warms up
                    times.setdefault(f"{tokens} tokens, CPU ms/text", []).append(1e3 * (time.process_time() - began) / texts)
    for name, one, times in zip(names, fronts, spent, strict=True):
        found = compare(MODEL, fronts[0], one, 128)
        print(name, found, file=sys.stderr)
        yield Row(
            {"encoder": name},
            {**times, "cosine": [found["cosine_mean"]], "least cosine": [found["cosine_least"]], "moved by a batch": [found[ALONE]]},
        )


def main() -> None:
    """Prints where the table was written."""
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--quick", action="store_true", help="fewer texts")
    given = options.parse_args()
    base = load_base()
    tokenizer = TextTokenizer(base.tokenizer)
    with tempfile.TemporaryDirectory() as made:
        names = write_graphs(Path(made), base, tokenizer)
        found = list(rows(Path(made), tokenizer, names, 5, 64 if given.quick else 256))
    notes = (
        "Cosine: of a text's vector with that of FP32, over 128 texts of agents (models/build/texts.py). Moved by a batch: the largest difference of "
        "a number of a vector of length 1 between a text alone and in a batch; 0.001 is accepted.",
        "A text of 200 tokens is read in two windows.",
    )
    print(save(Table("models", "Ways to compute the encoder on a CPU", found, notes, given.quick)))


if __name__ == "__main__":
    main()
