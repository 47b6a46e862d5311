"""The base encoder (BERT: MiniLM, six layers) as an ONNX graph, straight from its weights.

One description in two dialects: ``fused`` speaks ONNX Runtime's own operators, which are faster on a CPU; else it keeps to the ONNX standard, which
TensorRT reads. How a linear layer computes is given from outside: in FP32, in INT8, between quantisation marks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from models.build.graph import MICROSOFT, Graph

HEADS: Final = 12
_EPSILON: Final = 1e-12
#: What GELU gives is never less: its minimum is -0.16997 at -0.7518.
GELU_LEAST: Final = -0.17
#: Added to what attention may not look at; small enough for FP16.
_MASKED: Final = -1e4

Weights = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Layer:
    """A linear layer: ``x @ weight + bias``.

    Attributes:
        name: Unique in the graph.
        weight: float32[in, out].
        bias: float32[out].
        least: Nothing in ``x`` is less than this; None where that is not known.
    """

    name: str
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    least: float | None = None


class Linear(Protocol):
    """Adds the product of a linear layer to a graph; whoever asked adds the bias, because the operator that follows may do it on its way."""

    def __call__(self, graph: Graph, layer: Layer, x: str) -> tuple[str, NDArray[np.float32]]:
        """Gives the name of the product, and the bias that is still to be added."""
        ...


def in_float(graph: Graph, layer: Layer, x: str) -> tuple[str, NDArray[np.float32]]:
    """Adds a product in FP32."""
    return graph.add("MatMul", x, graph.constant(f"{layer.name}.weight", layer.weight)), layer.bias


@dataclass(frozen=True, slots=True)
class Encoder:
    """The layers of the encoder.

    Attributes:
        weights: By the keys of the base encoder, deltas merged in.
        linear: How linear layers compute.
        fused: Whether ONNX Runtime's own operators may be used.
        tokens_max: Longest row.
    """

    weights: Weights
    linear: Linear
    fused: bool
    tokens_max: int

    @property
    def size(self) -> int:
        """Length of a token's vector."""
        return int(self.weights["embeddings.word_embeddings.weight"].shape[1])

    @property
    def layer_count(self) -> int:
        """How many layers the weights hold."""
        return sum(key.endswith("attention.self.query.weight") for key in self.weights)

    def add(self, graph: Graph) -> str:
        """Adds the whole encoder and gives float32[rows, tokens, size]: the vector of each token."""
        blocked = ""
        if not self.fused:
            mask = graph.to_float("attention_mask")
            away = graph.add("Mul", graph.add("Sub", graph.constant("one", _scalar(1)), mask), graph.constant("masked", _scalar(_MASKED)))
            blocked = graph.add("Unsqueeze", away, graph.integers(1, 2))
        x = self._embeddings(graph)
        for number in range(self.layer_count):
            layer = f"encoder.layer.{number}"
            attended = self._attention(graph, f"{layer}.attention.self", x, blocked)
            x = self._add_and_norm(graph, f"{layer}.attention.output", attended, x)
            inner = self._gelu(graph, self._layer(f"{layer}.intermediate.dense"), x)
            x = self._add_and_norm(graph, f"{layer}.output", inner, x, GELU_LEAST)
        return x

    def _embeddings(self, graph: Graph) -> str:
        """Adds words and places; the type of every token is 0, folded into the places."""
        places = self.weights["embeddings.position_embeddings.weight"] + self.weights["embeddings.token_type_embeddings.weight"][0]
        table = graph.constant("embeddings.places", places[: self.tokens_max])
        count = graph.add("Shape", "input_ids", start=1, end=2)
        place = graph.add("Slice", table, graph.integers(0), count, graph.integers(0))
        word = graph.add("Gather", graph.constant("embeddings.words", self.weights["embeddings.word_embeddings.weight"]), "input_ids")
        return self._norm(graph, "embeddings.LayerNorm", graph.add("Add", word, place))

    def _layer(self, key: str, least: float | None = None) -> Layer:
        return Layer(key, self.weights[f"{key}.weight"].T, self.weights[f"{key}.bias"], least)

    def _gelu(self, graph: Graph, layer: Layer, x: str) -> str:
        if not self.fused:
            return graph.add("Gelu", biased(graph, self.linear, layer, x))
        product, bias = self.linear(graph, layer, x)
        return graph.add("BiasGelu", product, graph.constant(f"{layer.name}.bias", bias), domain=MICROSOFT)

    def _attention(self, graph: Graph, key: str, x: str, blocked: str) -> str:
        """Adds queries, keys and values as one linear layer, and what each token takes from the others."""
        parts = ("query", "key", "value")
        weight = np.concatenate([self.weights[f"{key}.{part}.weight"].T for part in parts], axis=1)
        bias = np.concatenate([self.weights[f"{key}.{part}.bias"] for part in parts])
        layer = Layer(f"{key}.query_key_value", weight, bias)
        if self.fused:
            product, bias = self.linear(graph, layer, x)
            query = graph.add("Split", product, axis=-1, num_outputs=3, outputs=3)
            inputs = (query, f"{query}_1", f"{query}_2", graph.constant(f"{layer.name}.bias", bias), "attention_mask")
            return graph.add("MultiHeadAttention", *inputs, domain=MICROSOFT, num_heads=HEADS)
        query = graph.add("Split", biased(graph, self.linear, layer, x), axis=-1, num_outputs=3, outputs=3)
        rows = graph.integers(0, 0, HEADS, self.size // HEADS)
        q, k, v = (graph.add("Reshape", part, rows) for part in (query, f"{query}_1", f"{query}_2"))
        q = graph.add("Mul", graph.add("Transpose", q, perm=[0, 2, 1, 3]), graph.constant("scale", _scalar((self.size // HEADS) ** -0.5)))
        alike = graph.add("MatMul", q, graph.add("Transpose", k, perm=[0, 2, 3, 1]))
        share = graph.add("Softmax", graph.add("Add", alike, blocked), axis=-1)
        taken = graph.add("MatMul", share, graph.add("Transpose", v, perm=[0, 2, 1, 3]))
        return graph.add("Reshape", graph.add("Transpose", taken, perm=[0, 2, 1, 3]), graph.integers(0, 0, self.size))

    def _add_and_norm(self, graph: Graph, key: str, x: str, before: str, least: float | None = None) -> str:
        layer = self._layer(f"{key}.dense", least)
        if not self.fused:
            return self._norm(graph, f"{key}.LayerNorm", graph.add("Add", biased(graph, self.linear, layer, x), before))
        product, bias = self.linear(graph, layer, x)
        constants = (*self._norm_constants(graph, f"{key}.LayerNorm"), graph.constant(f"{layer.name}.bias", bias))
        return graph.add("SkipLayerNormalization", product, before, *constants, domain=MICROSOFT, epsilon=_EPSILON)

    def _norm(self, graph: Graph, key: str, x: str) -> str:
        return graph.add("LayerNormalization", x, *self._norm_constants(graph, key), axis=-1, epsilon=_EPSILON)

    def _norm_constants(self, graph: Graph, key: str) -> tuple[str, str]:
        return graph.constant(f"{key}.weight", self.weights[f"{key}.weight"]), graph.constant(f"{key}.bias", self.weights[f"{key}.bias"])


def biased(graph: Graph, linear: Linear, layer: Layer, x: str) -> str:
    """Adds a linear layer with its bias."""
    product, bias = linear(graph, layer, x)
    return graph.add("Add", product, graph.constant(f"{layer.name}.bias", bias))


def mean_of_tokens(graph: Graph, x: str) -> str:
    """Adds the mean over the tokens that the mask keeps: [rows, size]."""
    mask = graph.to_float("attention_mask")
    kept = graph.add("Mul", x, graph.add("Unsqueeze", mask, graph.integers(-1)))
    return graph.add("Div", graph.add("ReduceSum", kept, graph.integers(1), keepdims=0), graph.add("ReduceSum", mask, graph.integers(1), keepdims=1))


def _scalar(value: float) -> NDArray[Any]:
    return np.array(value, np.float32)
