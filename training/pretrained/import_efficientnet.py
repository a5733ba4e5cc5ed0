"""`fc7 import efficientnet-lite0`: from a package's weights to a model file that fc7 knows by name. Needs no torch."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from index.errors import OptionError
from retrieval.models.model import Model
from retrieval.models.spec import ClassGroup, ModelSpec
from training.data.name_tables import IMAGENET, read_class_names
from training.errors import ExportError
from training.export.model_file import check_place, fingerprint, write_model_file
from training.export.onnx_graph import Graph
from training.pretrained.catalogue import SIDES
from training.pretrained.efficientnet import NETWORKS, WIDTH, add_layers, weights_file
from training.pretrained.tensor_file import read_tensors

LICENCE = "Apache-2.0 (EfficientNet-Lite); learned from ImageNet, whose own terms hold"
GROUP = "objects"
"""What its classes are called where a student of it has others beside them."""


@dataclass(frozen=True, eq=False)
class Projection:
    """The PCA that makes embeddings: matrix (dim, 1280) and offset (dim,), learned from `pictures` pictures."""

    matrix: NDArray[np.float32]
    offset: NDArray[np.float32]
    pictures: int
    power: float

    @classmethod
    def load(cls, name: str) -> "Projection":
        """Read the one that comes with fc7."""
        with np.load(Path(__file__).with_name(f"{name}.npz")) as file:
            return cls(
                file["matrix"].astype(np.float32),
                file["offset"].astype(np.float32),
                int(file["pictures"]),
                float(file["power"]),
            )


def learn_projection(fc7: NDArray[np.float32], *, dim: int = 256, power: float = 0.25) -> Projection:
    """Return the PCA of square roots of unit length of fc7 (n, 1280), each direction divided by std ** power.

    The square root keeps the largest maps from deciding alone (Arandjelović, Zisserman 2012, "RootSIFT"). What was
    measured for roots, dimensions and powers: docs/results.md.
    """
    rows = roots(fc7.astype(np.float64))
    mean = rows.mean(0)
    variances, directions = np.linalg.eigh(np.cov((rows - mean).T))
    variances, directions = variances[::-1][:dim], directions.T[::-1][:dim]
    matrix = directions * variances[:, None] ** (-power / 2)
    # The sign of a direction is arbitrary: fixed, so that the same pictures give the same file.
    strongest = np.take_along_axis(matrix, np.abs(matrix).argmax(1)[:, None], axis=1)
    matrix = matrix * np.sign(strongest) / np.abs(matrix).max()
    return Projection(matrix.astype(np.float32), -(matrix @ mean).astype(np.float32), len(fc7), power)


def roots(fc7: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the square roots of fc7 (n, 1280), each row of unit length."""
    found = np.sqrt(np.maximum(fc7, 0, dtype=np.float64))
    lengths: NDArray[np.float64] = np.linalg.norm(found, axis=1, keepdims=True)
    unit: NDArray[np.float64] = found / np.maximum(lengths, 1e-12)
    return unit


def import_efficientnet(
    name: str, out: Path, *, side: int | None = None, projection: Projection | None = None
) -> ModelSpec:
    """Write the model file of one of NETWORKS, which takes pictures of `side` pixels, by default those it is made for.

    Raises MissingPackageError and CheckpointError (no such package, other weights), ExportError and OptionError.
    """
    network = NETWORKS[name]
    side = network.side if side is None else side
    least, most = SIDES
    if not least <= side <= most:
        raise OptionError(f"a picture of {side} pixels is not from {least} to {most}", hint="give another --size")
    check_place(out)
    path = weights_file(network)
    projection = projection or Projection.load(name)
    graph = Graph(half=False)
    fc7 = add_layers(graph, network, read_tensors(path))
    x = graph.unit_length(graph.node("Sqrt", fc7, to="fc7.root"), to="joined")
    matrix, offset = graph.weight("pca.matrix", projection.matrix), graph.constant("pca.offset", projection.offset)
    graph.unit_length(graph.node("Gemm", x, matrix, offset, to="pca", transB=1), to="embedding")
    classes = tuple(read_class_names(IMAGENET).values())
    dim = len(projection.offset)
    model = graph.model(name, crop=side, outputs={"probabilities": len(classes), "fc7": WIDTH, "embedding": dim})
    spec = ModelSpec(
        name=name if side == network.side else f"{name}-{side}",
        arch=name,
        classes=classes,
        # Not its middle 7/8, as it was judged when it was published: what is at the edges helps to find neighbours.
        resize=side,
        crop=side,
        dim=dim,
        fc7_dim=WIDTH,
        fingerprint=fingerprint(model, side, "crop"),
        embedding={"layers": ["fc7"], "root": True, "power": projection.power, "pictures": projection.pictures},
        training={"weights": path.name, "sha256": network.sha256, "package": network.package},
        licence=LICENCE,
        date=datetime.now(UTC).date().isoformat(),
        groups=(ClassGroup(GROUP, len(classes)),),
    )
    write_model_file(model, spec, out, prove=check_answers)
    return spec


def check_answers(model: Model) -> None:
    """Raise ExportError where a network that was just written does not tell two noisy pictures apart."""
    noise = np.random.default_rng(0).integers(0, 256, (2, model.spec.crop, model.spec.crop, 3), np.uint8)
    noise[1] //= 4
    found = model.run(noise)
    for values in (found.probabilities, found.fc7, found.embedding):
        if not np.isfinite(values).all() or (values[0] == values[1]).all():
            raise ExportError("the network that was written answers nothing of use; this is a bug, please report it")
