"""A model file's graph in the making: uint8 pixels in; probabilities, fc7 and embedding out. Needs onnx, not torch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8
"""Old enough for the ONNX Runtime of 2022 and for browsers."""


class Graph:
    """Nodes and weights; each method returns the name of the value it adds."""

    def __init__(self, *, half: bool, opset: int = OPSET) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._half, self._opset = half, opset

    def node(self, operator: str, *inputs: str, to: str, **attributes: Any) -> str:
        """Add a node."""
        self.nodes.append(helper.make_node(operator, list(inputs), [to], name=to, **attributes))
        return to

    def constant(self, name: str, values: NDArray[np.generic]) -> str:
        """Add a value that is stored as it is."""
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values).reshape(values.shape), name))
        return name

    def weight(self, name: str, values: NDArray[np.float32]) -> str:
        """Add a weight; matrices and filters in half precision if asked for, cast when the file is loaded."""
        if not self._half or values.ndim < 2:
            return self.constant(name, values)
        stored = self.constant(f"{name}.float16", values.astype(np.float16))
        return self.cast(stored, to=name)

    def cast(self, x: str, *, to: str, type: int = TensorProto.FLOAT) -> str:
        """Add a conversion, to float32 by default."""
        self.nodes.append(helper.make_node("Cast", [x], [to], name=to, to=type))
        return to

    def pixels(self) -> str:
        """Add the input, brought to float32 (n, 3, crop, crop)."""
        return self.node("Transpose", self.cast("pixels", to="pixels.float"), to="pixels.nchw", perm=[0, 3, 1, 2])

    def probabilities(self, logits: str, sizes: Sequence[int] = ()) -> str:
        """Add the softmax of logits (n, classes), of each group of classes for itself where `sizes` divides them."""
        if len(sizes) < 2:
            return self.node("Softmax", logits, to="probabilities", axis=1)
        parts = [f"logits.{number}" for number in range(len(sizes))]
        split = self.constant("groups", np.array(sizes, np.int64))
        self.nodes.append(helper.make_node("Split", [logits, split], parts, name="logits.groups", axis=1))
        shares = [self.node("Softmax", part, to=f"{part}.softmax", axis=1) for part in parts]
        return self.node("Concat", *shares, to="probabilities", axis=1)

    def reduced(self, operator: str, x: str, axes: Sequence[int], *, to: str, keepdims: int) -> str:
        """Add ReduceMean or ReduceL2 over axes, which since opset 18 are an input."""
        if self._opset < 18:
            return self.node(operator, x, to=to, axes=list(axes), keepdims=keepdims)
        return self.node(operator, x, self.constant(f"{to}.axes", np.array(axes, np.int64)), to=to, keepdims=keepdims)

    def unit_length(self, x: str, *, to: str) -> str:
        """Add x / max(|x|, 1e-12) for each row, as torch's `normalize`."""
        length = self.reduced("ReduceL2", x, [1], to=f"{to}.length", keepdims=1)
        floor = self.constant(f"{to}.floor", np.array(1e-12, np.float32))
        return self.node("Div", x, self.node("Max", length, floor, to=f"{to}.bounded"), to=to)

    def model(self, name: str, *, crop: int, outputs: Mapping[str, int]) -> onnx.ModelProto:
        """Return the model; `outputs` has the width of each. The batch size stays open."""
        return helper.make_model(
            helper.make_graph(
                self.nodes,
                name,
                [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", crop, crop, 3])],
                [helper.make_tensor_value_info(out, TensorProto.FLOAT, ["n", width]) for out, width in outputs.items()],
                self.weights,
            ),
            producer_name="fc7",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )
