"""What flows into each linear layer of an encoder over the calibration texts, as INT8 needs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from models.build.heads import measuring_graph
from models.build.quantise import Ranges, ranges
from models.build.texts import CALIBRATION_COUNT, CALIBRATION_SEED, sample
from models.front.tokens import TextTokenizer
from models.front.windows import room, strides


def calibrate(name: str, weights: Mapping[str, NDArray[np.float32]], tokenizer: TextTokenizer, tokens_max: int) -> dict[str, Ranges]:
    """Gives the ranges by layer, to three significant digits: what differs between processors in the last bits does not reach the model."""
    model = measuring_graph(name, weights, tokens_max)
    found = ranges(_activations(model, _rows(tokenizer, tokens_max)))
    return {layer: Ranges(rounded(one.least), rounded(one.most)) for layer, one in found.items()}


def rounded(values: NDArray[np.float32] | float) -> NDArray[np.float32]:
    """Gives numbers to three significant digits."""
    wide = np.asarray(values, np.float64)
    unit = 10.0 ** (np.floor(np.log10(np.maximum(np.abs(wide), 1e-30))) - 2)
    return (np.rint(wide / unit) * unit).astype(np.float32)


def _rows(tokenizer: TextTokenizer, tokens_max: int) -> list[NDArray[np.int64]]:
    texts = [one.text for one in sample(CALIBRATION_SEED, CALIBRATION_COUNT)]
    return [tokenizer.row(tokens, *window) for tokens in tokenizer(texts) for window in strides(tokens.count, room(tokens_max), 0)]


def _activations(model: onnx.ModelProto, rows: list[NDArray[np.int64]]) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Runs one row at a time, so that no padding is measured."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    layers = [output.name for output in session.get_outputs()]
    for row in rows:
        ids = row[None].astype(np.int32)
        values = session.run(layers, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        yield {layer: value[0] for layer, value in zip(layers, values, strict=True)}
