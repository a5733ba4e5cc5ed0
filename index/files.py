"""Writing a file so that no one ever sees half of it, and names of files that mean the same from everywhere."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


def absolute(path: Path) -> str:
    """Return a path from the root on. Links stay as they are named, but for those that a `..` steps out of."""
    parts = path.parts
    if ".." not in parts:
        return os.path.abspath(path)
    last = len(parts) - parts[::-1].index("..")
    return os.path.join(os.path.realpath(Path(*parts[:last])), *parts[last:])


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
