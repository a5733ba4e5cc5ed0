"""Checks an index against itself and against the photos that it was made from, and mends it."""

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from index.errors import PhotoError
from index.index_writer import IndexWriter
from index.photo_index import PhotoIndex
from index.records import IndexProblem, StoredPhoto
from retrieval.model import Model
from retrieval.photo_files import read_photo, stamp_of
from retrieval.photos import open_photo

# Other versions of the decoders and of the runtime change a vector by less than this; another picture by far more.
LEAST_COSINE = 0.999


@dataclass(frozen=True)
class CheckReport:
    """How many photos an index has, how many of them were embedded again, and what is wrong."""

    photos: int
    embedded: int
    problems: tuple[IndexProblem, ...]


def check_index(index: PhotoIndex, model: Model, *, sample: int) -> CheckReport:
    """Check an index, and embed again a random sample of its photos whose files are as they were."""
    problems = index.problems()
    bad = {problem.photo for problem in problems}
    embedded = 0
    for path in index.photo_paths(sample, random.Random()):
        photo = None if path in bad else index.photo(path)
        if photo is not None and photo.embedding is not None and _is_as_it_was(photo):
            embedded += 1
            if (reason := _photo_problem(photo, model)) is not None:
                problems.append(IndexProblem(f"{path}: {reason}", path))
    return CheckReport(index.summary().photos, embedded, tuple(problems))


def repair_index(index: IndexWriter, problems: Sequence[IndexProblem]) -> list[IndexProblem]:
    """Mend what can be mended, and return what is still wrong; photos that were dropped are new in the next sync."""
    if problems:
        index.repair(problems)
    return index.problems()


def _is_as_it_was(photo: StoredPhoto) -> bool:
    try:
        return stamp_of(os.stat(photo.path)) == photo.stamp
    except OSError:
        return False


def _photo_problem(photo: StoredPhoto, model: Model) -> str | None:
    try:
        data = read_photo(photo.path)
        if blake2b(data, digest_size=16).digest() != photo.content_hash:
            return "its content is another one than was indexed, though its size and time are the same"
        [embedding] = model.embed([open_photo(data, shorter_side=model.spec.resize)])
    except PhotoError as error:
        return f"it cannot be read any more ({error})"
    cosine = float(np.dot(embedding, photo.embedding)) if photo.embedding is not None else 0.0
    return None if cosine >= LEAST_COSINE else f"embedded again it is another vector (cosine {cosine:.3f})"
