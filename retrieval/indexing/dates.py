"""Dates of photos that an older fc7 has indexed: their files are looked at once, most without decoding them."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

from index.errors import PhotoError
from index.index_writer import IndexWriter
from index.records import IndexedFile
from retrieval.photos.decode import load_photo
from retrieval.photos.exif import moment_of, read_exif
from retrieval.photos.files import READ, current_stamp, file_error_reason, read_photo
from retrieval.photos.formats import JPEG_XL, RAW, photo_format

BATCH = 512
THREADS = 8
"""That wait for disks."""
BEGINNING = 256 << 10
"""Bytes of a JPEG in which its EXIF block lies: a segment of at most 64 KiB, among the first."""


def find_dates(index: IndexWriter, *, done: Callable[[int], object] = lambda _: None) -> None:
    """Store when photos were taken, of those where nobody has looked; `done` is called with how many, batch by batch.

    A file that is not there, cannot be read or has changed is left for the next time.
    """
    after = 0
    with ThreadPoolExecutor(THREADS, thread_name_prefix="fc7-dates") as threads:
        while files := index.photos.undated(after, BATCH):
            after = files[-1].id
            found = zip(files, threads.map(_look, files), strict=True)
            index.set_taken([(file.id, told[0]) for file, told in found if told is not None])
            done(len(files))


def taken(path: Path) -> datetime | None:
    """Return when the photo in a file was taken, as `moment_of`. Raises PhotoError."""
    data = _beginning(path)
    format = photo_format(data)
    if format == JPEG_XL or (format == RAW and data[:2] not in (b"II", b"MM")):
        return load_photo(path, shorter_side=1).taken  # only what decodes it finds the block
    return moment_of(read_exif(data if format == "JPEG" else read_photo(path)))


def _beginning(path: Path) -> bytes:
    try:
        # As `read_photo`: opening a FIFO or a device would wait.
        if not os.path.isfile(path):
            raise PhotoError("not a regular file")
        with open(os.open(path, READ), "rb") as file:
            return file.read(BEGINNING)
    except OSError as error:
        raise PhotoError(file_error_reason(error)) from error


def _look(file: IndexedFile) -> tuple[datetime | None] | None:
    if not os.path.isfile(file.path) or current_stamp(file.path) != file.stamp:
        return None
    try:
        return (taken(file.path),)
    except PhotoError:
        return None
