"""Compares photos: whether files hold what was indexed, how alike two pictures are, and what pairs make of groups.

Two photos can be one picture, altered: resaved, resized, lightly cropped, framed, recoloured or mirrored. A picture is
looked at as a thumbnail of grey values, whatever its shape was. A window of it is described by its cosine transform:
without the mean, so that brightness does not count, and of unit length, so that contrast does not either. Each
coefficient is weighted by its frequency, because those of natural pictures fall with it (Field, 1987): otherwise the
sky above and the ground below would make most landscapes the same. The likeness of two pictures is the largest cosine
between the whole of one and any window of the other, as it is or mirrored.
"""

from collections.abc import Iterable, Iterator
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from index.errors import PhotoError
from index.photo_index import PhotoIndex
from index.records import IndexedFile
from retrieval.photos.files import content_hash, read_photo, read_stamped
from retrieval.pipeline.executor import prepare_photos
from retrieval.pipeline.memory import decode_within_budget
from retrieval.pipeline.progress import Progress

SIDE = 32
"""Width and height of a thumbnail."""

# Along each side; more tells pictures apart better, but forgives less when a crop falls between two windows.
COEFFICIENTS = 16
# Windows are this much of each side, and this many pixels of the thumbnail apart.
SHARES = (1.0, 0.95, 0.9, 0.85, 0.8)
STEP = 0.5
# Length of the description of a picture with so little in it, about one grey level, that nothing can be said of it.
NOTHING = 200.0

FILES_PER_QUERY = 2048


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
    for start in range(0, len(ids), FILES_PER_QUERY):
        yield from index.files(ids[start : start + FILES_PER_QUERY])


def _is_as_indexed(file: IndexedFile) -> bool:
    return content_hash(read_photo(file.path)) == file.content_hash


def _thumbnail_of(file: IndexedFile) -> NDArray[np.uint8]:
    data, stamp = read_stamped(file.path)
    if stamp != file.stamp:
        raise PhotoError("it has changed since it was indexed")
    return decode_within_budget(data, lambda photo: thumbnail(photo.image), shorter_side=SIDE)


def thumbnail(image: Image.Image) -> NDArray[np.uint8]:
    """Shrink a picture to grey values (SIDE, SIDE), each the mean of its part of the picture."""
    return np.array(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX))


def likeness(picture: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Compare windows of a thumbnail (SIDE, SIDE) with the whole of others (n, SIDE, SIDE): n values, 1 is the same.

    It finds others that were cut out of the picture; to find the picture cut out of others, exchange them.
    """
    transform, windows = _transforms()
    parts = (transform @ picture.astype(np.float32) @ transform.T).reshape(windows, COEFFICIENTS, windows, COEFFICIENTS)
    described = _descriptors(parts.transpose(0, 2, 1, 3).reshape(-1, COEFFICIENTS, COEFFICIENTS))
    # The first window is the whole; mirrored, the odd waves along a row change their sign.
    whole = transform[:COEFFICIENTS]
    wholes = whole @ others.astype(np.float32) @ whole.T
    mirrored = wholes * np.where(np.arange(COEFFICIENTS) % 2, -1, 1).astype(np.float32)
    cosines = described @ _descriptors(np.concatenate([wholes, mirrored])).T
    best: NDArray[np.float32] = cosines.max(axis=0).reshape(2, -1).max(axis=0)
    return best


def _descriptors(coefficients: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weight and normalise coefficients (n, COEFFICIENTS, COEFFICIENTS), down then across, to (n, values)."""
    frequency = np.arange(COEFFICIENTS, dtype=np.float32)
    values = (coefficients * np.hypot(frequency[:, None], frequency)).reshape(-1, COEFFICIENTS**2)
    described: NDArray[np.float32] = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), NOTHING)
    return described


@cache
def _transforms() -> tuple[NDArray[np.float32], int]:
    """Make the matrix (windows · COEFFICIENTS, SIDE) from pixels to the DCT-II of each window; return their number."""
    number = np.arange(COEFFICIENTS)
    dct = np.cos(np.pi / COEFFICIENTS * (number + 0.5) * number[:, None]) * np.sqrt(2 / COEFFICIENTS)
    dct[0] /= np.sqrt(2)
    pixels = np.arange(SIDE)
    transforms = []
    for share in SHARES:
        room = SIDE * (1 - share)
        for start in np.linspace(0, room, round(room / STEP) + 1):
            edges = np.linspace(start, start + share * SIDE, COEFFICIENTS + 1)
            # How much of each pixel lies in each cell.
            covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
            transforms.append(dct @ (covered.clip(0) / (edges[1] - edges[0])))
    return np.concatenate(transforms).astype(np.float32), len(transforms)


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
