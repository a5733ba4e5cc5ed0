"""Compares indexed photos: whether files hold what was indexed, and which pairs are one picture, altered."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from index.records import IndexedFile
from index.searchable import SearchableIndex
from retrieval.duplicates.likeness import (
    LEAST_COARSE,
    SAME_PICTURE,
    SAME_SMALL,
    Found,
    document_pictures,
    fine_likeness,
    locate,
)
from retrieval.duplicates.pictures import PhotoPictures
from retrieval.duplicates.remembered import LIKENESS
from retrieval.duplicates.windows import DOCUMENTS, PHOTOS
from retrieval.photos.files import content_hash, read_photo
from retrieval.pipeline.executor import prepare_photos
from retrieval.pipeline.progress import Progress

FILES_PER_QUERY = 2048
LOCATED_AT_ONCE = 4096
PAIRS_AT_ONCE = 256
# The likeness of coarse shapes from which two are probably one picture: compared first, and others after them.
PROBABLE = 0.9


def same_bytes(index: SearchableIndex, ids: NDArray[np.int64], progress: Progress | None = None) -> NDArray[np.bool_]:
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
    photo there would be 190. What was compared before is remembered.
    """
    memory = pictures.remembered(LIKENESS)
    pairs = memory.by_content(pairs)
    connected = Connected()
    likeness = memory.values(pairs)
    unknown = np.isnan(likeness)
    likeness[unknown | ~pictures.seen[pairs].all(axis=1)] = 0
    for one, other in pairs[likeness >= SAME_PICTURE].tolist():
        connected.join(one, other)
    left = np.flatnonzero(unknown & pictures.seen[pairs].all(axis=1))
    left = left[[connected.root(one) != connected.root(other) for one, other in pairs[left].tolist()]]
    order = np.lexsort(np.sort(pairs[left], axis=1).T[::-1])
    for start in range(0, len(order), LOCATED_AT_ONCE):
        rows = left[order[start : start + LOCATED_AT_ONCE]]
        roots = [(connected.root(one), connected.root(other)) for one, other in pairs[rows].tolist()]
        rows = rows[[one != other for one, other in roots]]
        done = _compare(pictures, pairs, rows, connected, likeness)
        memory.keep(pairs[done], likeness[done])
        if progress is not None:
            progress(min(start + LOCATED_AT_ONCE, len(order)), len(order))
    if progress is not None and not len(order):
        progress(1, 1)
    return likeness


def _compare(
    pictures: PhotoPictures,
    pairs: NDArray[np.int64],
    rows: NDArray[np.int64],
    connected: "Connected",
    likeness: NDArray[np.float32],
) -> NDArray[np.int64]:
    """Set the likeness of some rows, and connect what is one picture: return the rows that were compared."""
    numbers, places = np.unique(pairs[rows], return_inverse=True)
    coarse = locate(pictures.small[numbers].astype(np.float32), places.reshape(-1, 2), PHOTOS)
    flat: NDArray[np.bool_] = np.any(pictures.flat[pairs[rows]], axis=1)
    maybe = (coarse.likeness >= LEAST_COARSE) | flat
    fine = _located_documents(pictures, pairs[rows], np.flatnonzero(flat))
    done = [rows[~maybe]]
    # The most alike first, so that they connect others, which then need not be compared.
    queue = np.flatnonzero(maybe)
    queue = queue[np.argsort(-coarse.likeness[queue], kind="stable")]
    while len(queue):
        now, queue = _next(pairs[rows], queue, coarse.likeness, connected)
        numbers, places = np.unique(pairs[rows[now]], return_inverse=True)
        found = fine_likeness(
            pictures.thumbnails(numbers),
            places.reshape(-1, 2),
            coarse.only(now),
            pictures.flat[numbers],
            fine.only(now),
        )
        small = pictures.enlarged[pairs[rows[now]]].all(axis=1) & ~flat[now]
        likeness[rows[now]] = np.where(small, found * np.float32(SAME_PICTURE / SAME_SMALL), found)
        for one, other in pairs[rows[now][likeness[rows[now]] >= SAME_PICTURE]].tolist():
            connected.join(one, other)
        done.append(rows[now])
    return np.concatenate(done)


def _located_documents(pictures: PhotoPictures, pairs: NDArray[np.int64], flat: NDArray[np.int64]) -> Found:
    found = Found.nothing(len(pairs))
    if len(flat):
        numbers, places = np.unique(pairs[flat], return_inverse=True)
        looked_at = document_pictures(pictures.thumbnails(numbers))
        found.put(flat, locate(looked_at, places.reshape(-1, 2), DOCUMENTS))
    return found


def _next(
    pairs: NDArray[np.int64], queue: NDArray[np.int64], coarse: NDArray[np.float32], connected: "Connected"
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Take from a queue of rows those to compare now, without what these will probably connect; and what is left."""
    probable = Connected()
    now: list[int] = []
    later: list[int] = []
    for row in queue.tolist():
        one, other = (connected.root(number) for number in pairs[row].tolist())
        if one == other:
            continue
        if len(now) == PAIRS_AT_ONCE or probable.root(one) == probable.root(other):
            later.append(row)
            continue
        now.append(row)
        if coarse[row] >= PROBABLE:
            probable.join(one, other)
    return np.array(now, dtype=np.int64), np.array(later, dtype=np.int64)


def _files(index: SearchableIndex, ids: NDArray[np.int64]) -> Iterator[IndexedFile]:
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
