"""Linear layers in INT8, and what is measured before: how large the activations grow that flow into each.

On a CPU every token is scaled by its own largest value, so that what stands beside it in a batch changes nothing. A scale for the whole batch, which
dynamic quantisation uses, moved an embedding by up to 0.19 with its neighbours; a fixed scale for all texts cost ten times the accuracy
(docs/models.md). On a GPU TensorRT wants fixed scales between marks of quantisation; they come from the same measurement.

Before that, channels that are large in the activations are made smaller and their weights larger by the same factor (SmoothQuant, Xiao et al. 2023):
a few channels of MiniLM are ten times the others and would take the resolution of all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.build.encoder import Layer, in_float
from models.build.graph import MICROSOFT, Graph

#: How much of a channel's size moves from the activations into the weights; 0.6 was best of 0.5 to 0.8.
SMOOTHING: Final = 0.6
#: Largest magnitude of a signed byte that is used: -128 is not, so that zero is in the middle.
_LIMIT: Final = 127
_TINY: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Ranges:
    """What flowed into one layer over the calibration texts.

    Attributes:
        least: float32[in], least value of each channel.
        most: float32[in], largest value of each.
    """

    least: NDArray[np.float32]
    most: NDArray[np.float32]

    @property
    def magnitude(self) -> NDArray[np.float32]:
        """Largest magnitude of each channel."""
        return np.maximum(np.abs(self.least), np.abs(self.most))


def ranges(batches: Iterable[Mapping[str, NDArray[np.float32]]]) -> dict[str, Ranges]:
    """Gives the ranges over batches of activations, each float32[tokens, in] by the layer's name."""
    found: dict[str, Ranges] = {}
    for batch in batches:
        for name, values in batch.items():
            new = Ranges(values.min(axis=0), values.max(axis=0))
            old = found.get(name, new)
            found[name] = Ranges(np.minimum(old.least, new.least), np.maximum(old.most, new.most))
    return found


@dataclass(slots=True)
class Measuring:
    """Linear layers in FP32 that keep the names of what flows into them, as outputs for the calibration."""

    taps: dict[str, str] = field(default_factory=dict)

    def __call__(self, graph: Graph, layer: Layer, x: str) -> tuple[str, NDArray[np.float32]]:
        """Adds a product in FP32."""
        self.taps[layer.name] = x
        return in_float(graph, layer, x)


def per_channel(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Gives the weight in INT8 with one scale an output channel: int8[in, out] and float32[out]."""
    scale = np.maximum(np.abs(weight).max(axis=0), _TINY).astype(np.float32) / _LIMIT
    return np.clip(np.rint(weight / scale), -_LIMIT, _LIMIT).astype(np.int8), scale


def smoothing(magnitude: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Gives float32[in]: by what each channel of the activations is divided and its weights are multiplied; their geometric mean is 1."""
    factor = np.maximum(magnitude, _TINY) ** SMOOTHING / np.maximum(np.abs(weight).max(axis=1), _TINY) ** (1 - SMOOTHING)
    found: NDArray[np.float32] = np.maximum(factor / np.exp(np.log(factor).mean()), _TINY).astype(np.float32)
    return found


@dataclass(frozen=True, slots=True)
class PerToken:
    """Linear layers in INT8 with a scale a token, computed as it flows; for ONNX Runtime on a CPU.

    Attributes:
        measured: Ranges by layer. A layer whose input has a known least value is not smoothed: it is shifted to begin at zero, which doubles its
            resolution.
    """

    measured: Mapping[str, Ranges]

    def __call__(self, graph: Graph, layer: Layer, x: str) -> tuple[str, NDArray[np.float32]]:
        """Adds a product in INT8."""
        weight, bias = layer.weight, layer.bias
        if layer.least is None:
            if self.smooths(layer):
                factor = smoothing(self.measured[layer.name].magnitude, weight)
                x, weight = graph.add("Mul", x, graph.constant(f"{layer.name}.smoothing", 1 / factor)), weight * factor[:, None]
            size, step, zero = graph.add("Abs", x), 1 / _LIMIT, _LIMIT + 1
        else:
            x = size = graph.add("Sub", x, graph.constant("least", np.array(layer.least, np.float32)))
            step, zero = 1 / 255, 0
        quantised, scale = per_channel(weight)
        if layer.least is not None:
            bias = bias + np.float32(layer.least) * (quantised * scale).sum(axis=0)
        largest = graph.add("ReduceMax", size, graph.integers(-1), keepdims=1)
        largest = graph.add("Max", largest, graph.constant("tiny", np.array(_TINY, np.float32)))
        step_name, zero_name = graph.constant(f"step_{zero}", np.array(step, np.float32)), graph.constant(f"zero_{zero}", np.array(zero, np.uint8))
        bytes_ = graph.add("QuantizeLinear", graph.add("Div", x, largest), step_name, zero_name)
        weights = (graph.constant(f"{layer.name}.int8", quantised), step_name, graph.constant(f"{layer.name}.scale", scale), zero_name)
        product = graph.add("MatMulIntegerToFloat", bytes_, *weights, domain=MICROSOFT)
        return graph.add("Mul", product, largest), bias

    @staticmethod
    def smooths(layer: Layer) -> bool:
        """Tells the layers behind a normalisation: there a few channels stick out."""
        return layer.name.endswith(("query_key_value", "intermediate.dense"))


@dataclass(frozen=True, slots=True)
class Marked:
    """Linear layers in INT8 between marks of quantisation with fixed scales, which TensorRT turns into INT8 kernels.

    Attributes:
        measured: Ranges by layer.
    """

    measured: Mapping[str, Ranges]

    def __call__(self, graph: Graph, layer: Layer, x: str) -> tuple[str, NDArray[np.float32]]:
        """Adds a product between marks: activations with one fixed scale, weights with one a channel, symmetric as TensorRT requires.

        Each channel is moved to its middle before; what that takes away, the bias gives back. The layer behind GELU stays in float: with it the mean
        cosine of embeddings is 0.994, without it 0.999.
        """
        if layer.least is not None:
            return in_float(graph, layer, x)
        measured = self.measured[layer.name]
        half = np.float32(0.5)
        middle, reach = half * (measured.most + measured.least), half * (measured.most - measured.least)
        factor = smoothing(reach, layer.weight)
        x = graph.add("Sub", x, graph.constant(f"{layer.name}.middle", middle))
        x = graph.add("Mul", x, graph.constant(f"{layer.name}.smoothing", 1 / factor))
        quantised, scale = per_channel(layer.weight * factor[:, None])
        bias = layer.bias + (middle / factor) @ (quantised * scale)
        largest = max(float((reach / factor).max()), _TINY)
        step = graph.constant(f"{layer.name}.step", np.array(largest / _LIMIT, np.float32))
        zero = graph.constant("zero_int8", np.array(0, np.int8))
        marked = graph.add("DequantizeLinear", graph.add("QuantizeLinear", x, step, zero), step, zero)
        stored = (graph.constant(f"{layer.name}.int8", quantised), graph.constant(f"{layer.name}.scale", scale))
        weight = graph.add("DequantizeLinear", *stored, graph.constant(f"{layer.name}.zeros", np.zeros(len(scale), np.int8)), axis=1)
        return graph.add("MatMul", marked, weight), bias
