"""Puts another last layer into a copy of a model file: the layers that led to the old names alone are left out."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from index.errors import ModelError
from retrieval.logistic_regression import LinearClassifier
from retrieval.models.model import Model
from retrieval.models.spec import ClassName, ModelSpec
from training.errors import ExportError
from training.export.model_file import fingerprint, write_model_file
from training.onnx_import.graphs import needed

LARGEST_DIFFERENCE = 1e-4
"""Between a probability of the file and that of the classifier that was put into it."""


def write_with_head(
    base: Path,
    base_spec: ModelSpec,
    classifier: LinearClassifier,
    out: Path,
    *,
    name: str,
    classes: tuple[ClassName, ...],
    training: Mapping[str, Any],
    accuracy: Mapping[str, Any],
    learned: str,
    examples: str,
    sample: NDArray[np.uint8],
) -> ModelSpec:
    """Write the model file `base` with a classifier of its embedding in place of its own, proven on `sample`.

    `sample` are prepared pictures (n, crop, crop, 3). Raises ModelError where `base` is unreadable, and ExportError.
    """
    try:
        model = onnx.load(base)
    except (OSError, DecodeError, onnx.checker.ValidationError) as error:
        raise ModelError(f"{base} is not a readable ONNX model ({error})") from error
    replace_head(model, classifier)
    spec = replace(
        base_spec,
        name=name,
        classes=classes,
        groups=(),
        temperatures=(),
        # The pictures are prepared as the base's metadata say, which its weights do not tell.
        fingerprint=fingerprint(model, base_spec.fingerprint),
        training=training,
        accuracy=accuracy,
        learned=learned,
        examples=examples,
        date=datetime.now(UTC).date().isoformat(),
    )

    def prove(loaded: Model) -> None:
        found = loaded.run(sample)
        difference = np.abs(found.probabilities - classifier.probabilities(found.embedding)).max()
        if not difference <= LARGEST_DIFFERENCE:
            raise ExportError(
                f"the model's probabilities differ from those that were learned by {difference:.1e}; "
                "this is a bug, please report it"
            )

    write_model_file(model, spec, out, prove=prove)
    return spec


def replace_head(model: onnx.ModelProto, classifier: LinearClassifier) -> None:
    """Let `probabilities` come from `embedding`; what only led to the old ones is removed from the graph."""
    graph = model.graph
    kept = [value for value in graph.output if value.name != "probabilities"]
    nodes, used = needed(graph, (value.name for value in kept))
    weights = [weight for weight in graph.initializer if weight.name in used]
    taken = used | {name for node in nodes for name in node.output}
    weight, bias, scores = (_unused(name, taken) for name in ("head.weight", "head.bias", "head.scores"))
    weights += [
        numpy_helper.from_array(classifier.weights.astype(np.float32), weight),
        numpy_helper.from_array(classifier.bias.astype(np.float32), bias),
    ]
    nodes += [
        helper.make_node("Gemm", ["embedding", weight, bias], [scores], name=scores, transB=1),
        helper.make_node("Softmax", [scores], ["probabilities"], name="probabilities", axis=1),
    ]
    probabilities = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", len(classifier.bias)])
    for part, values in (
        (graph.node, nodes),
        (graph.initializer, weights),
        (graph.output, [probabilities, *kept]),
        (graph.value_info, []),  # said of values between the layers, some of which are gone
    ):
        found = list(values)  # before the part that they may lie in is emptied
        copies = [type(value).FromString(value.SerializeToString()) for value in found]
        del part[:]
        part.extend(copies)


def _unused(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name
