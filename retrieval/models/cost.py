"""What each layer of a model has and costs, and the time that it takes: `fc7 info MODEL --layers`.

Everything is read off ONNX Runtime's profiler, so it holds for any model file and needs nothing but ONNX Runtime. The
names of nodes are those that `training.export.alexnet_graph` gives: `conv1`, `relu1`, `norm1.squares`, `fc6.sum` …
"""

import os
import re
from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from index.errors import UserError
from retrieval.models.model import Model, model_file
from retrieval.models.runtime import NodeRun, profile
from retrieval.pipeline.machine import usable_cores

EMBEDDING = "embedding"
KINDS = {
    "pixels": "input",
    "conv": "convolution",
    "norm": "local norm",
    "pool": "pooling",
    "fc": "dense",
    EMBEDDING: "projection",
}

LEARNED = ("convolution", "dense", "projection")
PRODUCTS = ("Conv", "Gemm")

DECORATION = re.compile(r"^fused |(_nchwc|_token_\d+)+$")
"""What ONNX Runtime puts before or behind the name of a node that it changes."""

RUNS = 20
WARM_UP = 3
"""Runs before those that count."""


@dataclass(frozen=True)
class LayerCost:
    """One layer, for one picture: the shape that comes out, what it consists of, and what it takes.

    `forward` and `backward` are multiply-adds of convolutions and dense layers. Backward is the gradient of the weights
    and that of what goes in, each as much as forward; the first layer needs only the former. `embedding` is not learned
    by gradients.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    neurons: int
    parameters: int
    forward: int
    backward: int
    milliseconds: float
    """The fastest of the runs: other programs can only make one slower."""


@dataclass(frozen=True)
class ModelCost:
    """The layers of a model in their order, and what they were timed with."""

    name: str
    threads: int
    runs: int
    layers: tuple[LayerCost, ...]

    @property
    def in_table(self) -> tuple[LayerCost, ...]:
        """The network's layers, their sum, and what is made of them."""
        return (*self._network, self.total, *(layer for layer in self.layers if layer.name == EMBEDDING))

    @property
    def _network(self) -> list[LayerCost]:
        return [layer for layer in self.layers if layer.name != EMBEDDING]

    @property
    def total(self) -> LayerCost:
        """The sums over the network, without the embedding that is made of its layers."""
        network = self._network
        return LayerCost(
            name="total",
            kind="",
            output=(),
            neurons=sum(layer.neurons for layer in network),
            parameters=sum(layer.parameters for layer in network),
            forward=sum(layer.forward for layer in network),
            backward=sum(layer.backward for layer in network),
            milliseconds=round(sum(layer.milliseconds for layer in network), 4),
        )


def model_cost(path: Path | None = None, *, runs: int = RUNS, threads: int | None = None) -> ModelCost:
    """Measure the layers of a model file, or of the built-in one, on the CPU. Raises UserError, as `Model.load`."""
    path = model_file(path)
    if not os.path.isfile(path):
        raise UserError(f"{path} is no model file; name one, or leave it out for the built-in model")
    name = Model.load(path, device="cpu", threads=threads).spec.name
    nodes = sorted(profile(path, runs=1, optimised=False, threads=threads), key=lambda node: node.place)
    parts: dict[str, list[NodeRun]] = defaultdict(list)
    for node in nodes:
        parts[layer_of(node.name)].append(node)
    seconds = seconds_by_layer(profile(path, runs=WARM_UP + runs, optimised=True, threads=threads), parts)
    first = next((layer for layer in parts if _kind(layer) in LEARNED), None)
    layers = tuple(
        _cost(layer, found, seconds.get(layer, [])[WARM_UP:], first=layer == first) for layer, found in parts.items()
    )
    return ModelCost(name, threads or usable_cores(), runs, layers)


def layer_of(node: str) -> str:
    """Return the layer that a node of the graph belongs to."""
    head, _, rest = node.partition(".")
    if node == "pool5.flat":
        return "fc6"
    part = rest.partition(".")[0]
    if head in ("joined", "pca") or (part in ("unit", "mean", "joined") and not head.startswith("norm")):
        return EMBEDDING
    if head in ("logits", "probabilities"):
        return "fc8"
    return re.sub(r"^(relu|tanh)(\d+)$", r"conv\2", head)


def seconds_by_layer(runs: Iterable[NodeRun], known: Container[str]) -> dict[str, list[float]]:
    """Return for each layer the seconds that its nodes took in each run.

    A node that ONNX Runtime merged from several has the name of one of them, with a prefix or suffix; one
    that it added counts as of the layer before it.
    """
    found: dict[str, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    times_seen: dict[str, int] = defaultdict(int)
    layer = ""
    for node in runs:
        named = layer_of(DECORATION.sub("", node.name))
        layer = named if named in known else layer
        found[layer][times_seen[node.name]] += node.seconds
        times_seen[node.name] += 1
    return {layer: list(by_run.values()) for layer, by_run in found.items()}


def _cost(name: str, nodes: Sequence[NodeRun], seconds: Sequence[float], *, first: bool) -> LayerCost:
    kind = _kind(name)
    products = [node for node in nodes if node.operator in PRODUCTS] if kind in LEARNED else []
    # A filter works at each place of its map; a matrix once for a picture.
    forward = sum(prod(node.inputs[1]) * prod(node.output[2:]) for node in products)
    output = nodes[-1].output[1:]
    gradients = 0 if name == EMBEDDING else 1 if first else 2
    return LayerCost(
        name=name,
        kind=kind,
        output=output,
        neurons=prod(output) if products else 0,
        parameters=sum(prod(shape) for node in products for shape in node.inputs[1:]),
        forward=forward,
        backward=gradients * forward,
        milliseconds=round(1000 * min(seconds), 4) if seconds else 0.0,
    )


def _kind(layer: str) -> str:
    return KINDS.get(layer.rstrip("0123456789"), "")
