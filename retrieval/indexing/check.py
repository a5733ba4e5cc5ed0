"""Checks an index against itself and against the photos that it was made from, and repairs it."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from index.errors import PhotoError
from index.index_writer import IndexWriter
from index.photo_index import PhotoIndex
from index.records import IndexProblem, SkippedPhoto, StoredPhoto
from index.searchable import SearchableIndex
from retrieval.indexing.missing import MissingPhotos, missing_photos
from retrieval.models.model import Model
from retrieval.photos.files import content_hash, current_stamp, read_photo
from retrieval.pipeline.executor import Concurrency, run_in_batches
from retrieval.pipeline.memory import decode_within_budget
from retrieval.pipeline.progress import Progress

# Other versions of the decoders and of the runtime change a vector by less than this; another picture by far more.
LEAST_COSINE = 0.999


@dataclass(frozen=True)
class CheckReport:
    """How many photos an index has, how many of them were embedded again, what is wrong, what cannot be read now.

    `missing` is what is not where it was: no problem of the index, which may wait for a drive.
    """

    photos: int
    embedded: int
    problems: tuple[IndexProblem, ...]
    skipped: tuple[SkippedPhoto, ...] = ()
    missing: tuple[MissingPhotos, ...] = ()


def check_index(
    index: SearchableIndex,
    model: Model,
    *,
    sample: int,
    progress: Progress | None = None,
    concurrency: Concurrency | None = None,
) -> CheckReport:
    """Check an index, and embed again a random sample of its photos whose files are as they were.

    `concurrency` is by default that of `Concurrency.chosen`, which suits a model best that was loaded with one thread.
    A photo that cannot be read now is no problem of the index, which may be all that is left of it.
    """
    problems = index.problems()
    bad = {problem.photo for problem in problems}
    paths = [path for path in index.photos.random_paths(sample, random.Random()) if path not in bad]
    jobs = ((photo, partial(_pixels, photo, model)) for path in paths if (photo := index.photos.at(path)) is not None)
    concurrency = concurrency or Concurrency.chosen(model)
    skipped: list[SkippedPhoto] = []
    done = embedded = 0
    for batch in run_in_batches(jobs, partial(_compared, model), concurrency, at_most=len(paths)):
        for photo, found in batch:
            embedded += isinstance(found, float)
            if isinstance(found, PhotoError):
                skipped.append(SkippedPhoto(photo.path, str(found)))
            elif (wrong := found if isinstance(found, str) else _difference(found)) is not None:
                problems.append(IndexProblem(f"{photo.path}: {wrong}", photo.path))
        done += len(batch)
        if progress is not None:
            progress(done, len(paths))
    # Those of an index on a server need not be on this machine.
    missing = tuple(missing_photos(index)) if isinstance(index, PhotoIndex) else ()
    return CheckReport(index.summary().photos, embedded, tuple(problems), tuple(skipped), missing)


def repair_index(index: IndexWriter, problems: Sequence[IndexProblem]) -> list[IndexProblem]:
    """Repair an index, and return what is still wrong; photos that were dropped are new in the next sync."""
    if problems:
        index.repair(problems)
    return index.problems()


def _pixels(photo: StoredPhoto, model: Model) -> NDArray[np.uint8] | str | None:
    """Return a photo as the network takes it, None if its file is not as it was, or what is wrong with it.

    Raises PhotoError if it cannot be read now.
    """
    if photo.embedding is None or current_stamp(photo.path) != photo.stamp:
        return None
    data = read_photo(photo.path)
    if content_hash(data) != photo.content_hash:
        return "its content is another one than was indexed, though its size and time are the same"
    return decode_within_budget(data, lambda photo: model.prepare(photo.image), shorter_side=model.resize)


_Found = float | str | PhotoError | None
"""Of a photo: the cosine of its embedding then and now, what is wrong, why it cannot be read, or nothing to compare."""


def _compared(
    model: Model, batch: Sequence[tuple[StoredPhoto, NDArray[np.uint8] | str | PhotoError | None]]
) -> list[tuple[StoredPhoto, _Found]]:
    pixels = [found for _, found in batch if isinstance(found, np.ndarray)]
    embeddings = iter(model.run(pixels).embedding if pixels else ())
    return [
        (photo, _cosine(photo, next(embeddings)) if isinstance(found, np.ndarray) else found) for photo, found in batch
    ]


def _cosine(photo: StoredPhoto, embedding: NDArray[np.float32]) -> float:
    return float(np.dot(embedding, photo.embedding)) if photo.embedding is not None else 0.0


def _difference(cosine: float | None) -> str | None:
    if cosine is None or cosine >= LEAST_COSINE:
        return None
    return f"embedded again it is another vector (cosine {cosine:.3f})"
