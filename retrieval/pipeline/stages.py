"""The stages of a photo on its way into an index: read, prepared, embedded; and the threads that they share."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from index.catalog.rows import has_direction
from index.errors import OutOfMemoryError, PhotoError
from index.object_path import ObjectPath
from index.records import FileStamp, NewPhoto
from retrieval.models.model import Model
from retrieval.photos.decode import Photo
from retrieval.photos.files import content_hash, read_stamped
from retrieval.photos.object_storage import READERS
from retrieval.photos.thumbnail import encode, thumbnail
from retrieval.pipeline.executor import Concurrency, compute_ahead, photo_threads, run_ahead
from retrieval.pipeline.memory import MemoryBudget, decode_within_budget, shared_budget

LABELS = 5
# A plain white picture, for a model whose units all stay silent at it.
NOTHING_FOUND = "the model finds nothing in it"

_READ_AHEAD = 16
_DECODE_AHEAD = 64
_DECODE_AHEAD_PER_WORKER = 8
_BYTES_PER_WEIGHT = 1 << 20


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of a file, its stamp when they were read, and their hash."""

    data: bytes
    stamp: FileStamp
    content_hash: bytes


@dataclass(frozen=True, slots=True)
class ReadPhoto:
    """A photo that has been read; `path` is relative to its folder."""

    path: bytes
    stamp: FileStamp
    content_hash: bytes


@dataclass(frozen=True, slots=True, eq=False)
class PreparedPhoto:
    """Pixels (crop, crop, 3) for the network, with width and height of the upright picture, and its thumbnail.

    `missing` says which part of its file is missing, None for a whole one; `taken` is as for `Photo`.
    """

    width: int
    height: int
    pixels: NDArray[np.uint8]
    thumbnail: bytes
    missing: str | None = None
    taken: datetime | None = None


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedBatch:
    """Photos to be stored, and the paths of those that there was no memory for, with the reason, which are not."""

    photos: tuple[NewPhoto, ...]
    later: tuple[tuple[bytes, str], ...] = ()


class Stages:
    """Threads that wait for disks, and threads that decode and compute alike: no more of these than there are cores."""

    def __init__(self, model: Model, concurrency: Concurrency, *, readers: Executor, threads: Executor) -> None:
        """Use `begun`."""
        self._model = model
        self._concurrency = concurrency
        self._readers = readers
        self._threads = threads
        self._budget = shared_budget() if concurrency.memory is None else MemoryBudget(concurrency.memory)
        self._decode_ahead = max(_DECODE_AHEAD, _DECODE_AHEAD_PER_WORKER * concurrency.workers)

    @classmethod
    @contextmanager
    def begun(cls, model: Model, concurrency: Concurrency, folders: Sequence[Path]) -> Iterator["Stages"]:
        """Start the threads for photos of folders; they end with the block, and what has not begun is cancelled."""
        remote = any(isinstance(folder, ObjectPath) for folder in folders)
        reading = max(concurrency.workers, READERS) if remote else concurrency.workers
        with photo_threads(reading) as readers, photo_threads(concurrency.workers) as threads:
            yield cls(model, concurrency, readers=readers, threads=threads)

    def read(
        self, folder: Path, paths: Sequence[bytes], stamps: Mapping[bytes, FileStamp]
    ) -> Iterator[tuple[bytes, Content | PhotoError]]:
        """Read files, in order; at most 16 wait, or 16 MiB of larger ones."""
        jobs = ((path, partial(read_content, folder / os.fsdecode(path))) for path in paths)
        return run_ahead(jobs, self._readers, look_ahead=_READ_AHEAD, weigh=lambda path: _weight(stamps[path]))

    def embed(self, photos: Iterable[tuple[ReadPhoto, bytes]], *, at_most: int) -> Iterator[EmbeddedBatch]:
        """Prepare photos, with the bytes of their files, and embed them in batches; at most 64 wait, or 64 MiB.

        There are at most `at_most` of them. With more than 8 cores, 8 for each can wait.
        """
        concurrency = self._concurrency
        to_prepare = ((photo, partial(prepare_photo, self._model, data, self._budget)) for photo, data in photos)
        prepared = run_ahead(
            to_prepare, self._threads, look_ahead=self._decode_ahead, weigh=lambda photo: _weight(photo.stamp)
        )
        yield from compute_ahead(
            prepared, partial(embed_photos, self._model), self._threads, concurrency, at_most=at_most
        )


def read_content(path: Path) -> Content:
    """Read a file. Raises PhotoError."""
    try:
        data, stamp = read_stamped(path)
    except MemoryError:
        raise OutOfMemoryError from None
    return Content(data, stamp, content_hash(data))


def prepare_photo(model: Model, data: bytes, budget: MemoryBudget | None = None) -> PreparedPhoto:
    """Decode a photo, when the budget of memory has room for it, and prepare it for a model. Raises PhotoError."""

    def prepare(photo: Photo) -> PreparedPhoto:
        small = encode(thumbnail(photo.image))
        return PreparedPhoto(photo.width, photo.height, model.prepare(photo.image), small, photo.missing, photo.taken)

    return decode_within_budget(data, prepare, shorter_side=model.spec.resize, budget=budget)


def embed_photos(model: Model, batch: Sequence[tuple[ReadPhoto, PreparedPhoto | PhotoError]]) -> EmbeddedBatch:
    """Embed and classify the photos of a batch that could be prepared; the others come first, with the reason."""
    later = tuple((photo.path, str(error)) for photo, error in batch if isinstance(error, OutOfMemoryError))
    photos = [
        NewPhoto(photo.path, photo.stamp, photo.content_hash, skipped=str(error))
        for photo, error in batch
        if isinstance(error, PhotoError) and not isinstance(error, OutOfMemoryError)
    ]
    readable = [(photo, prepared) for photo, prepared in batch if not isinstance(prepared, PhotoError)]
    if readable:
        outputs = model.run(np.stack([prepared.pixels for _, prepared in readable]))
        count = LABELS * len(model.spec.slices)  # of each group
        photos += (
            NewPhoto(
                photo.path,
                photo.stamp,
                photo.content_hash,
                width=prepared.width,
                height=prepared.height,
                embedding=embedding,
                labels=model.top_predictions(probabilities, count),
                thumbnail=prepared.thumbnail,
                missing=prepared.missing,
                taken=prepared.taken,
            )
            if has_direction(embedding)
            else NewPhoto(photo.path, photo.stamp, photo.content_hash, skipped=NOTHING_FOUND)
            for (photo, prepared), embedding, probabilities in zip(
                readable, outputs.embedding, outputs.probabilities, strict=True
            )
        )
    return EmbeddedBatch(tuple(photos), later)


def _weight(stamp: FileStamp) -> float:
    return max(1.0, stamp.size / _BYTES_PER_WEIGHT)
