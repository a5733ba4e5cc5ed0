"""Writing a file so that no one ever sees half of it, and paths that do not depend on the current folder."""

import errno
import os
import tempfile
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from index.errors import UserError
from index.object_path import ObjectPath


def absolute(path: Path) -> str:
    """Return an absolute path. Links stay as they are named, except those that a `..` leads out of.

    Of an object in object storage it is the URL.
    """
    if isinstance(path, ObjectPath):
        return str(path)
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


def known_place(path: Path, roots: Sequence[Path]) -> Path:
    """Return an absolute path as it lies in one of some folders, where it does through symbolic links.

    So a folder that is reached by two names is one. Where it is around such a folder, its links are followed, if that
    brings the folder into it. Otherwise the path is as it was.
    """
    if isinstance(path, ObjectPath):
        return path  # a bucket has no links
    real = Path(os.path.realpath(path))
    for root in roots:
        if path.is_relative_to(root) or root.is_relative_to(path):
            return path
    for root in roots:
        if real.is_relative_to(real_root := os.path.realpath(root)):
            return root / real.relative_to(real_root)
    return real if any(root.is_relative_to(real) for root in roots) else path


def folder_around(path: bytes, folders: Container[bytes]) -> bytes | None:
    """Return which of some folders a path is or lies in, the innermost; None for none of them.

    Paths are relative to the same folder, which is b"". The time does not depend on how many folders there are.
    """
    while path not in folders:
        if not path:
            return None
        path = path.rpartition(b"/")[0]
    return path


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path` that replaces it when the block ends, and is removed when the block fails.

    The content is on the disk before the file gets its name, so a power cut leaves the old file or the new one. Raises
    OSError.
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
    if not hasattr(os, "O_DIRECTORY"):
        return  # Windows opens no folders
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def output_file(path: Path) -> Iterator[BinaryIO]:
    """As `replacing`, but raises UserError for a place that cannot be written to, before the block begins.

    A link stays, and its target is replaced. What is not a file, such as a pipe, is written to directly.
    """
    place = Path(os.path.realpath(path))
    try:
        with replacing(place) if place.is_file() or not place.exists() else place.open("wb") as file:
            yield file
    except BrokenPipeError:
        raise  # the reader of the standard output has gone
    except OSError as error:
        raise _unwritable(path, error) from error


def check_output(path: Path) -> None:
    """Raise UserError for a place that `output_file` cannot write to, before time is spent on what is written."""
    place = Path(os.path.realpath(path))
    try:
        if place.is_file() or not place.exists():
            with tempfile.TemporaryFile(dir=place.parent):  # a right to write says nothing of a read-only disk
                pass
        elif place.is_dir() or not os.access(place, os.W_OK):
            raise OSError(errno.EISDIR if place.is_dir() else errno.EACCES, "")
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> UserError:
    reason = (os.strerror(error.errno) if error.errno else str(error)).lower()
    return UserError(f"{path} cannot be written ({reason}); choose another place")
