"""Compares indexed photos: whether files hold what was indexed, and which pairs are one picture, altered."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from index.photo_index import PhotoIndex
from index.records import IndexedFile
from retrieval.duplicates.likeness import LEAST_COARSE, SAME_PICTURE, fine_likeness, locate
from retrieval.duplicates.pictures import PhotoPictures
from retrieval.duplicates.windows import PHOTOS
from retrieval.photos.files import content_hash, read_photo
from retrieval.pipeline.executor import prepare_photos
from retrieval.pipeline.progress import Progress

FILES_PER_QUERY = 2048
PAIRS_AT_ONCE = 256


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
    """Compare photos by pairs (m, 2) of their places in `pictures`: likeness (m,), 0 where one was not seen.

    Pairs that others have shown to be one picture are not compared, and their likeness is 0 too: of 20 copies of a
    photo there would be 190.
    """
    connected = Connected()
    likeness = np.zeros(len(pairs), dtype=np.float32)
    order = np.lexsort(pairs.T[::-1])
    for start in range(0, len(order), PAIRS_AT_ONCE):
        rows = order[start : start + PAIRS_AT_ONCE]
        rows = rows[pictures.seen[pairs[rows]].all(axis=1)]
        roots = [[connected.root(number) for number in pair] for pair in pairs[rows].tolist()]
        rows = rows[np.array([one != other for one, other in roots], dtype=bool)]
        numbers, places = np.unique(pairs[rows], return_inverse=True)
        places = places.reshape(-1, 2)
        found = locate(pictures.small[numbers].astype(np.float32), places, PHOTOS)
        chosen = np.flatnonzero((found.likeness >= LEAST_COARSE) | pictures.flat[pairs[rows]].any(axis=1))
        numbers, places = np.unique(pairs[rows[chosen]], return_inverse=True)
        likeness[rows[chosen]] = fine_likeness(
            pictures.thumbnails(numbers), places.reshape(-1, 2), found.only(chosen), pictures.flat[numbers]
        )
        for one, other in pairs[rows[likeness[rows] >= SAME_PICTURE]].tolist():
            connected.join(one, other)
        if progress is not None:
            progress(min(start + PAIRS_AT_ONCE, len(order)), len(order))
    return likeness


def _files(index: PhotoIndex, ids: NDArray[np.int64]) -> Iterator[IndexedFile]:
    for start in range(0, len(ids), FILES_PER_QUERY):
        yield from index.photos.files(ids[start : start + FILES_PER_QUERY])


def _is_as_indexed(file: IndexedFile) -> bool:
    return content_hash(read_photo(file.path)) == file.content_hash


class Connected:
    """What pairs of numbers connect, directly or over others. Union-find: memory for the numbers, not for the pairs."""

    def __init__(self) -> None:
        self._parent: dict[int, int] = {}

    def root(self, number: int) -> int:
        """Return the smallest number that this one is connected with."""
        parent = self._parent
        while (above := parent.setdefault(number, number)) != number:
            # Halves the way for those who come after.
            parent[number] = number = parent[above]
        return number

    def join(self, one: int, other: int) -> None:
        """Connect two numbers."""
        first, second = sorted((self.root(one), self.root(other)))
        self._parent[second] = first

    def groups(self) -> list[list[int]]:
        """List disjoint groups, each sorted, in the order of their first; one number alone makes none."""
        groups: dict[int, list[int]] = {}
        for number in sorted(self._parent):
            groups.setdefault(self.root(number), []).append(number)
        return [group for group in groups.values() if len(group) > 1]


def connected_groups(pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Find what pairs connect, as `Connected.groups`."""
    connected = Connected()
    for one, other in pairs:
        connected.join(one, other)
    return connected.groups()
