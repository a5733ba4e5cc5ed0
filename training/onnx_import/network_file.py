"""An ONNX file of any origin, read and checked: what it takes, and the tensors in it."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto

from training.errors import ExportError

Layout = Literal["nchw", "nhwc"]

LEAST_OPSET = 11
MOST_BYTES = (1 << 31) - (1 << 24)
"""Of a file that protobuf can write, and some room for what is added."""

IMAGE_TYPES = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.UINT8)


@dataclass(frozen=True, eq=False)
class Network:
    """An ONNX network with all its weights; `digest` is the SHA-256 of its files."""

    path: Path
    model: onnx.ModelProto
    digest: str

    @property
    def opset(self) -> int:
        """The version of ONNX's operators that it is written in."""
        return next((found.version for found in self.model.opset_import if found.domain in ("", "ai.onnx")), 1)

    @property
    def inputs(self) -> list[onnx.ValueInfoProto]:
        """What it is given, without weights that old files list there as well."""
        weights = {weight.name for weight in self.model.graph.initializer}
        return [value for value in self.model.graph.input if value.name not in weights]


@dataclass(frozen=True)
class ImageInput:
    """Where a network takes pictures: the order of its axes, the pixels of a side and of a batch, None where open."""

    name: str
    type: int
    layout: Layout
    side: int | None
    batch: int | None


def read_network(path: Path) -> Network:
    """Read an ONNX file and the files of weights beside it. Raises ExportError for what is none, or is not whole."""
    try:
        model = onnx.load(path, load_external_data=False)
    except FileNotFoundError:
        raise ExportError(
            f"there is no file {path}; name the ONNX file of a network, or its folder",
            hint="`fc7 import --list` shows what has a name",
        ) from None
    except OSError as error:
        raise ExportError(f"{path} cannot be read ({error.strerror or error}); make it readable") from error
    except (DecodeError, UnicodeError, ValueError) as error:
        raise ExportError(
            f"{path} is not an ONNX file, or damaged; export the network again, or copy the file again"
        ) from error
    if not model.graph.node or not model.opset_import:
        raise ExportError(f"{path} is not an ONNX file, or has no network in it; export the network again")
    if any(entry.key.startswith("fc7.") for entry in model.metadata_props):
        raise ExportError(f"{path} is a model file of fc7 already", hint="name it with -m where a model is wanted")
    digest = hashlib.sha256()
    files = [path, *_files_of_weights(path, model)]
    size = 0
    for file in files:
        with file.open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
            size += os.fstat(opened.fileno()).st_size
    if size > MOST_BYTES:
        raise ExportError(
            f"{path} has {size / 1e9:.1f} GB of weights, more than a model file can hold (2.1 GB); "
            "take a float16 or int8 export of it"
        )
    if len(files) > 1:
        try:
            onnx.load_external_data_for_model(model, str(path.parent))
        except Exception as error:  # onnx raises its own errors and those of the disk
            raise ExportError(f"the weights beside {path} cannot be read ({error}); copy them again") from error
    network = Network(path, model, digest.hexdigest())
    if network.opset < LEAST_OPSET:
        raise ExportError(
            f"{path} is written in opset {network.opset} of ONNX, fc7 takes {LEAST_OPSET} and later; "
            "export it again with opset 17"
        )
    return network


def _files_of_weights(path: Path, model: onnx.ModelProto) -> list[Path]:
    """List the files beside a network that have its weights. Raises ExportError where one is missing, or elsewhere."""
    names = dict.fromkeys(
        entry.value
        for tensor in tensors(model.graph)
        if tensor.data_location == TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    )
    for name in names:
        if os.path.isabs(name) or ".." in Path(name).parts:
            raise ExportError(f"{path} wants weights from {name}, which does not lie beside it; export it again")
        if not os.path.isfile(path.parent / name):
            raise ExportError(f"{path} has its weights in {path.parent / name}, which is not there; copy it there too")
    return [path.parent / name for name in names]


def tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Yield the weights of a graph and of those inside it, constants among its nodes included."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from tensors(inner)


def image_input(network: Network, *, layout: Layout | None = None) -> ImageInput:
    """Find the input of pictures, of which there must be one alone. Raises ExportError."""
    rank4 = [value for value in network.inputs if len(value.type.tensor_type.shape.dim) == 4]
    told = ", ".join(f"{value.name} {_shape(value)}" for value in network.inputs) or "nothing"
    if len(rank4) != 1:
        raise ExportError(
            f"{network.path} is no image network: it takes {told}, where a picture would be "
            "[n, 3, side, side] or [n, side, side, 3]; name another file"
        )
    [value] = rank4
    batch, *sides = fixed_sizes(value)
    found = layout or ("nhwc" if sides[2] == 3 and sides[0] != 3 else "nchw")
    channels, height, width = sides if found == "nchw" else (sides[2], sides[0], sides[1])
    if channels not in (3, None):
        hint = "" if layout is None else " as --layout says"
        raise ExportError(
            f"{network.path} takes pictures of {channels} channels{hint} ({told}), and fc7 gives 3, of colour; "
            "name another network"
        )
    if height is not None and width is not None and height != width:
        raise ExportError(f"{network.path} takes pictures of {width} × {height} pixels, and fc7 gives squares")
    if value.type.tensor_type.elem_type not in IMAGE_TYPES:
        kind = TensorProto.DataType.Name(value.type.tensor_type.elem_type).lower()
        raise ExportError(f"{network.path} takes pictures as {kind}, and fc7 gives float32, float16 or bytes")
    return ImageInput(value.name, value.type.tensor_type.elem_type, found, height or width, batch)


def fixed_sizes(value: onnx.ValueInfoProto) -> list[int | None]:
    """Return the sizes of a tensor's axes, None where one is open."""
    return [dim.dim_value if dim.dim_value > 0 else None for dim in value.type.tensor_type.shape.dim]


def _shape(value: onnx.ValueInfoProto) -> str:
    dims = value.type.tensor_type.shape.dim
    return f"[{', '.join(str(dim.dim_value) if dim.dim_value else dim.dim_param or '?' for dim in dims)}]"
