"""Dates of photos that an older fc7 has indexed: their files are looked at once, without decoding a picture."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from index.errors import PhotoError
from index.index_writer import IndexWriter
from index.records import IndexedFile
from retrieval.photos.exif import taken
from retrieval.photos.files import current_stamp

BATCH = 512
THREADS = 8
"""That wait for disks."""


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


def _look(file: IndexedFile) -> tuple[datetime | None] | None:
    if not os.path.isfile(file.path) or current_stamp(file.path) != file.stamp:
        return None
    try:
        return (taken(file.path),)
    except PhotoError:
        return None
