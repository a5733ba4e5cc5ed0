"""A network as an ONNX graph: uint8 pixels in; probabilities, fc7 and embedding out."""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import numpy_helper
from torch import Tensor, nn

from retrieval.models.spec import ClassGroup
from training.data.augment import Normalisation
from training.export.embedding import EmbeddingTransform, pooling
from training.export.onnx_graph import Graph
from training.networks.alexnet import AlexNet
from training.networks.layers import LocalContrastNorm, LocalResponseNorm


def build_model(
    network: AlexNet,
    normalisation: Normalisation,
    transform: EmbeddingTransform,
    *,
    half: bool,
    groups: Sequence[ClassGroup] = (),
) -> onnx.ModelProto:
    """Return the ONNX model of a network without batch normalisation (`without_batch_norm`), batch size open."""
    graph, crop = Graph(half=half), network.config.crop
    x = graph.pixels()
    mean = normalisation.centre(crop).cpu().numpy()[None]
    x = graph.node("Sub", x, graph.constant("mean", mean), to="pixels.centred")
    deviation = normalisation.std.cpu().numpy()[None]
    if (deviation != 1).any():
        x = graph.node("Div", x, graph.constant("deviation", deviation), to="pixels.normalised")

    named = {}
    for name, layer in network.features.named_children():
        x = named[name] = _layer(graph, name, layer, x)
    x = graph.node("Flatten", x, to="pool5.flat", axis=1)
    for name, layer in network.hidden.named_children():
        # A hidden layer's activations are what its ReLU or tanh makes of the sums, so they carry its name.
        name = name.replace(network.config.activation, "fc")
        x = named[name] = _layer(graph, name, layer, x)
    logits = _layer(graph, "fc8", network.fc8, x)
    graph.probabilities(logits, [group.size for group in groups])

    parts = []
    for name in transform.recipe.layers:
        part = named[name]
        if name == "pool5":
            if (window := pooling(network.grid, transform.recipe.grid)) > 1:
                part = graph.node("AveragePool", part, to="pool5.mean", kernel_shape=[window] * 2, strides=[window] * 2)
            if transform.recipe.root:
                part = _signed_root(graph, part)
            part = graph.node("Flatten", part, to="pool5.joined", axis=1)
        parts.append(graph.unit_length(part, to=f"{name}.unit"))
    x = graph.node("Concat", *parts, to="joined", axis=1)
    if transform.matrix is not None and transform.offset is not None:
        matrix, offset = _weight(graph, "pca.matrix", transform.matrix), _weight(graph, "pca.offset", transform.offset)
        x = graph.node("Gemm", x, matrix, offset, to="pca", transB=1)
    graph.unit_length(x, to="embedding")

    return graph.model(
        network.config.arch,
        crop=crop,
        outputs={
            "probabilities": network.classes,
            "fc7": network.config.hidden[1],
            "embedding": transform.recipe.dim,
        },
    )


def _signed_root(graph: Graph, x: str) -> str:
    sign, size = graph.node("Sign", x, to="pool5.sign"), graph.node("Abs", x, to="pool5.size")
    return graph.node("Mul", sign, graph.node("Sqrt", size, to="pool5.size.root"), to="pool5.root")


def _weight(graph: Graph, name: str, tensor: Tensor) -> str:
    return graph.weight(name, tensor.detach().cpu().float().numpy())


def _layer(graph: Graph, name: str, layer: nn.Module, x: str) -> str:
    match layer:
        case nn.Conv2d():
            assert layer.bias is not None
            return graph.node(
                "Conv",
                x,
                _weight(graph, f"{name}.weight", layer.weight),
                _weight(graph, f"{name}.bias", layer.bias),
                to=name,
                kernel_shape=list(layer.kernel_size),
                strides=list(layer.stride),
                pads=[int(side) for side in layer.padding] * 2,
                group=layer.groups,
            )
        case nn.Linear():
            weight, bias = _weight(graph, f"{name}.weight", layer.weight), _weight(graph, f"{name}.bias", layer.bias)
            return graph.node("Gemm", x, weight, bias, to=f"{name}.sum", transB=1)
        case nn.ReLU():
            return graph.node("Relu", x, to=name)
        case nn.Tanh():
            return graph.node("Tanh", x, to=name)
        case nn.MaxPool2d(kernel_size=int(size), stride=int(stride)):
            return graph.node("MaxPool", x, to=name, kernel_shape=[size] * 2, strides=[stride] * 2)
        case nn.AvgPool2d(kernel_size=int(size), stride=int(stride)):
            return graph.node("AveragePool", x, to=name, kernel_shape=[size] * 2, strides=[stride] * 2)
        case LocalResponseNorm():
            return _local_response_norm(graph, name, layer, x)
        case LocalContrastNorm():
            return _local_contrast_norm(graph, name, layer, x)
        case nn.Dropout():
            return x
        case _:
            raise TypeError(f"no ONNX form is known for {type(layer).__name__}")


def _local_response_norm(graph: Graph, name: str, layer: LocalResponseNorm, x: str) -> str:
    """Add x / (k + alpha * sum of squares over neighbouring maps) ** beta.

    The sum is a 1x1 convolution with a banded kernel, which runs at the speed of the matrix product; ONNX's own LRN
    halves the speed of the whole network. For beta 0.75 the power is two square roots.
    """
    squares = graph.node("Mul", x, x, to=f"{name}.squares")
    maps, before = layer.maps, layer.size // 2
    distance = np.arange(maps)[None] - np.arange(maps)[:, None]
    band = ((distance >= -before) & (distance < layer.size - before)).astype(np.float32) * np.float32(layer.alpha)
    kernel = graph.constant(f"{name}.band", band[:, :, None, None])
    offset = graph.constant(f"{name}.k", np.full(maps, layer.k, np.float32))
    total = graph.node("Conv", squares, kernel, offset, to=f"{name}.total", kernel_shape=[1, 1])
    if layer.beta == 0.75:
        root = graph.node("Sqrt", total, to=f"{name}.root")
        fourth = graph.node("Sqrt", root, to=f"{name}.fourth")
        power = graph.node("Mul", root, fourth, to=f"{name}.power")
    else:
        beta = graph.constant(f"{name}.beta", np.array(layer.beta, np.float32))
        power = graph.node("Pow", total, beta, to=f"{name}.power")
    return graph.node("Div", x, power, to=name)


def _local_contrast_norm(graph: Graph, name: str, layer: LocalContrastNorm, x: str) -> str:
    """Add what `LocalContrastNorm` does, step by step; the maps' size is asked for when it runs."""
    size, window = layer.size, layer.window.cpu().numpy()
    column = graph.constant(f"{name}.column", window.reshape(1, 1, size, 1))
    row = graph.constant(f"{name}.row", window.reshape(1, 1, 1, size))

    def blur(x: str, to: str) -> str:
        edge = size // 2
        down = graph.node("Conv", x, column, to=f"{to}.down", kernel_shape=[size, 1], pads=[edge, 0, edge, 0])
        return graph.node("Conv", down, row, to=to, kernel_shape=[1, size], pads=[0, edge, 0, edge])

    one, value = graph.constant(f"{name}.one", np.array([1, 1])), numpy_helper.from_array(np.ones(1, np.float32))
    places = graph.node("Concat", one, graph.node("Shape", x, to=f"{name}.size", start=2), to=f"{name}.places", axis=0)
    share = blur(graph.node("ConstantOfShape", places, to=f"{name}.ones", value=value), f"{name}.share")

    def local_mean(x: str, to: str) -> str:
        maps = graph.node("ReduceMean", x, to=f"{to}.maps", axes=[1], keepdims=1)
        return graph.node("Div", blur(maps, f"{to}.sum"), share, to=to)

    centred = graph.node("Sub", x, local_mean(x, f"{name}.mean"), to=f"{name}.centred")
    variance = local_mean(graph.node("Mul", centred, centred, to=f"{name}.squares"), f"{name}.variance")
    least = graph.constant(f"{name}.least", np.array(layer.LEAST**2, np.float32))
    deviation = graph.node("Sqrt", graph.node("Max", variance, least, to=f"{name}.bounded"), to=f"{name}.deviation")
    typical = graph.node("ReduceMean", deviation, to=f"{name}.typical", axes=[2, 3], keepdims=1)
    return graph.node("Div", centred, graph.node("Max", deviation, typical, to=f"{name}.divisor"), to=name)
