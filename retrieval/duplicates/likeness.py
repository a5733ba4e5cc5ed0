"""Tells whether thumbnails show one picture, altered: one is laid over the other, and their fine detail is compared.

Coarse shapes are not enough: an egg on a table is like another egg on that table, and a letter like any other on the
same paper. So what is compared, once the pictures lie on each other, is each pixel less the mean around it. Where
pictures are flat, as documents are, most of what they have in common is layout. These are looked at in finer detail,
without what is the same all along a row or a column, such as the lines of a table.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.duplicates.register import Pictures, correlation, register, sample, window_maps
from retrieval.duplicates.windows import DOCUMENTS, ORIENTATIONS, PHOTOS, Grid, best_windows, described_wholes, oriented
from retrieval.photos.thumbnail import SIDE
from retrieval.pipeline.executor import in_threads

SAME_PICTURE = 0.8
"""The likeness from which two are one picture; all numbers here by benchmarks/duplicates.py, see docs/results.md."""
# The correlation of the detail of documents that counts as much, and that of two photos that both have so few pixels
# that their thumbnails are enlarged: there, one playing card is much like another.
SAME_DOCUMENT = 0.85
SAME_SMALL = 0.93
# From this likeness of coarse shapes on photos are laid over each other; they must then correlate by as much.
LEAST_COARSE, LEAST_LAID = 0.7, 0.75
# The same of documents: for the place of their finest match, and for that of their coarse shapes.
LEAST_FINE, LEAST_SHAPES, LEAST_LAID_DOCUMENT = 0.6, 0.9, 0.58
# The share of the pixels that are nearly of the most common grey value, and the contrast of detail to that of shapes.
FLAT, NEARLY, BUSY = 0.4, 6, 0.9

PAIRS_AT_ONCE = 32
_WHOLE = np.eye(3, dtype=np.float32)[None, :2]


@dataclass(frozen=True, eq=False)
class Found:
    """Where pictures of pairs lie in each other: likeness (m,), orientations (m,) and maps (m, 2, 3).

    Where `exchanged` (m,), the first lies in the second. The one that lies in the other is to be oriented.
    """

    likeness: NDArray[np.float32]
    orientations: NDArray[np.int64]
    maps: Pictures
    exchanged: NDArray[np.bool_]

    @classmethod
    def nothing(cls, count: int) -> "Found":
        """Return what is found where nothing was looked for."""
        return cls(
            np.full(count, -1, dtype=np.float32),
            np.zeros(count, dtype=np.int64),
            np.zeros((count, 2, 3), dtype=np.float32),
            np.zeros(count, dtype=bool),
        )

    def put(self, rows: NDArray[np.int64], found: "Found") -> None:
        """Set what was found of some pairs."""
        self.likeness[rows], self.orientations[rows] = found.likeness, found.orientations
        self.maps[rows], self.exchanged[rows] = found.maps, found.exchanged

    def is_near(self, other: "Found") -> NDArray[np.bool_]:
        """Say for which pairs both have found nearly the same place: within one part of 64 of each side."""
        near: NDArray[np.bool_] = np.abs(self.maps - other.maps).max(axis=(1, 2)) <= 2 / DOCUMENTS.side
        near &= (self.orientations == other.orientations) & (self.exchanged == other.exchanged)
        return near

    def only(self, rows: NDArray[np.int64]) -> "Found":
        """Return what was found of some pairs."""
        return Found(self.likeness[rows], self.orientations[rows], self.maps[rows], self.exchanged[rows])


def locate(pictures: Pictures, pairs: NDArray[np.int64], grid: Grid, orientations: int = ORIENTATIONS) -> Found:
    """Look for pictures (n, s, s) in each other, by pairs (m, 2) of their numbers."""
    found = Found.nothing(len(pairs))
    wholes = described_wholes(pictures, grid, orientations)
    # Windows of each picture once, with all that it is paired with, whichever of the two it is.
    source, target = np.concatenate([pairs[:, 0], pairs[:, 1]]), np.concatenate([pairs[:, 1], pairs[:, 0]])
    order = np.argsort(source, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(source[order])) + 1) if len(pairs) else []

    def windows(rows: NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
        return best_windows(pictures[source[rows[0]]], wholes[:, target[rows]], grid)

    for rows, (best, orientation, down, across) in zip(groups, in_threads(windows, groups), strict=True):
        better = best > found.likeness[rows % len(pairs)]
        pair = rows[better] % len(pairs)
        found.likeness[pair] = best[better]
        found.orientations[pair] = orientation[better]
        found.maps[pair] = window_maps(down[better], across[better])
        found.exchanged[pair] = rows[better] >= len(pairs)
    return found


def small_pictures(thumbnails: NDArray[np.uint8]) -> Pictures:
    """Make of thumbnails (n, SIDE, SIDE) the pictures in which photos are looked for."""
    return smaller(thumbnails, SIDE // PHOTOS.side)


def fine_likeness(
    thumbnails: NDArray[np.uint8],
    pairs: NDArray[np.int64],
    coarse: Found,
    flat_ones: NDArray[np.bool_],
    fine: Found | None = None,
) -> NDArray[np.float32]:
    """Compare thumbnails (n, SIDE, SIDE), flat or not (n,), by pairs (m, 2): likeness (m,), 1 at most.

    `coarse` is what `locate` found of them by `PHOTOS`, and `fine` by `DOCUMENTS`, of those where one is flat.
    """
    likeness = np.zeros(len(pairs), dtype=np.float32)
    flat: NDArray[np.bool_] = np.any(flat_ones[pairs], axis=1)
    photos = np.flatnonzero(~flat & (coarse.likeness >= LEAST_COARSE))

    def compare(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return _photo_likeness(*_pictures(thumbnails, pairs, coarse, rows), coarse.maps[rows])

    likeness[photos] = _in_parts(compare, photos)
    documents = np.flatnonzero(flat)
    if len(documents):
        if fine is None:
            numbers, places = np.unique(pairs[documents], return_inverse=True)
            found = locate(document_pictures(thumbnails[numbers]), places.reshape(-1, 2), DOCUMENTS)
        else:
            found = fine.only(documents)
        near = np.flatnonzero(found.likeness >= LEAST_FINE)
        likeness[documents[near]] = _documents_likeness(thumbnails, pairs[documents], found, near)
        # Pictures with large shapes, such as chats, may lie where these are, and not where the finest match was.
        elsewhere = flat & (likeness < SAME_PICTURE) & (coarse.likeness >= LEAST_SHAPES)
        elsewhere[documents[near]] &= ~found.only(near).is_near(coarse.only(documents[near]))
        again = np.flatnonzero(elsewhere)
        likeness[again] = np.maximum(likeness[again], _documents_likeness(thumbnails, pairs, coarse, again))
    return likeness.clip(0, 1)


def _documents_likeness(
    thumbnails: NDArray[np.uint8], pairs: NDArray[np.int64], found: Found, chosen: NDArray[np.int64]
) -> NDArray[np.float32]:
    def compare(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return _document_likeness(*_pictures(thumbnails, pairs, found, rows), found.maps[rows])

    return _in_parts(compare, chosen) * np.float32(SAME_PICTURE / SAME_DOCUMENT)


def _in_parts(
    compare: Callable[[NDArray[np.int64]], NDArray[np.float32]], rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Compare rows (m,) some at once, the parts in threads."""
    parts = [rows[start : start + PAIRS_AT_ONCE] for start in range(0, len(rows), PAIRS_AT_ONCE)]
    return np.concatenate([np.empty(0, dtype=np.float32), *in_threads(compare, parts)])


def document_pictures(thumbnails: NDArray[np.uint8]) -> Pictures:
    """Make of thumbnails (n, SIDE, SIDE) the pictures in which documents are looked for."""
    return less_mean(smaller(thumbnails, SIDE // DOCUMENTS.side), 12)


def is_flat(thumbnails: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Tell which thumbnails (n, SIDE, SIDE) have one grey value in most places, or more detail than shapes."""
    flat = np.zeros(len(thumbnails), dtype=bool)
    for number, picture in enumerate(thumbnails):
        counts = np.cumsum(np.bincount(picture.reshape(-1), minlength=256))
        flat[number] = (counts[2 * NEARLY :] - np.append(0, counts[: -2 * NEARLY - 1])).max() >= FLAT * picture.size
    shapes, detail = smaller(thumbnails, 8), less_mean(thumbnails.astype(np.float32), 2)
    busy: NDArray[np.bool_] = detail.std((1, 2)) >= BUSY * shapes.std((1, 2))
    return flat | busy


def _pictures(
    thumbnails: NDArray[np.uint8], pairs: NDArray[np.int64], found: Found, rows: NDArray[np.int64]
) -> tuple[Pictures, Pictures]:
    """Return for some pairs the picture that the other lies in, and that other, oriented like it."""
    first, second = thumbnails[pairs[rows].T].astype(np.float32)
    exchanged = found.exchanged[rows, None, None]
    inner = np.where(exchanged, first, second)
    inner = np.stack([oriented(one, int(number)) for one, number in zip(inner, found.orientations[rows], strict=True)])
    return np.where(exchanged, second, first), inner


def _photo_likeness(source: Pictures, target: Pictures, maps: Pictures) -> NDArray[np.float32]:
    likeness = np.zeros(len(source), dtype=np.float32)
    maps, laid = register(smaller(source, 4), smaller(target, 4), maps, 6)
    rows = np.flatnonzero(laid >= LEAST_LAID)
    if len(rows):
        source, target = source[rows], target[rows]
        maps, _ = register(smaller(source, 2), smaller(target, 2), maps[rows], 3)
        # A part of the source is as fine as the whole of the target, which therefore is blurred more.
        likeness[rows] = _detail(blurred(source, 0.5), blurred(target, 0.8), maps, side=SIDE // 2, reach=4, lines=True)
    return likeness


def _document_likeness(source: Pictures, target: Pictures, maps: Pictures) -> NDArray[np.float32]:
    likeness = np.zeros(len(source), dtype=np.float32)
    halves = smaller(source, 2), smaller(target, 2)
    maps, _ = register(less_mean(halves[0], 6), less_mean(halves[1], 6), maps, 5)
    laid = _detail(halves[0], blurred(halves[1], 0.5), maps, side=SIDE // 2, reach=2, lines=False)
    rows = np.flatnonzero(laid >= LEAST_LAID_DOCUMENT)
    if len(rows):
        source, target = source[rows], target[rows]
        maps, _ = register(less_mean(source, 4), less_mean(target, 4), maps[rows], 3)
        likeness[rows] = _detail(source, blurred(target, 0.5), maps, side=SIDE * 3 // 4, reach=2, lines=False)
    return likeness


def _detail(
    source: Pictures, target: Pictures, maps: Pictures, *, side: int, reach: int, lines: bool
) -> NDArray[np.float32]:
    shown, inside = sample(source, maps, side)
    own, _ = sample(target, np.repeat(_WHOLE, len(target), axis=0), side)
    one, other = less_mean(shown, reach), less_mean(own, reach)
    if not lines:
        one, other = without_lines(one, inside), without_lines(other, inside)
    return correlation(one, other, inside)


def smaller(pictures: NDArray[np.floating] | NDArray[np.uint8], factor: int) -> Pictures:
    """Shrink pictures (n, s, s) by a whole factor, to the means of their parts."""
    side = pictures.shape[-1]
    # As products it takes a third of the time that NumPy's mean of such parts takes.
    near = np.repeat(np.eye(side // factor, dtype=np.float32), factor, axis=1) / np.float32(factor)
    means: Pictures = near @ pictures.astype(np.float32, copy=False) @ near.T
    return means


def less_mean(pictures: Pictures, reach: int) -> Pictures:
    """Subtract from each pixel of (n, s, s) the mean of those up to `reach` around it, as far as there are any."""
    side = pictures.shape[-1]
    near = (np.abs(np.arange(side)[:, None] - np.arange(side)) <= reach).astype(np.float32)
    near /= near.sum(axis=1, keepdims=True)
    difference: Pictures = pictures - near @ pictures @ near.T
    return difference


def without_lines(pictures: Pictures, inside: NDArray[np.bool_]) -> Pictures:
    """Subtract from pictures (n, s, s) the mean of each row and of each column, of what is inside."""
    for axis in (1, 2):
        area = np.maximum(inside.sum(axis, keepdims=True), 1).astype(np.float32)
        pictures = (pictures - (pictures * inside).sum(axis, keepdims=True) / area).astype(np.float32)
    return pictures


def blurred(pictures: Pictures, sigma: float) -> Pictures:
    """Blur pictures (n, s, s) by a normal distribution, of what is inside them."""
    side = pictures.shape[-1]
    weights = np.exp(-0.5 * ((np.arange(side)[:, None] - np.arange(side)) / sigma) ** 2).astype(np.float32)
    weights /= weights.sum(axis=1, keepdims=True)
    return (weights @ pictures @ weights.T).astype(np.float32, copy=False)
