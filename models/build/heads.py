"""The three models as graphs: what each makes of the vectors of the tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray

from models.build.encoder import Encoder, Layer, Linear, biased, in_float, mean_of_tokens
from models.build.graph import Graph, token_inputs
from models.build.quantise import Measuring
from models.spec import EMBEDDING_SIZE, GUARD_LABELS, TOKEN_CLASSES
from models.tuned import Tuned

#: What the head of each model that has one gives.
LABELS: Final = {"guard": GUARD_LABELS, "pii_tagger": TOKEN_CLASSES}
#: Name and row of what each graph gives: an unscaled mean, scores of a window, classes of its tokens.
OUTPUTS: Final[Mapping[str, tuple[str, tuple[str | int, ...]]]] = {
    "embedder": ("mean", ("rows", EMBEDDING_SIZE)),
    "guard": ("scores", ("rows", len(GUARD_LABELS))),
    "pii_tagger": ("classes", ("rows", "tokens", len(TOKEN_CLASSES))),
}


def model_graph(
    name: str, weights: Mapping[str, NDArray[np.float32]], tuned: Tuned | None, linear: Linear, tokens_max: int, fused: bool, half: bool = False
) -> onnx.ModelProto:
    """Gives the graph of a model.

    Args:
        name: Of the model.
        weights: Of the encoder, deltas merged in.
        tuned: Its head; None for ``embedder``, which has none.
        linear: How the encoder's linear layers compute; heads are small and stay in float.
        tokens_max: Longest row.
        fused: Whether ONNX Runtime's own operators may be used.
        half: Whether it computes in FP16.
    """
    graph = Graph(half)
    tokens = Encoder(weights, linear, fused, tokens_max).add(graph)
    output, shape = OUTPUTS[name]
    return graph.model(name, token_inputs(), {output: (_HEADS[name](graph, tokens, tuned), shape)})


def measuring_graph(name: str, weights: Mapping[str, NDArray[np.float32]], tokens_max: int) -> onnx.ModelProto:
    """Gives the encoder with what flows into each linear layer as outputs, named as the layers are."""
    graph, linear = Graph(), Measuring()
    Encoder(weights, linear, True, tokens_max).add(graph)
    return graph.model(name, token_inputs(), {layer: (value, ("rows", "tokens", f"{layer}.in")) for layer, value in linear.taps.items()})


def _mean(graph: Graph, tokens: str, _tuned: Tuned | None) -> str:
    return mean_of_tokens(graph, tokens)


def _scores(graph: Graph, tokens: str, tuned: Tuned | None) -> str:
    return graph.add("Sigmoid", _head(graph, mean_of_tokens(graph, tokens), tuned))


def _classes(graph: Graph, tokens: str, tuned: Tuned | None) -> str:
    return graph.add("Softmax", _head(graph, tokens, tuned), axis=-1)


def _head(graph: Graph, x: str, tuned: Tuned | None) -> str:
    assert tuned is not None, "a model with a head has tuned weights"
    weight, bias = tuned.head
    return biased(graph, in_float, Layer("head", weight.T, bias), x)


_HEADS: Final = {"embedder": _mean, "guard": _scores, "pii_tagger": _classes}
