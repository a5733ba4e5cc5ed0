"""Which tensor of a network is the embedding, and which the scores of its classes.

A classifier ends with a matrix product, and what goes into that describes a picture. Other networks end with what
describes a picture. Where a graph can be read both ways, the user is asked.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import onnx

from index.errors import OptionError

EMBEDDINGS = (
    *("image_embeds", "image_embeddings", "text_embeds", "text_embeddings", "pooler_output", "pooled_output"),
    *("sentence_embedding", "embeddings", "embedding", "features"),
)
"""What transformers, sentence-transformers and others call the output that describes a picture or text; best first."""

SCORES = ("logits", "probabilities", "probs", "scores", "predictions")

CLASS_COUNTS = {1000, 1001, 21841, 21843, 11821, 11221}
"""Of ImageNet and its larger relatives: so many values are the classes of a classifier."""

RENAMING = {"Identity", "Cast", "Dropout", "Flatten", "Reshape", "Squeeze", "Unsqueeze"}
QUANTISING = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}
SHARING = {"Softmax", "LogSoftmax", "Sigmoid", "HardSigmoid"}
"""What ends a network that gives probabilities."""
WITH_CONSTANT = {"Add", "Sub", "Mul", "Div"}
PRODUCTS = {"Gemm", "MatMul", "Conv", "MatMulInteger", "ConvInteger", "QLinearMatMul", "QLinearConv", "QGemm"}
PRODUCTS |= {"FusedGemm", "FusedMatMul", "MatMulNBits", "DynamicQuantizeMatMul"}


@dataclass(frozen=True)
class Head:
    """The end of a classifier: what goes into its last product, and what is known of it."""

    features: str
    bias: bool
    probabilities: str | None
    """The kind of node that makes probabilities of the scores, if any."""


@dataclass(frozen=True)
class Found:
    """The tensors of a network that fc7 uses; `share` where `logits` are probabilities already."""

    embedding: str
    logits: str | None = None
    share: bool = False


class Ends:
    """The ends of a graph, seen from its outputs backwards."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._makers = {name: node for node in graph.node for name in node.output}
        self._constants = {weight.name for weight in graph.initializer}
        for node in graph.node:  # weights that are unpacked or turned around first are constants as well
            if all(name in self._constants for name in node.input if name):
                self._constants.update(node.output)

    def head(self, output: str) -> Head | None:
        """Return the head of which `output` is the result, None where it is not that of a classifier."""
        bias, kind, name = False, None, output
        while (node := self._makers.get(name)) is not None:
            data = [value for value in node.input if value and value not in self._constants]
            if node.op_type in PRODUCTS:
                # A product of two activations, as in attention, is no layer.
                return self._head(node, bias, kind) if len(data) == 1 or "Integer" in node.op_type else None
            if node.op_type in RENAMING | QUANTISING | SHARING:
                kind = node.op_type if node.op_type in SHARING else kind
                name = node.input[0]
            elif node.op_type in WITH_CONSTANT and len(data) == 1:
                bias |= node.op_type == "Add"
                name = data[0]
            elif node.op_type == "Mul" and (whole := [value for value in data if self._is_of_integers(value)]):
                name = whole[0]  # a product of integers, brought to its scale
            else:
                return None
        return None

    def _head(self, node: onnx.NodeProto, bias: bool, kind: str | None) -> Head:
        least = {"Gemm": 3, "FusedGemm": 3, "Conv": 3, "QLinearConv": 9, "QGemm": 7}.get(node.op_type)
        name = node.input[0]
        while (maker := self._makers.get(name)) is not None and (
            maker.op_type in ("QuantizeLinear", "DynamicQuantizeLinear", "Dropout", "Identity")
        ):
            name = maker.input[0]
        return Head(name, bias or (least is not None and len(node.input) >= least), kind)

    def _is_of_integers(self, name: str) -> bool:
        node = self._makers.get(name)
        if node is not None and node.op_type == "Cast":
            node = self._makers.get(node.input[0])
        return node is not None and node.op_type in ("MatMulInteger", "ConvInteger")


def candidates(graph: onnx.GraphProto, outputs: Sequence[str]) -> dict[str, Head]:
    """Return the heads of those outputs that have one, by output."""
    ends = Ends(graph)
    heads = {output: ends.head(output) for output in outputs}
    return {output: head for output, head in heads.items() if head is not None}


def choose(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    heads: Mapping[str, Head],
    outputs: Sequence[str],
    *,
    embedding: str | None,
    logits: str | None,
    classes: bool,
) -> Found:
    """Choose among the outputs, and what goes into their heads; `shapes` has those of all of these, for one picture.

    `embedding` and `logits` are those that the user names; `classes`: logits are needed. Raises OptionError where the
    user must choose.
    """
    vectors = [name for name in outputs if is_vector(shapes[name])]
    scores = logits or _scores(vectors, heads, shapes, classes=classes, embedding=embedding)
    if classes and scores is None:
        raise OptionError(
            f"which tensor of {path} has the scores of its classes cannot be told",
            hint=f"name it with --logits{_listed(vectors, shapes)}",
        )
    head = None if scores is None else heads.get(scores)
    share = head is not None and head.probabilities not in (None, "LogSoftmax")
    if embedding is None:
        embedding = _embedding(path, vectors, heads, shapes, outputs, scores)
    return Found(embedding, scores, share)


def _scores(
    vectors: Sequence[str],
    heads: Mapping[str, Head],
    shapes: Mapping[str, tuple[int, ...]],
    *,
    classes: bool,
    embedding: str | None,
) -> str | None:
    """Return the output that must be scores of classes, None where none must be."""

    def sure(name: str) -> bool:
        head = heads.get(name)
        if name.lower() in SCORES:
            return True
        return head is not None and (head.probabilities is not None or head.bias or shapes[name][1] in CLASS_COUNTS)

    possible = [name for name in vectors if name.lower() not in EMBEDDINGS and name != embedding]
    certain = [name for name in possible if sure(name)]
    if classes and not certain:
        certain = [name for name in possible if name in heads]
    return certain[0] if len(certain) == 1 else None


def _embedding(
    path: Path,
    vectors: Sequence[str],
    heads: Mapping[str, Head],
    shapes: Mapping[str, tuple[int, ...]],
    outputs: Sequence[str],
    scores: str | None,
) -> str:
    named = [name for wanted in EMBEDDINGS for name in outputs if name.lower() == wanted]
    if named:
        return named[0]
    if scores is not None and scores in heads:
        return heads[scores].features
    # A product without a bias may be the classes' or a projection of what goes into it.
    both = dict.fromkeys(
        chain.from_iterable((name, heads[name].features) if name in heads else (name,) for name in vectors)
    )
    rest = [name for name in both if name != scores]
    if len(rest) == 1:
        return rest[0]
    if not rest and len(outputs) == 1 and outputs[0] != scores:
        return outputs[0]
    if rest:
        raise OptionError(
            f"{path} has {len(rest)} tensors that may be the embedding",
            hint=f"choose one with --embedding{_listed(rest, shapes)}",
        )
    raise OptionError(
        f"which tensor of {path} is the embedding cannot be told",
        hint=f"name one with --embedding{_listed(outputs, shapes)}",
    )


def is_vector(shape: Sequence[int]) -> bool:
    """Tell whether a tensor of this shape, for one picture, has one vector for it."""
    return len(shape) == 2 or (len(shape) == 4 and sorted(shape[1:])[:2] == [1, 1])


def _listed(names: Collection[str], shapes: Mapping[str, tuple[int, ...]]) -> str:
    if not names:
        return ""
    told = (f"{name} of {' × '.join(map(str, shapes[name][1:])) or 1} values" for name in names)
    return f": {', or '.join(told)}"


def check_named(path: Path, model: onnx.ModelProto, option: str, name: str | None) -> None:
    """Raise OptionError where a tensor that the user names is not in the network."""
    if name is None:
        return
    there = {output for node in model.graph.node for output in node.output}
    if name not in there:
        shown = ", ".join(output.name for output in model.graph.output)
        raise OptionError(f"{path} has no tensor {name}; its outputs are {shown}", hint=f"name another with {option}")
