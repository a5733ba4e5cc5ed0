"""Writing a model file: where it can lie, what its weights are known by, and nothing of one that does not work."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryFile

import onnx

from index.errors import OptionError
from index.files import replacing
from retrieval.models.model import Model
from retrieval.models.spec import KEY_PREFIX, ModelSpec
from training.errors import ExportError


def check_place(out: Path) -> None:
    """Raise ExportError or OptionError where no model file can come to lie, before hours are spent on one."""
    folder = out.absolute().parent
    if not os.path.isdir(folder):
        raise ExportError(f"there is no folder {folder} to write {out.name} into; make it first")
    if os.path.isdir(out):
        raise ExportError(f"{out} is a folder", hint="name a file in it with -o")
    if out.suffix != ".onnx":  # rather than write over a checkpoint or a photo
        raise OptionError(f"{out} does not end with .onnx, as a model file does", hint="name it so with -o")
    try:
        with TemporaryFile(dir=folder):  # permissions do not tell all that may forbid it
            pass
    except OSError as error:
        raise ExportError(
            f"no file can be written into {folder} ({error.strerror})", hint="choose another place with -o"
        ) from error


def made_folder(folder: Path) -> Path:
    """Return a folder, made where it is not there yet. Raises ExportError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(
            f"the folder {folder} cannot be made ({error.strerror})", hint="name a file with -o"
        ) from error
    return folder


def fingerprint(model: onnx.ModelProto, *settings: object) -> str:
    """Return a SHA-256 over the weights, and over `settings` that change what the same weights say."""
    digest = hashlib.sha256()
    for weight in model.graph.initializer:
        digest.update(weight.name.encode() + b"\0" + weight.raw_data)
    for setting in settings:
        digest.update(f"\0{setting}".encode())
    return digest.hexdigest()


def write_model_file(model: onnx.ModelProto, spec: ModelSpec, out: Path, *, prove: Callable[[Model], None]) -> None:
    """Write a graph with its metadata, once `prove` has found no fault with it as production runs it on a CPU.

    Raises ExportError, and whatever `prove` raises; then no file is left, or the one before.
    """
    onnx.checker.check_model(model)
    write_proven(model, spec.to_metadata(), out, prove=lambda path: prove(Model.load(path, device="cpu")))


def write_temperatures(path: Path, temperatures: Sequence[float]) -> None:
    """Write the temperatures of a model's groups of classes into its file, of which nothing else changes.

    An index of the model stays valid. Raises ModelError for a file that is no model of ours, or where there is not one
    above 0 for each group, and ExportError; then the file stays as it was.
    """
    Model.load(path, device="cpu", fast_start=True)  # its error says what is wrong with a file that is no model
    model = onnx.load(path)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    metadata[f"{KEY_PREFIX}temperatures"] = json.dumps(list(temperatures))

    def prove(file: Path) -> None:
        Model.load(file, device="cpu", fast_start=True)

    write_proven(model, metadata, path, prove=prove)


def write_proven(model: onnx.ModelProto, metadata: dict[str, str], out: Path, *, prove: Callable[[Path], None]) -> None:
    """As `write_model_file`, for a graph of others, which ONNX Runtime alone judges; `prove` opens the file itself."""
    onnx.helper.set_model_props(model, metadata)
    try:
        with replacing(out) as file:
            file.write(model.SerializeToString())
            file.flush()
            prove(Path(file.name))
    except OSError as error:
        raise ExportError(
            f"{out} could not be written ({error.strerror or error})", hint="choose another place with -o"
        ) from error
