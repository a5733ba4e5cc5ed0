"""A network with fc7's inputs and outputs around it: preparation before it, embedding and probabilities after it."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from index.errors import OptionError
from training.export.onnx_graph import Graph
from training.onnx_import.find import Found, is_vector
from training.onnx_import.graphs import open_batch, prune, rename
from training.onnx_import.network_file import ImageInput, Network
from training.onnx_import.preparation import Preparation

Pooling = Literal["first", "mean"]

OURS = ("pixels", "tokens", "mask", "fc7", "embedding", "probabilities", "labels")
"""Names of our inputs and outputs, and beginnings of the names of our other tensors."""
THEIRS = "network/"

FLOATS = {np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64)}


@dataclass(frozen=True, eq=False)
class WordClasses:
    """Classes that are words: embeddings (classes, dim) of unit length, and what their cosines are multiplied with."""

    embeddings: NDArray[np.float32]
    scale: float


@dataclass(frozen=True, eq=False)
class Wrapping:
    """All that is decided about a network before it is wrapped."""

    network: Network
    image: ImageInput
    preparation: Preparation
    found: Found
    shapes: dict[str, tuple[int, ...]]
    """Of the tensors in `found`, for one picture."""
    pooling: Pooling | None = None
    """How several vectors for a picture become one."""
    classes: int = 0
    words: WordClasses | None = None

    @property
    def dim(self) -> int:
        """How many values the embedding has."""
        return int(self._described(np.zeros(self.shapes[self.found.embedding], np.float32)).shape[1])

    def describe(self, features: NDArray[np.generic]) -> NDArray[np.float64]:
        """Return what the graph makes of the embedding's tensor, computed apart from it: (n, dim) of unit length."""
        rows = self._described(features.astype(np.float64))
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        unit: NDArray[np.float64] = rows / np.maximum(lengths, 1e-12)
        return unit

    def _described(self, features: NDArray[np.floating]) -> NDArray[np.floating]:
        if is_vector(features.shape):
            return features.reshape(len(features), -1)
        if self.pooling == "first":
            return features[:, 0]
        found: NDArray[np.floating] = features.mean(axis=self.places)
        return found

    @property
    def places(self) -> tuple[int, ...]:
        """The axes of the embedding's tensor that are places in the picture."""
        if len(self.shapes[self.found.embedding]) == 3:
            return (1,)
        return (2, 3) if self.image.layout == "nchw" else (1, 2)


def check_embedding(path: object, wrapping: Wrapping, types: dict[str, np.dtype[np.generic]]) -> None:
    """Raise OptionError where the tensor of the embedding, or of the logits, is nothing that can be one."""
    found, shapes = wrapping.found, wrapping.shapes
    for option, name in (("--embedding", found.embedding), ("--logits", found.logits)):
        if name is not None and types[name] not in FLOATS:
            raise OptionError(
                f"{name} of {path} is {types[name]}, no vector of numbers", hint=f"name another with {option}"
            )
    shape = shapes[found.embedding]
    if not is_vector(shape):
        told = " × ".join(map(str, shape[1:])) or "no"
        if len(shape) not in (3, 4) or 0 in shape:
            raise OptionError(
                f"{found.embedding} of {path} has {told} values for a picture", hint="name another with --embedding"
            )
        if wrapping.pooling is None or (wrapping.pooling == "first" and len(shape) == 4):
            ways = "--pooling mean, or name a tensor with --embedding that is one vector"
            if len(shape) == 3:
                ways = "--pooling first, which is the class token of most vision transformers, or --pooling mean"
            raise OptionError(
                f"{found.embedding} of {path} has {told} values for a picture", hint=f"make one vector with {ways}"
            )
    if found.logits is not None and not is_vector(shapes[found.logits]):
        raise OptionError(f"{found.logits} of {path} has no single row of scores", hint="name another with --logits")


def wrapped(wrapping: Wrapping, *, one_by_one: bool = False) -> onnx.ModelProto:
    """Return the model with inputs and outputs of fc7's model files.

    `one_by_one`: pictures go through the network one after the other (ONNX's Scan), for networks whose graph works for
    one size of a batch alone. Otherwise shapes that name the size of the batch are rewritten.
    """
    network, image, found = wrapping.network, wrapping.image, wrapping.found
    model = onnx.ModelProto()
    model.CopyFrom(network.model)
    wanted = {found.embedding: None} | ({found.logits: None} if found.logits and wrapping.classes else {})
    prune(model.graph, wanted)
    new = rename(model.graph, is_ours, THEIRS)
    names = {name: new.get(name, name) for name in (*wanted, image.name)}
    graph = Graph(half=False, opset=network.opset)
    if one_by_one:
        _scan(graph, model.graph, wrapping, names)
        model.graph.ClearField("node")
    else:
        if image.batch is not None:
            open_batch(model.graph, image.batch)
        _prepare(graph, wrapping, "pixels", to=names[image.name])
        graph.nodes += model.graph.node
        model.graph.ClearField("node")
    outputs = _describe(graph, wrapping, names)
    side = wrapping.preparation.side
    del model.graph.input[:], model.graph.output[:]
    model.graph.node.extend(graph.nodes)
    model.graph.initializer.extend(graph.weights)
    model.graph.input.append(helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", side, side, 3]))
    model.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", width]) for name, width in outputs.items()
    )
    return model


def is_ours(name: str) -> bool:
    """Tell whether a name of a tensor may clash with one of ours."""
    return name.partition(".")[0] in OURS


def _prepare(graph: Graph, wrapping: Wrapping, x: str, *, to: str) -> None:
    """Add the preparation of pixels (n, side, side, 3), up to the network's own input."""
    image, preparation = wrapping.image, wrapping.preparation
    if preparation.bgr:
        x = graph.node("Gather", x, graph.constant("pixels.order", np.array([2, 1, 0])), to="pixels.bgr", axis=3)
    if image.layout == "nchw":
        x = graph.node("Transpose", x, to="pixels.nchw", perm=[0, 3, 1, 2])
    if image.type != TensorProto.UINT8:
        shape = (3, 1, 1) if image.layout == "nchw" else (3,)
        x = graph.cast(x, to="pixels.float")
        if (preparation.factor != 1).any():
            x = graph.node(
                "Mul", x, graph.constant("pixels.factor", preparation.factor.reshape(shape)), to="pixels.scaled"
            )
        if (preparation.offset != 0).any():
            offset = graph.constant("pixels.offset", preparation.offset.reshape(shape))
            x = graph.node("Add", x, offset, to="pixels.normalised")
        if image.type != TensorProto.FLOAT:
            x = graph.cast(x, to="pixels.cast", type=image.type)
    graph.node("Identity", x, to=to)


def _scan(graph: Graph, network: onnx.GraphProto, wrapping: Wrapping, names: dict[str, str]) -> None:
    """Add a loop over the pictures, through the network for one of them at a time.

    A network for batches of another size is given copies of the picture, and the first row of its answer is taken.
    """
    inner, side, batch = (
        Graph(half=False, opset=wrapping.network.opset),
        wrapping.preparation.side,
        wrapping.image.batch or 1,
    )
    one = inner.constant("pixels.shape", np.array([1, side, side, 3]))
    x = inner.node("Reshape", "pixels.picture", one, to="pixels.one")
    if batch > 1:
        x = inner.node("Expand", x, inner.constant("pixels.batch", np.array([batch, 1, 1, 1])), to="pixels.copies")
    _prepare(inner, wrapping, x, to=names[wrapping.image.name])
    inner.nodes += network.node
    results, rows = {}, []
    for number, name in enumerate(network_outputs := [value.name for value in network.output]):
        row = inner.node(
            "Gather", name, inner.constant(f"pixels.first.{number}", np.array(0)), to=f"pixels.row.{number}", axis=0
        )
        rows.append(helper.make_empty_tensor_value_info(row))
        results[name] = f"{name}.rows"
    body = helper.make_graph(
        inner.nodes,
        "picture",
        [helper.make_tensor_value_info("pixels.picture", TensorProto.UINT8, [side, side, 3])],
        rows,
    )
    graph.weights += inner.weights
    graph.nodes.append(
        helper.make_node("Scan", ["pixels"], [results[name] for name in network_outputs], body=body, num_scan_inputs=1)
    )
    for name, new in list(names.items()):
        names[name] = results.get(new, new)


def _describe(graph: Graph, wrapping: Wrapping, names: dict[str, str]) -> dict[str, int]:
    """Add what is made of the network's tensors; return the outputs with their widths."""
    found, shape = wrapping.found, wrapping.shapes[wrapping.found.embedding]
    x = graph.cast(names[found.embedding], to="fc7.float")
    if is_vector(shape):
        x = graph.node("Flatten", x, to="fc7", axis=1)
    elif wrapping.pooling == "first":
        x = graph.node("Gather", x, graph.constant("fc7.number", np.array(0)), to="fc7", axis=1)
    else:
        x = graph.reduced("ReduceMean", x, wrapping.places, to="fc7", keepdims=0)
    graph.unit_length(x, to="embedding")
    outputs = {"fc7": wrapping.dim, "embedding": wrapping.dim}
    if wrapping.words is not None:
        scaled = graph.constant(
            "labels.matrix", np.ascontiguousarray(wrapping.words.scale * wrapping.words.embeddings.T)
        )
        graph.probabilities(graph.node("MatMul", "embedding", scaled, to="labels.logits"))
        outputs["probabilities"] = len(wrapping.words.embeddings)
    elif wrapping.classes and found.logits is not None:
        logits = graph.node(
            "Flatten", graph.cast(names[found.logits], to="probabilities.float"), to="probabilities.flat", axis=1
        )
        if found.share:
            graph.node("Identity", logits, to="probabilities")
        else:
            graph.probabilities(logits)
        outputs["probabilities"] = wrapping.classes
    return outputs
