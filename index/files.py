"""Writing a file so that no one ever sees half of it, and names of files that mean the same from everywhere."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from index.errors import UserError


def absolute(path: Path) -> str:
    """Return a path from the root on. Links stay as they are named, but for those that a `..` steps out of."""
    parts = path.parts
    if ".." not in parts:
        return os.path.abspath(path)
    last = len(parts) - parts[::-1].index("..")
    return os.path.join(os.path.realpath(Path(*parts[:last])), *parts[last:])


def path_below(path: bytes, folder: bytes) -> bytes | None:
    """Return the path of `path` relative to `folder`, b"" for the folder itself; None where it is not inside.

    Both are absolute, or both relative to the same folder, which is b"".
    """
    if path == folder:
        return b""
    prefix = folder and folder.rstrip(b"/") + b"/"
    return path[len(prefix) :] if path.startswith(prefix) else None


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path` that takes its place when the block ends well, and vanishes when it does not.

    The content is on the disk before the name is: a power cut leaves the old file or the new one. Raises OSError.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def output_file(path: Path) -> Iterator[BinaryIO]:
    """As `replacing`; raises UserError for a place that cannot be written to, before the work in the block begins.

    A link stays, and what it leads to is replaced; what is no file, such as a pipe, is written to as it is.
    """
    place = Path(os.path.realpath(path))
    try:
        with replacing(place) if place.is_file() or not place.exists() else place.open("wb") as file:
            yield file
    except BrokenPipeError:
        raise  # not of this file, but of what reads the standard output
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"{path} cannot be written ({reason}); choose another place") from error
