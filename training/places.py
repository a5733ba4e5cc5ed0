"""Where what is imported or exported comes to lie, and the classes that published weights know."""

import os
from pathlib import Path
from tempfile import TemporaryFile

from index.errors import ExportError, OptionError

IMAGENET = Path(__file__).with_name("imagenet-1k.tsv")
"""The 1,000 classes of ImageNet in their usual order, that of their WordNet ids."""


def check_place(out: Path) -> None:
    """Raise ExportError or OptionError where no model file can come to lie, before hours are spent on one."""
    folder = out.absolute().parent
    if not os.path.isdir(folder):
        raise ExportError(f"there is no folder {folder} to write {out.name} into; make it first")
    if os.path.isdir(out):
        raise ExportError(f"{out} is a folder; name a file in it with -o")
    if out.suffix != ".onnx":  # rather than write over a checkpoint or a photo
        raise OptionError(f"{out} does not end with .onnx, as a model file does; name it so with -o")
    try:
        with TemporaryFile(dir=folder):  # permissions do not tell all that may forbid it
            pass
    except OSError as error:
        raise ExportError(
            f"no file can be written into {folder} ({error.strerror}); choose another place with -o"
        ) from error


def made_folder(folder: Path) -> Path:
    """Return a folder, made where it is not there yet. Raises ExportError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"the folder {folder} cannot be made ({error.strerror}); name a file with -o") from error
    return folder
