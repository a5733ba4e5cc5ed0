"""The graph inside a model file: read, looked into and changed. The one place in retrieval where `onnx` is imported."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from index.errors import MissingPackageError, ModelError, OptionError
from retrieval.models.model import model_file
from retrieval.models.runtime import open_graph

if TYPE_CHECKING:
    import onnx

FOLDED = ("Cast", "Constant", "Identity")
"""Operators between a stored weight and the layer that uses it."""


def load_onnx() -> Any:
    """Return the module `onnx`. Raises MissingPackageError, naming the extra, where it is not installed."""
    try:
        import onnx
        import onnx.helper
        import onnx.numpy_helper
        import onnx.shape_inference
    except ImportError:
        raise MissingPackageError(
            "looking inside a network needs onnx, which is not installed: pip install 'fc7[onnx]'"
        ) from None
    return onnx


@dataclass(frozen=True, eq=False)
class GraphFile:
    """A model file's ONNX graph; nothing that is made of it changes the file."""

    path: Path
    model: "onnx.ModelProto"

    @classmethod
    def read(cls, path: Path | None) -> "GraphFile":
        """Read the model file that is named as for `Model.load`. Raises ModelError and MissingPackageError."""
        onnx, path = load_onnx(), model_file(path)
        if not os.path.isfile(path):
            raise ModelError(f"there is no model file {path}", hint="`fc7 import --list` tells which there are")
        try:
            return cls(path, onnx.load_model_from_string(path.read_bytes()))
        except OSError as error:
            raise ModelError(f"{path} cannot be read ({error.strerror})") from error
        except Exception as error:  # protobuf's own exception, of a package that is not named here
            raise ModelError(f"{path} is not a readable ONNX model") from error

    @property
    def graph(self) -> "onnx.GraphProto":
        """The graph itself."""
        return self.model.graph

    @cached_property
    def producers(self) -> Mapping[str, "onnx.NodeProto"]:
        """The node that makes each tensor."""
        return {name: node for node in self.graph.node for name in node.output}

    @cached_property
    def stored(self) -> Mapping[str, "onnx.TensorProto"]:
        """The stored weights by name."""
        return {weight.name: weight for weight in self.graph.initializer}

    @cached_property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of each tensor for one picture, without the batch, as far as onnx can tell it."""
        onnx = load_onnx()
        inferred = onnx.shape_inference.infer_shapes(self.model, data_prop=True).graph
        found = {}
        for value in (*inferred.input, *inferred.value_info, *inferred.output):
            dims = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            if dims and all(dims[1:]):
                found[value.name] = tuple(dims[1:])
        return found

    def constant(self, name: str) -> NDArray[np.generic] | None:
        """Return a tensor that is the same for every picture: a weight, or a weight that is cast. None for others."""
        onnx = load_onnx()
        if name in self.stored:
            return np.asarray(onnx.numpy_helper.to_array(self.stored[name]))
        node = self.producers.get(name)
        if node is None or node.op_type not in FOLDED:
            return None
        values = attributes(node)
        if node.op_type == "Constant":
            return np.asarray(onnx.numpy_helper.to_array(values["value"])) if "value" in values else None
        inner = self.constant(node.input[0])
        if inner is None or node.op_type == "Identity":
            return inner
        return inner.astype(onnx.helper.tensor_dtype_to_np_dtype(values["to"]))

    def ancestors(self, name: str) -> list["onnx.NodeProto"]:
        """Return the nodes that a tensor is made by, in their order."""
        wanted, found = {name}, []
        for node in reversed(self.graph.node):
            if wanted.intersection(node.output):
                found.append(node)
                wanted.update(node.input)
        return found[::-1]

    def tensors(self) -> list[str]:
        """Name the tensors that depend on the picture, in the order in which they are made."""
        known, names = {value.name for value in self.graph.input}, []
        for node in self.graph.node:
            if known.intersection(node.input):
                known.update(node.output)
                names += [name for name in node.output if name]
        return names

    def values(self, pixels: NDArray[np.uint8], names: Sequence[str]) -> list[NDArray[np.float32]]:
        """Return tensors inside the network for pictures (n, crop, crop, 3), by adding outputs to a copy of the graph.

        Raises OptionError for a tensor that there is not.
        """
        onnx = load_onnx()
        known = set(self.tensors())
        if missing := [name for name in names if name not in known]:
            raise OptionError(f"{self.path.name} has no tensor {missing[0]}")
        changed = onnx.ModelProto()
        changed.CopyFrom(self.model)
        del changed.graph.output[:]
        changed.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
        session = open_graph(changed.SerializeToString(), name=self.path)
        return [np.asarray(found) for found in session.run(list(names), {"pixels": np.ascontiguousarray(pixels)})]


def attributes(node: "onnx.NodeProto") -> dict[str, Any]:
    """Return a node's attributes as plain values."""
    onnx = load_onnx()
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
