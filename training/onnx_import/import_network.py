"""`fc7 import NETWORK.onnx`: any ONNX image network as a model file, proven to answer as the network by itself does."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from index.errors import ModelError, OptionError
from retrieval.models.model import Model
from retrieval.models.runtime import open_graph, reason_of, require_onnxruntime
from retrieval.models.spec import ClassName, ModelSpec, format_version_of
from training.errors import ExportError
from training.export.model_file import check_place, write_proven
from training.onnx_import.find import Found, candidates, check_named, choose
from training.onnx_import.graphs import inputs_behind
from training.onnx_import.network_file import Layout, Network, fixed_sizes, image_input, read_network
from training.onnx_import.preparation import Wishes
from training.onnx_import.wrap import Pooling, Wrapping, check_embedding, wrapped

PICTURES = 3
"""Pictures that the model file is compared with the network on."""

LARGEST_ERROR = 0.1
"""Of an embedding, as a share of the distance to that of another picture. Rounding to 8 bits can make a difference."""


@dataclass(frozen=True)
class Tensors:
    """What the user says of a network's tensors; None where fc7 is to find out."""

    layout: Layout | None = None
    embedding: str | None = None
    pooling: Pooling | None = None
    logits: str | None = None


@dataclass(frozen=True)
class Imported:
    """What was imported, and what the user should know about it."""

    spec: ModelSpec
    notes: tuple[str, ...] = field(default=())


def import_network(
    path: Path,
    out: Path,
    *,
    wishes: Wishes,
    tensors: Tensors | None = None,
    classes: Sequence[ClassName] = (),
    name: str | None = None,
    keep_other: bool = False,
) -> Imported:
    """Write the model file of an ONNX image network.

    `classes` are the names of its classes, if they are to be kept; `name` is what it is called, by default the name of
    the file; with `keep_other` a model file of another network is never written over. Raises ExportError for a file
    that is no image network, OptionError where the user must say more, ModelError where ONNX Runtime cannot run it.
    """
    require_onnxruntime()
    check_place(out)
    network = read_network(path)
    wrapping = decide(network, wishes=wishes, tensors=tensors or Tensors(), classes=len(classes))
    spec = specify(wrapping, name or out.stem, classes)
    if keep_other:
        check_same(out, spec)
    write_wrapped(wrapping, spec, out)
    return Imported(spec, notes_on(wrapping, spec))


def decide(network: Network, *, wishes: Wishes, tensors: Tensors, classes: int = 0) -> Wrapping:
    """Find out how a network is to be wrapped; it is run on one picture to see the shapes of its tensors.

    `classes` is how many the user has names for. Raises as `import_network`.
    """
    image = image_input(network, layout=tensors.layout)
    for option, name in (("--embedding", tensors.embedding), ("--logits", tensors.logits)):
        check_named(network.path, network.model, option, name)
    preparation = wishes.preparation(image.side, raw=image.type == onnx.TensorProto.UINT8)
    if image.type == onnx.TensorProto.UINT8 and ((preparation.factor != 1).any() or preparation.offset.any()):
        raise OptionError(
            f"{network.path} takes bytes and prepares them itself", hint="leave out --preset, --mean and --std"
        )
    inputs = {value.name for value in network.inputs}
    graph = network.model.graph
    outputs = [value.name for value in graph.output if inputs_behind(graph, value.name, inputs) == {image.name}]
    if not outputs:
        others = ", ".join(sorted(inputs - {image.name}))
        raise ExportError(
            f"{network.path} takes {others or 'no picture'} beside the picture for all that it gives; export its "
            "image half alone"
        )
    heads = candidates(graph, outputs)
    wanted = dict.fromkeys(
        [*outputs, *(head.features for head in heads.values()), *filter(None, (tensors.embedding, tensors.logits))]
    )
    wrapping = Wrapping(network, image, preparation, Found(""), {}, pooling=tensors.pooling, classes=classes)
    answers = by_hand(wrapping, list(wanted), pictures(preparation.side)[:1])
    shapes = {name: answer.shape for name, answer in zip(wanted, answers, strict=True)}
    found = choose(
        network.path,
        shapes,
        heads,
        outputs,
        embedding=tensors.embedding,
        logits=tensors.logits,
        classes=classes > 0,
    )
    wrapping = replace(wrapping, found=found, shapes=shapes)
    check_embedding(network.path, wrapping, {name: answer.dtype for name, answer in zip(wanted, answers, strict=True)})
    if classes and found.logits is not None and (width := int(np.prod(shapes[found.logits][1:]))) != classes:
        raise OptionError(
            f"{classes} classes are named, and {found.logits} of {network.path} has {width}",
            hint="give --classes a file with one line for each class, in their order",
        )
    return wrapping


def by_hand(wrapping: Wrapping, names: Sequence[str], pixels: NDArray[np.uint8]) -> list[NDArray[Any]]:
    """Return tensors of the network by itself, in ONNX Runtime, for pictures (n, side, side, 3), one after the other.

    Raises ModelError where it cannot be run.
    """
    network, image = wrapping.network, wrapping.image
    model = onnx.ModelProto()
    model.CopyFrom(network.model)
    # Inputs on which none of these depends are still asked for.
    others = [value for value in network.inputs if value.name != image.name]
    del model.graph.output[:]
    model.graph.output.extend(map(onnx.helper.make_empty_tensor_value_info, names))
    session = open_graph(model.SerializeToString(), name=network.path)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(image.type)
    rows: list[list[NDArray[Any]]] = []
    for picture in pixels:
        x = wrapping.preparation.by_hand(picture[None]).astype(dtype)
        x = np.repeat(x, image.batch or 1, axis=0)
        feed = {image.name: np.ascontiguousarray(x.transpose(0, 3, 1, 2) if image.layout == "nchw" else x)}
        feed |= {value.name: _anything(value) for value in others}
        try:
            found = session.run(list(names), feed)
        except Exception as error:  # ONNX Runtime's own exceptions have no common base but this one
            side = wrapping.preparation.side
            raise ModelError(
                f"{network.path} fails on a picture of {side} × {side} pixels ({reason_of(error)})",
                hint="if it is made for another size or order of axes, say so with --size or --layout",
            ) from error
        rows.append([values[:1] if values.ndim else values[None] for values in found])
    return [np.concatenate(parts) for parts in zip(*rows, strict=True)]


def _anything(value: onnx.ValueInfoProto) -> NDArray[Any]:
    """Return a value for an input on which nothing depends that is looked at."""
    tensor = value.type.tensor_type
    shape = [size or 1 for size in fixed_sizes(value)]
    return np.ones(shape, onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))


def specify(
    wrapping: Wrapping, name: str, classes: Sequence[ClassName] = (), *, text: bool = False, **training: object
) -> ModelSpec:
    """Return what the model file says of itself."""
    network, preparation, found = wrapping.network, wrapping.preparation, wrapping.found
    described = {"tensor": found.embedding, **({"pooling": wrapping.pooling} if wrapping.pooling else {})}
    producer = f"{network.model.producer_name} {network.model.producer_version}".strip()
    return ModelSpec(
        name=name,
        arch=f"ONNX, opset {network.opset}",
        classes=tuple(classes),
        resize=preparation.resize,
        crop=preparation.side,
        dim=wrapping.dim,
        fc7_dim=wrapping.dim,
        fingerprint=fingerprint(wrapping),
        embedding=described,
        training={
            "network": network.path.name,
            "sha256": network.digest,
            **({"exported_by": producer} if producer else {}),
            "mean": list(preparation.mean),
            "std": list(preparation.std),
            "scale": preparation.scale,
            **({"channels": "bgr"} if preparation.bgr else {}),
            **training,
        },
        date=datetime.now(UTC).date().isoformat(),
        resize_mode=preparation.mode,
        text=text,
        format_version=format_version_of(preparation.mode),
    )


def fingerprint(wrapping: Wrapping) -> str:
    """Return a SHA-256 over the network's file and all that changes the embedding it gives for a photo."""
    settings = (wrapping.preparation, wrapping.found.embedding, wrapping.pooling, wrapping.image.layout)
    return hashlib.sha256(f"{wrapping.network.digest} {settings}".encode()).hexdigest()


def check_same(out: Path, spec: ModelSpec) -> None:
    """Raise OptionError where a model file of another network lies at a place: an index may need it."""
    if not os.path.isfile(out):
        return
    try:
        known = Model.load(out, device="cpu", fast_start=True).spec.fingerprint
    except ModelError:
        return  # nothing can be done with it
    if known != spec.fingerprint:
        raise OptionError(
            f"another model is called {spec.name} already",
            hint=f"choose another --name, or remove {out} if no index needs it",
        )


def write_wrapped(wrapping: Wrapping, spec: ModelSpec, out: Path) -> None:
    """Write the model file, for batches if the network can be brought to take them, else for one picture at a time.

    Raises ExportError where it does not answer as the network by itself does; then no file is left.
    """
    sample = pictures(wrapping.preparation.side)
    expected = wrapping.describe(by_hand(wrapping, [wrapping.found.embedding], sample)[0])
    between = min(
        np.linalg.norm(expected[first] - expected[second]) for first in range(PICTURES) for second in range(first)
    )
    if not between > 1e-6:
        raise ExportError(
            f"{wrapping.found.embedding} of {wrapping.network.path} is the same for different pictures",
            hint="name another tensor with --embedding",
        )

    def check(model: Model, batch: NDArray[np.uint8]) -> None:
        found = model.run(batch)
        error = np.linalg.norm(found.embedding - expected[: len(batch)], axis=1).max()
        if not error <= LARGEST_ERROR * between or not np.isfinite(found.probabilities).all():
            raise _Differs(f"their distance is {error:.2g}, of {between:.2g} between pictures")

    def prove(file: Path) -> None:
        # This session is silent: that a network does not take batches is no news. The next one is production's.
        check(Model(open_graph(file, name=out), spec), sample)
        check(Model.load(file, device="cpu"), sample[:1])

    failure: Exception
    for one_by_one in (False, True):
        try:
            write_proven(wrapped(wrapping, one_by_one=one_by_one), spec.to_metadata(), out, prove=prove)
            return
        except ExportError:
            raise
        except Exception as error:  # whatever ONNX Runtime raises for a graph that it cannot run
            failure = error
    raise ExportError(
        f"the model file would not answer as {wrapping.network.path} does ({reason_of(failure)}); "
        "this is a bug, please report it"
    ) from failure


class _Differs(Exception):
    """A model file does not answer as its network."""


def pictures(side: int) -> NDArray[np.uint8]:
    """Return patches of random colours and textures (3, side, side, 3), always the same."""
    random = np.random.default_rng(0)
    found = []
    for cells in (4, 8, 16):
        coarse = random.integers(0, 256, (cells, cells, 3))
        places = np.arange(side) * cells // side
        found.append(coarse[places][:, places] * 0.8 + random.integers(0, 52, (side, side, 3)))
    return np.array(found).astype(np.uint8)


def notes_on(wrapping: Wrapping, spec: ModelSpec) -> tuple[str, ...]:
    """Return what a user should know of the choices that were made."""
    found = wrapping.found
    notes = [f"the embedding is {found.embedding}, {wrapping.dim} values"]
    scores = found.logits
    if not spec.classes and scores is not None:
        width = int(np.prod(wrapping.shapes[scores][1:]))
        also = "; `--classes imagenet` if they are ImageNet's" if width == 1000 else ""
        notes.append(f"its {width:,} classes ({scores}) have no names: give them with --classes FILE{also}")
    return tuple(notes)
