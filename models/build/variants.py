"""The variants of a model: in which numbers its encoder computes, and for which runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray

from models.build.encoder import Linear, in_float
from models.build.heads import model_graph
from models.build.quantise import Marked, PerToken, Ranges
from models.tuned import Tuned


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to compute a model.

    Attributes:
        name: In the manifest and in file names.
        what: A line for the manifest.
        fused: Whether it uses ONNX Runtime's own operators.
        half: Whether all that is not INT8 is FP16.
        linear: Makes the linear layers from the measured ranges.
        measures: Whether it needs them.
    """

    name: str
    what: str
    fused: bool
    half: bool
    linear: Callable[[Mapping[str, Ranges]], Linear]
    measures: bool

    def graph(
        self, model: str, weights: Mapping[str, NDArray[np.float32]], tuned: Tuned | None, measured: Mapping[str, Ranges], tokens_max: int
    ) -> onnx.ModelProto:
        """Gives the model in this variant."""
        return model_graph(model, weights, tuned, self.linear(measured), tokens_max, self.fused, self.half)


FP32: Final = Variant("fp32", "FP32; the reference", True, False, lambda _: in_float, False)
INT8: Final = Variant("int8", "INT8 weights with a scale a channel, INT8 activations with a scale a token, smoothed", True, False, PerToken, True)
#: For ``--target gpu``: standard ONNX that TensorRT, or ONNX Runtime's TensorRT provider, reads.
GPU_FP16: Final = Variant("fp16", "FP16 throughout; normalisation and softmax as TensorRT computes them", False, True, lambda _: in_float, False)
#: What is not INT8 stays FP32: rounded to FP16, a last bit that padding changes tips roundings to INT8 over, and a batch moved embeddings by 3e-3.
GPU_INT8: Final = Variant(
    "gpu_int8",
    "INT8 between marks with fixed scales (weights a channel, activations a layer), smoothed; the layer behind GELU and the rest FP32",
    False,
    False,
    Marked,
    True,
)

CPU_VARIANTS: Final = {variant.name: variant for variant in (FP32, INT8)}
GPU_VARIANTS: Final = {variant.name: variant for variant in (GPU_FP16, GPU_INT8)}
