"""Reads the bytes of photo files, and of nothing that is not a file."""

import errno
import os
import stat
from pathlib import Path

from index.errors import PhotoError

MAX_BYTES = 1 << 30
"""Size in bytes of the largest file that is read."""

_REASONS = {
    errno.ENOENT: "no such file",
    errno.ENOTDIR: "no such file",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ELOOP: "a loop of symbolic links",
    errno.ENAMETOOLONG: "name too long",
}


def read_photo(path: Path) -> bytes:
    """Return the bytes of a regular file, in one read; raises PhotoError with the reason alone."""
    try:
        # Looked at before it is opened, because opening a FIFO waits for a writer and opening a device can move a tape;
        # and again after it, because it may have been replaced in between.
        _check_regular(os.stat(path))
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(descriptor, "rb") as file:
            _check_regular(os.fstat(descriptor))
            return file.read()
    except OSError as error:
        raise PhotoError(file_error_reason(error)) from error


def file_error_reason(error: OSError) -> str:
    """Return why a file or folder could not be read, in a few words."""
    return _REASONS.get(error.errno or 0) or (error.strerror or str(error)).lower()


def _check_regular(status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise PhotoError("a folder")
    if not stat.S_ISREG(status.st_mode):
        raise PhotoError("not a regular file")
    if status.st_size > MAX_BYTES:
        raise PhotoError(f"more than {MAX_BYTES >> 20:,} MiB")
