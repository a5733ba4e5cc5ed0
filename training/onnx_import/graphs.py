"""What is done to the graph of a network: what a tensor depends on, renamed, pruned, its batch opened."""

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper


def inner_graphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Yield the graphs in a node's attributes, such as the branches of an If."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def needs(node: onnx.NodeProto) -> Iterator[str]:
    """Yield the names of all that a node takes, also inside the graphs in it."""
    yield from (name for name in node.input if name)
    for graph in inner_graphs(node):
        yield from (name for inner in graph.node for name in needs(inner))
        yield from (value.name for value in graph.output)


def needed(graph: onnx.GraphProto, outputs: Iterable[str]) -> tuple[list[onnx.NodeProto], set[str]]:
    """Return the nodes that make these tensors, in their order, and the names of all that they take."""
    wanted, kept = set(outputs), []
    for node in reversed(graph.node):  # a node follows those that it needs
        if not wanted.isdisjoint(node.output):
            kept.append(node)
            wanted.update(needs(node))
    return kept[::-1], wanted


def inputs_behind(graph: onnx.GraphProto, output: str, inputs: Collection[str]) -> set[str]:
    """Return which of the inputs a tensor depends on."""
    return needed(graph, [output])[1] & set(inputs)


def prune(graph: onnx.GraphProto, outputs: Iterable[str]) -> None:
    """Leave in a network only what these outputs need, and nothing of what it says of its tensors."""
    outputs = list(outputs)
    nodes, wanted = needed(graph, outputs)
    kept = {id(node) for node in nodes}
    _keep(graph.node, lambda node: id(node) in kept)
    _keep(graph.initializer, lambda weight: weight.name in wanted)
    _keep(graph.sparse_initializer, lambda weight: weight.values.name in wanted)
    _keep(graph.input, lambda value: value.name in wanted)
    del graph.value_info[:], graph.output[:]
    graph.output.extend(map(helper.make_empty_tensor_value_info, outputs))


def _keep(parts: Any, keep: Callable[[Any], bool]) -> None:
    """Remove from a protobuf list what is not to be kept."""
    chosen = [keep(part) for part in parts]  # before any is removed, for then others move up
    for number in reversed(range(len(parts))):
        if not chosen[number]:
            del parts[number]


def rename(graph: onnx.GraphProto, clashes: Callable[[str], bool], taken: str) -> dict[str, str]:
    """Put `taken` before the names of tensors for which `clashes`; return the new names by the old."""
    names = {name for node in graph.node for name in (*node.output, *needs(node))}
    names |= {value.name for value in (*graph.input, *graph.output, *graph.initializer)}
    new = {name: f"{taken}{name}" for name in names if name and clashes(name)}
    if new:
        _rename(graph, new)
    return new


def _rename(graph: onnx.GraphProto, new: dict[str, str]) -> None:
    for value in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        value.name = new.get(value.name, value.name)
    for node in graph.node:
        for names in (node.input, node.output):
            for number, name in enumerate(names):
                names[number] = new.get(name, name)
        for inner in inner_graphs(node):
            _rename(inner, new)


def open_batch(graph: onnx.GraphProto, batch: int) -> None:
    """Rewrite shapes that name the size of the batch, `batch`, so that it may be any, as far as that can be seen.

    In the shape that a Reshape makes, 0 stands for the size that comes in. Whether it worked must be tried.
    """
    constants = {weight.name: weight for weight in graph.initializer}
    constants |= {
        node.output[0]: attribute.t
        for node in graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    }
    for number, node in enumerate(graph.node):
        if node.op_type != "Reshape" or node.input[1] not in constants or node.input[0] in constants:
            continue
        shape = numpy_helper.to_array(constants[node.input[1]])
        if shape.ndim == 1 and len(shape) and shape[0] == batch:
            opened = np.concatenate([np.zeros(1, np.int64), shape[1:].astype(np.int64)])
            name = f"pixels.shape.{number}"
            graph.initializer.append(numpy_helper.from_array(opened, name))
            node.input[1] = name
    del graph.value_info[:]
