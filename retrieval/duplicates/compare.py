"""Compares indexed photos: whether files hold what was indexed, and which pairs are one picture, altered."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from index.photo_index import PhotoIndex
from index.records import IndexedFile
from retrieval.duplicates.likeness import LEAST_COARSE, fine_likeness, locate
from retrieval.duplicates.pictures import PhotoPictures
from retrieval.duplicates.windows import PHOTOS
from retrieval.photos.files import content_hash, read_photo
from retrieval.pipeline.executor import prepare_photos
from retrieval.pipeline.progress import Progress

FILES_PER_QUERY = 2048
PAIRS_AT_ONCE = 1024


def same_bytes(index: PhotoIndex, ids: NDArray[np.int64], progress: Progress | None = None) -> NDArray[np.bool_]:
    """Tell which of the photos with these ids (n,), sorted, can be read and hold the bytes that were indexed: (n,)."""
    same = np.zeros(len(ids), dtype=bool)
    for done, (file, unchanged) in enumerate(prepare_photos(_files(index, ids), _is_as_indexed), start=1):
        same[np.searchsorted(ids, file.id)] = unchanged is True
        if progress is not None:
            progress(done, len(ids))
    return same


def compare_pictures(
    pictures: PhotoPictures, pairs: NDArray[np.int64], progress: Progress | None = None
) -> NDArray[np.float32]:
    """Compare photos by pairs (m, 2) of their places in `pictures`: likeness (m,), 0 where one was not seen."""
    likeness = np.zeros(len(pairs), dtype=np.float32)
    order = np.lexsort(pairs.T[::-1])
    for start in range(0, len(order), PAIRS_AT_ONCE):
        rows = order[start : start + PAIRS_AT_ONCE]
        rows = rows[pictures.seen[pairs[rows]].all(axis=1)]
        numbers, places = np.unique(pairs[rows], return_inverse=True)
        places = places.reshape(-1, 2)
        found = locate(pictures.small[numbers].astype(np.float32), places, PHOTOS)
        chosen = np.flatnonzero((found.likeness >= LEAST_COARSE) | pictures.flat[pairs[rows]].any(axis=1))
        numbers, places = np.unique(pairs[rows[chosen]], return_inverse=True)
        likeness[rows[chosen]] = fine_likeness(
            pictures.thumbnails(numbers), places.reshape(-1, 2), found.only(chosen), pictures.flat[numbers]
        )
        if progress is not None:
            progress(min(start + PAIRS_AT_ONCE, len(order)), len(order))
    return likeness


def _files(index: PhotoIndex, ids: NDArray[np.int64]) -> Iterator[IndexedFile]:
    for start in range(0, len(ids), FILES_PER_QUERY):
        yield from index.files(ids[start : start + FILES_PER_QUERY])


def _is_as_indexed(file: IndexedFile) -> bool:
    return content_hash(read_photo(file.path)) == file.content_hash


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
