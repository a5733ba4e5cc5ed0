"""A network for pictures of one size, made into one for pictures of any size that gives a map of class scores.

Fully connected layers become convolutions (Sermanet et al. 2014, "OverFeat", section 3.4; Long et al. 2015), so that
one pass over a larger picture classifies every window of it, as far apart as the network's strides. A network that
averages its last maps before one linear layer gives the class activation map of Zhou et al. (2016): the linear layer is
applied before the average, at each place.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from index.errors import ModelError
from retrieval.models.graph_file import GraphFile, attributes, load_onnx
from retrieval.models.runtime import open_graph
from retrieval.models.spec import ModelSpec, require_classes

if TYPE_CHECKING:
    import onnx

UNARY = {"Relu", "Clip", "Tanh", "Sigmoid", "HardSigmoid", "HardSwish", "LeakyRelu", "Elu", "Gelu", "Identity", "Cast"}
BINARY = {"Add", "Sub", "Mul", "Div"}
SPATIAL = {"Conv", "MaxPool", "AveragePool", "BatchNormalization", "LRN", "InstanceNormalization", "Transpose"}
LINEAR = {"Flatten", "Reshape", "Squeeze", "Gemm", "MatMul", "Add", "Identity", "Cast", "Dropout"}
QUANTISING = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}
SCORES = "scores"


class NoMapError(ModelError):
    """A network's scores come about in a way that gives no map of them."""


@dataclass(frozen=True)
class ScoreMaps:
    """A fully convolutional network: pictures (n, height, width, 3) to scores (n, classes, rows, columns), no softmax.

    `window` is how many places of the map the plain network looks at on a side: 1 where each place is a classification
    of one window of `crop` pixels; where the network averages, the mean score of so many places is that of the window.
    """

    spec: ModelSpec
    session: Any
    window: int

    @classmethod
    def of(cls, path: Path | None, spec: ModelSpec) -> "ScoreMaps":
        """Make it of a model file. Raises NoMapError, MissingPackageError (onnx) and ModelError (no classes)."""
        require_classes(spec)
        surgery = _Surgery(GraphFile.read(path), spec)
        model = surgery.convolutional()
        return cls(spec, open_graph(model.SerializeToString(), name=surgery.file.path), surgery.window)

    def run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the scores (n, classes, rows, columns) of pictures (n, height, width, 3), none smaller than `crop`."""
        [scores] = self.session.run([SCORES], {"pixels": np.ascontiguousarray(pixels)})
        return np.asarray(scores, np.float32)

    def windows(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probabilities (classes, rows, columns) of each window of the scores of one picture.

        They are what the plain network says of the window of `crop` pixels.
        """
        means = box_means(scores, self.window)
        probabilities = np.empty_like(means)
        for group in self.spec.slices.values():
            shifted = np.exp(means[group] - means[group].max(axis=0))
            probabilities[group] = shifted / shifted.sum(axis=0)
        return probabilities


def box_means(maps: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Return the means of every `side` by `side` places of maps (..., rows, columns)."""
    if side == 1:
        return maps
    sums = np.cumsum(np.cumsum(maps.astype(np.float64), axis=-1), axis=-2)
    sums = np.pad(sums, [(0, 0)] * (maps.ndim - 2) + [(1, 0), (1, 0)])
    total = sums[..., side:, side:] - sums[..., :-side, side:] - sums[..., side:, :-side] + sums[..., :-side, :-side]
    return (total / side**2).astype(np.float32)


@dataclass
class _Surgery:
    """The nodes from the picture to the scores, each in the form that it has for pictures of any size.

    `flat` has the tensors that had places no more: for each the (maps, rows, columns) that its values came from, which
    is (values, 1, 1) after the first layer that joins them.
    """

    file: GraphFile
    spec: ModelSpec
    window: int = 1
    flat: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    nodes: list["onnx.NodeProto"] = field(default_factory=list)
    weights: list["onnx.TensorProto"] = field(default_factory=list)

    def convolutional(self) -> "onnx.ModelProto":
        """Return the fully convolutional model."""
        package = load_onnx()
        helper = package.helper
        logits = self._logits()
        before = self.file.ancestors(logits)
        if any(node.op_type in QUANTISING for node in before):
            original = self.spec.training.get("quantised_from")
            raise NoMapError(
                f"the model {self.spec.name} computes in 8-bit numbers, of which no map can be made",
                hint=f"take the model that it was made of with -m{f': {original}' if original else ''}",
            )
        for node in before:
            if all(self.file.constant(name) is not None for name in node.output):
                self.nodes.append(node)
            else:
                self._convert(node, before)
        if self.flat.get(logits, (0, 0, 0))[1:] != (1, 1):
            raise self._refused("its scores have no places")
        self._add("Identity", [logits], SCORES)
        used = {name for node in self.nodes for name in node.input}
        kept = [weight for weight in self.file.graph.initializer if weight.name in used]
        shape = ["n", "height", "width", 3]
        made: onnx.ModelProto = helper.make_model(
            helper.make_graph(
                self.nodes,
                "maps",
                [helper.make_tensor_value_info("pixels", package.TensorProto.UINT8, shape)],
                [helper.make_empty_tensor_value_info(SCORES)],
                kept + self.weights,
            ),
            ir_version=self.file.model.ir_version,
            opset_imports=list(self.file.model.opset_import),
        )
        return made

    def _logits(self) -> str:
        """Find the scores before the softmax, of all groups of classes together."""
        name = "probabilities"
        while (node := self.file.producers.get(name)) is not None:
            if node.op_type in ("Identity", "Cast", "Flatten", "Reshape", "Squeeze"):
                name = node.input[0]
            elif node.op_type == "Softmax":
                return str(node.input[0])
            elif node.op_type == "Concat":
                softmaxes = [self.file.producers.get(part) for part in node.input]
                parts = [softmax.input[0] for softmax in softmaxes if softmax and softmax.op_type == "Softmax"]
                split = self.file.producers.get(parts[0]) if parts else None
                if split is None or split.op_type != "Split" or list(split.output) != parts:
                    break
                return str(split.input[0])
            else:
                break
        raise self._refused("its probabilities are no softmax of scores")

    def _convert(self, node: "onnx.NodeProto", before: list["onnx.NodeProto"]) -> None:
        operator, values = node.op_type, attributes(node)
        x = next((name for name in node.input if self.file.constant(name) is None), "")
        if operator in BINARY and all(self.file.constant(name) is None for name in node.input):
            if len({self.flat.get(name) for name in node.input}) > 1:
                raise self._refused(f"{operator} joins values with maps")
            self._keep(node, x)
        elif operator in BINARY:
            self._with_constant(node, x)
        elif operator in UNARY or operator == "Dropout":
            self._keep(node, x)
        elif operator == "GlobalAveragePool" or (operator == "ReduceMean" and self._means_of_places(node, values)):
            self._average(node, before, keeps=operator == "GlobalAveragePool" or values.get("keepdims", 1) == 1)
        elif operator in ("Flatten", "Reshape", "Squeeze"):
            self._flatten(node, x)
        elif operator in ("Gemm", "MatMul"):
            self._matrix(node, x, values)
        elif x not in self.flat and (operator in SPATIAL or len(self.file.shapes.get(node.output[0], ())) == 3):
            self.nodes.append(node)
        else:
            raise self._refused(f"it has {operator} where values have no place")

    def _keep(self, node: "onnx.NodeProto", x: str) -> None:
        self.nodes.append(node)
        if x in self.flat:
            self.flat[node.output[0]] = self.flat[x]

    def _with_constant(self, node: "onnx.NodeProto", x: str) -> None:
        """Keep a sum or product with a constant: one value, one a map, or the mean picture, which is resized."""
        number = list(node.input).index(x)
        values = self.file.constant(node.input[1 - number])
        assert values is not None
        other = node.input[1 - number]
        if values.size > 1 and x in self.flat:
            maps, rows, columns = self.flat[x]
            if (rows, columns) != (1, 1) or values.size != maps:
                raise self._refused("a value of its own belongs to each place")
            other = self._weight(f"{node.output[0]}.maps", values.reshape(1, maps, 1, 1))
        elif values.ndim >= 2 and max(values.shape[-2:]) > 1 and values.shape[-1] == values.shape[-2]:
            other = self._resized(other, values, x)
        inputs = [x, other] if number == 0 else [other, x]
        self._add(node.op_type, inputs, node.output[0])
        if x in self.flat:
            self.flat[node.output[0]] = self.flat[x]

    def _resized(self, name: str, values: NDArray[np.generic], x: str) -> str:
        """Add what brings the mean picture to the size of the picture: at the training size it stays as it is."""
        to = f"{name}.resized"
        planes = self._weight(f"{name}.planes", values.reshape((1,) * (4 - values.ndim) + values.shape))
        head = self._weight(f"{name}.head", np.array([1, values.shape[-3] if values.ndim > 2 else 1], np.int64))
        self._add("Shape", [x], f"{to}.places", start=2)
        self._add("Concat", [head, f"{to}.places"], f"{to}.size", axis=0)
        self._add(
            "Resize", [planes, "", "", f"{to}.size"], to, mode="linear", coordinate_transformation_mode="half_pixel"
        )
        return to

    def _means_of_places(self, node: "onnx.NodeProto", values: dict[str, Any]) -> bool:
        axes = values.get("axes")
        if axes is None and len(node.input) > 1:
            found = self.file.constant(node.input[1])
            axes = None if found is None else found.tolist()
        return axes is not None and sorted(axis % 4 for axis in axes) == [2, 3]

    def _average(self, node: "onnx.NodeProto", before: list["onnx.NodeProto"], *, keeps: bool) -> None:
        """Leave the average out where all behind it is linear; else average over windows of the training size."""
        x = node.input[0]
        shape = self.file.shapes.get(x, ())
        if x in self.flat or len(shape) != 3 or shape[1] != shape[2]:
            raise self._refused("it averages over what are no places")
        behind = before[before.index(node) + 1 :]
        if all(later.op_type in LINEAR or self._is_constant(later) for later in behind):
            self.window = shape[1]
            self._add("Identity", [x], node.output[0])
        else:
            self._add("AveragePool", [x], node.output[0], kernel_shape=list(shape[1:]), strides=[1, 1])
        self.flat[node.output[0]] = (shape[0], 1, 1)

    def _is_constant(self, node: "onnx.NodeProto") -> bool:
        return all(self.file.constant(name) is not None for name in node.output)

    def _flatten(self, node: "onnx.NodeProto", x: str) -> None:
        """Leave the tensor as maps; what it is multiplied with next has their shape."""
        shape, flat = self.file.shapes.get(x, ()), self.file.shapes.get(node.output[0], ())
        if x not in self.flat:
            if (
                len(shape) != 3
                or int(np.prod(flat)) != int(np.prod(shape))
                or len([side for side in flat if side > 1]) > 1
            ):
                raise self._refused(f"{node.op_type} gives its maps another shape")
            self.flat[x] = (shape[0], shape[1], shape[2])
        self._add("Identity", [x], node.output[0])
        self.flat[node.output[0]] = self.flat[x]

    def _matrix(self, node: "onnx.NodeProto", x: str, values: dict[str, Any]) -> None:
        """Make a convolution of a fully connected layer: its weights for each place are a filter of the maps' size."""
        matrix = self.file.constant(node.input[1])
        bias = self.file.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        plain = values.get("alpha", 1.0) == 1 and values.get("beta", 1.0) == 1 and not values.get("transA", 0)
        if x not in self.flat or node.input[0] != x or matrix is None or matrix.ndim != 2 or not plain:
            raise self._refused(f"{node.op_type} is no fully connected layer behind maps")
        filters = matrix if values.get("transB", 0) else matrix.T
        maps, rows, columns = self.flat[x]
        if filters.shape[1] != maps * rows * columns:
            raise self._refused(f"{node.op_type} does not go with the maps before it")
        inputs = [x, self._weight(f"{node.output[0]}.filters", filters.reshape(-1, maps, rows, columns))]
        if bias is not None:
            inputs.append(self._weight(f"{node.output[0]}.bias", bias.reshape(-1)))
        self._add("Conv", inputs, node.output[0], kernel_shape=[rows, columns])
        self.flat[node.output[0]] = (len(filters), 1, 1)

    def _add(self, operator: str, inputs: list[str], to: str, **values: Any) -> None:
        self.nodes.append(load_onnx().helper.make_node(operator, inputs, [to], name=to, **values))

    def _weight(self, name: str, values: NDArray[np.generic]) -> str:
        self.weights.append(load_onnx().numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def _refused(self, why: str) -> NoMapError:
        return NoMapError(f"the model {self.spec.name} gives no map of its classes ({why})")
