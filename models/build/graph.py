"""A small writer of ONNX graphs: nodes and constants by name, in the order they are asked for, so that the same calls give the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

#: Operators that ONNX Runtime adds to the standard: fused attention and normalisation, products of quantised matrices.
MICROSOFT: Final = "com.microsoft"
_OPSET: Final = 20
_IR_VERSION: Final = 9


class Graph:
    """Nodes and constants of a graph under construction; a value is known by its name.

    Args:
        half: Whether it computes in FP16: float constants become FP16, and so does what is cast to the graph's float. Outputs stay FP32.
    """

    def __init__(self, half: bool = False) -> None:
        self._half = half
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Adds a constant, once a name, and gives its name."""
        if self._half and value.dtype == np.float32:
            value = value.astype(np.float16)
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def to_float(self, x: str) -> str:
        """Adds a cast to what the graph computes in."""
        return self.add("Cast", x, to=TensorProto.FLOAT16 if self._half else TensorProto.FLOAT)

    def integers(self, *values: int) -> str:
        """Adds int64[values] as operators want shapes and axes."""
        return self.constant(f"int64_{'_'.join(map(str, values))}", np.array(values, np.int64))

    def add(self, kind: str, *inputs: str, outputs: int = 1, domain: str = "", **attributes: Any) -> str:
        """Adds a node and gives the name of its first output; the others are named alike, with ``_1``, ``_2`` behind."""
        name = f"{kind}_{len(self._nodes)}"
        names = [name, *(f"{name}_{number}" for number in range(1, outputs))]
        self._nodes.append(helper.make_node(kind, inputs, names, name=name, domain=domain, **attributes))
        return name

    def model(self, name: str, inputs: Sequence[onnx.ValueInfoProto], outputs: Mapping[str, tuple[str, Sequence[str | int]]]) -> onnx.ModelProto:
        """Gives the model.

        Args:
            name: Of the graph.
            inputs: What it takes.
            outputs: For each output its value and its shape; all are FP32.
        """
        ends = [helper.make_node("Cast", [value], [output], name=f"give_{output}", to=TensorProto.FLOAT) for output, (value, _) in outputs.items()]
        made = [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape) for output, (_, shape) in outputs.items()]
        graph = helper.make_graph([*self._nodes, *ends], name, list(inputs), made, list(self._constants.values()))
        domains = {node.domain for node in self._nodes}
        opsets = [helper.make_opsetid("", _OPSET), *(helper.make_opsetid(domain, 1) for domain in sorted(domains - {""}))]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="headrace")
        if domains <= {""}:
            onnx.checker.check_model(model, full_check=True)
        return model


def token_inputs() -> list[onnx.ValueInfoProto]:
    """Gives what every encoder takes: int32[rows, tokens] of ids, and a mask that is 1 where a token is."""
    return [helper.make_tensor_value_info(name, TensorProto.INT32, ["rows", "tokens"]) for name in ("input_ids", "attention_mask")]
