"""Reads the bytes of photo files, and of nothing that is not a file, here or in object storage."""

import errno
import os
import stat
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

from index.errors import PhotoError
from index.object_path import ObjectPath
from index.records import FileStamp
from retrieval.photos.object_storage import is_object_folder, object_stamps, read_object
from retrieval.photos.tar_member import TarMember

MAX_BYTES = 1 << 30
"""Size in bytes of the largest file that is read."""
READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)
"""Flags to open a file with, so that a FIFO that has taken its place does not wait for a writer. Not on Windows."""
MAX_TIME = 2**63 - 1
"""The last time in nanoseconds that the catalogue can store."""

_REASONS = {
    errno.ENOENT: "no such file",
    errno.ENOTDIR: "no such file",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ELOOP: "a loop of symbolic links",
    errno.ENAMETOOLONG: "name too long",
}


def read_photo(path: Path) -> bytes:
    """Return the bytes of a regular file; raises PhotoError with the reason alone."""
    return read_stamped(path)[0]


def read_stamped(path: Path) -> tuple[bytes, FileStamp]:
    """Return the bytes of a regular file and its stamp, which was the same before and after they were read.

    A file that changes while it is read is read once more. Raises PhotoError, with the reason alone, if it changes
    again too.
    """
    for _ in range(2):
        data, before, after = _read(path)
        if before == after:
            return data, before
    raise PhotoError("it changes while it is read")


def _read(path: Path) -> tuple[bytes, FileStamp, FileStamp]:
    if isinstance(path, ObjectPath):
        return read_object(path)
    try:
        if isinstance(path, TarMember):
            check_size(path.size)
            return path.read()
        # Looked at before it is opened, because opening a FIFO waits for a writer and opening a device can move a tape;
        # and again after it, because it may have been replaced in between.
        _check_regular(os.stat(path))
        descriptor = os.open(path, READ)
        with open(descriptor, "rb") as file:
            before = os.fstat(descriptor)
            _check_regular(before)
            return file.read(), stamp_of(before), stamp_of(os.fstat(descriptor))
    except OSError as error:
        raise PhotoError(file_error_reason(error)) from error


def content_hash(data: bytes) -> bytes:
    """Return the hash (16 bytes) by which files of the same bytes are recognised."""
    return blake2b(data, digest_size=16).digest()


def stamp_of(status: os.stat_result) -> FileStamp:
    """Return size and time of a file, by which a change is recognised."""
    # Times that 64 bits do not hold, of before 1678 or after 2262, are clamped.
    return FileStamp(status.st_size, max(-MAX_TIME - 1, min(status.st_mtime_ns, MAX_TIME)))


def current_stamp(path: Path) -> FileStamp | None:
    """Return the present stamp of a file, None where it cannot be looked at."""
    return current_stamps([path])[0]


def current_stamps(paths: Sequence[Path]) -> list[FileStamp | None]:
    """Return what `current_stamp` does, for many files; those in an object storage are asked for together."""
    objects = [path for path in paths if isinstance(path, ObjectPath)]
    stamps = dict(zip(objects, object_stamps(objects), strict=True)) if objects else {}
    return [stamps[path] if isinstance(path, ObjectPath) else _stamp_at(path) for path in paths]


def _stamp_at(path: Path) -> FileStamp | None:
    try:
        return stamp_of(os.stat(path))
    except OSError:
        return None


def are_there(paths: Sequence[Path]) -> list[bool]:
    """Say for each path whether there is a file or a folder, as far as can be seen."""
    objects = [path for path in paths if isinstance(path, ObjectPath)]
    stamps = dict(zip(objects, object_stamps(objects), strict=True))
    return [stamps[path] is not None if isinstance(path, ObjectPath) else os.path.exists(path) for path in paths]


def is_folder(path: Path) -> bool:
    """Tell whether a path is that of a folder."""
    return is_object_folder(path) if isinstance(path, ObjectPath) else os.path.isdir(path)


def file_error_reason(error: OSError) -> str:
    """Return why a file or folder could not be read, in a few words."""
    return _REASONS.get(error.errno or 0) or (error.strerror or str(error)).lower()


def check_size(size: int) -> None:
    """Raise PhotoError for more bytes than a photo may have."""
    if size > MAX_BYTES:
        raise PhotoError(f"more than {MAX_BYTES >> 20:,} MiB")


def _check_regular(status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise PhotoError("a folder")
    if not stat.S_ISREG(status.st_mode):
        raise PhotoError("not a regular file")
    check_size(status.st_size)
