"""Reads the files of indexed photos again: do they hold what was indexed, how alike are pairs, what are groups."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from index.errors import PhotoError
from index.photo_index import PhotoIndex
from index.records import IndexedFile
from retrieval.duplicates.same_picture import SIDE, likeness, thumbnail
from retrieval.photos.decode import open_photo
from retrieval.photos.files import content_hash, read_photo, read_stamped
from retrieval.pipeline.executor import prepare_photos
from retrieval.pipeline.progress import Progress

FILES_AT_ONCE = 2048


def same_bytes(index: PhotoIndex, ids: NDArray[np.int64], progress: Progress | None = None) -> NDArray[np.bool_]:
    """Tell which of the photos with these ids (n,), sorted, can be read and hold the bytes that were indexed: (n,)."""
    same = np.zeros(len(ids), dtype=bool)
    for done, (file, unchanged) in enumerate(prepare_photos(_files(index, ids), _is_as_indexed), start=1):
        same[np.searchsorted(ids, file.id)] = unchanged is True
        if progress is not None:
            progress(done, len(ids))
    return same


def compare_pictures(
    index: PhotoIndex, pairs: NDArray[np.int64], progress: Progress | None = None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Compare photos by pairs of ids (m, 2): likeness (m,), 0 where one cannot be read, and the ids (u,) of such.

    A file that has changed since it was indexed is not read either. A thumbnail of each photo is kept, 1 kB.
    """
    ids, places = np.unique(pairs, return_inverse=True)
    pictures = np.zeros((len(ids), SIDE, SIDE), dtype=np.uint8)
    seen = np.zeros(len(ids), dtype=bool)
    for done, (file, picture) in enumerate(prepare_photos(_files(index, ids), _thumbnail_of), start=1):
        if not isinstance(picture, PhotoError):
            place = np.searchsorted(ids, file.id)
            pictures[place], seen[place] = picture, True
        if progress is not None:
            progress(done, len(ids))
    found = np.zeros(len(pairs), dtype=np.float32)
    # Windows of each picture once, with all that it was paired with, whichever of the two it was.
    one, other = places.reshape(-1, 2).T
    source, target = np.concatenate([one, other]), np.concatenate([other, one])
    order = np.argsort(source, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(source[order])) + 1):
        rows = rows[seen[source[rows]] & seen[target[rows]]]
        if len(rows):
            best = likeness(pictures[source[rows[0]]], pictures[target[rows]])
            found[rows % len(pairs)] = np.maximum(found[rows % len(pairs)], best)
    return found, ids[~seen]


def _files(index: PhotoIndex, ids: NDArray[np.int64]) -> Iterator[IndexedFile]:
    for start in range(0, len(ids), FILES_AT_ONCE):
        yield from index.files(ids[start : start + FILES_AT_ONCE])


def _is_as_indexed(file: IndexedFile) -> bool:
    return content_hash(read_photo(file.path)) == file.content_hash


def _thumbnail_of(file: IndexedFile) -> NDArray[np.uint8]:
    data, stamp = read_stamped(file.path)
    if stamp != file.stamp:
        raise PhotoError("it has changed since it was indexed")
    return thumbnail(open_photo(data, shorter_side=SIDE))


def connected_groups(pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Find what pairs connect, directly or over others: disjoint groups, each sorted, in the order of their first.

    A number that is only paired with itself makes no group. Union-find: memory for the numbers, not for the pairs.
    """
    parent: dict[int, int] = {}

    def root(number: int) -> int:
        while (above := parent.setdefault(number, number)) != number:
            # Halves the way for those who come after.
            parent[number] = number = parent[above]
        return number

    for one, other in pairs:
        first, second = sorted((root(one), root(other)))
        parent[second] = first
    groups: dict[int, list[int]] = {}
    for number in sorted(parent):
        groups.setdefault(root(number), []).append(number)
    return [group for group in groups.values() if len(group) > 1]
