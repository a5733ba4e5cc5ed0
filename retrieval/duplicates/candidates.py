"""Proposes pairs of photos that may be one picture, where the embedding does not: it goes by colour and by what is up.

Photos are found by a perceptual hash: the signs of the lowest frequencies of the grey picture (pHash, Zauner 2010, has
the same but for a median). The whole of a photo, in the eight orientations, is compared with windows of all others, so
that crops are found. Documents of one layout have nearly one hash and one embedding, so these are compared themselves:
with many by a random projection of their windows, which nearly keeps cosines (Johnson and Lindenstrauss, 1984), and
with the nearest by all values.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from index.vectors.hashes import nearest_hashes
from retrieval.duplicates.near import Near
from retrieval.duplicates.windows import (
    DOCUMENTS,
    PHOTOS,
    described_wholes,
    described_windows,
    oriented_spectra,
    spectra,
    window_transform,
)
from retrieval.pipeline.executor import in_threads

# By benchmarks/duplicates.py, see docs/results.md: the photos proposed for each, and how many of 64 bits may differ.
NEIGHBOURS = 8
MOST_DIFFERENT = 16

# Of 10 × 10 frequencies, down and across, the lowest 64; not the mean.
FREQUENCIES = 10
_LOWEST = np.argsort([np.hypot(*divmod(number, FREQUENCIES)) for number in range(FREQUENCIES**2)], kind="stable")[1:65]
# The windows: the whole, and nine of each of two sizes.
_SHARES = (0.85, 0.7)
_PLACES = [(0.0, 1.0)] + [(start, share) for share in _SHARES for start in (0.0, (1 - share) / 2, 1 - share)]
_WINDOWS = 1 + 9 * len(_SHARES)
PHOTOS_AT_ONCE = 4096

# Documents proposed for each, and the likeness that they must have.
DOCUMENT_NEIGHBOURS = 4
# Those that are compared by all their values, and the values that a projection has.
DOCUMENTS_COMPARED, PROJECTED = 32, 32
LEAST_DOCUMENT = 0.6


class KnownNear(Protocol):
    """Remembers the photos whose hashes are nearest, of photos that were all compared with each other."""

    def read(self, numbers: NDArray[np.int64], most: int) -> tuple[NDArray[np.bool_], Near]:
        """Tell which of these photos (m,) were compared with each other, and what was found for them."""

    def keep(self, numbers: NDArray[np.int64], near: Near) -> None:
        """Remember what was found for these photos (m,), now that all were compared with each other."""


def hash_pairs(
    small: NDArray[np.uint8], flat: NDArray[np.bool_], asking: NDArray[np.int64], others: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Pair photos `asking` (m,) with `others` (n,), numbers of pictures (…, 32, 32), one of which may hold the other.

    Two that are `flat` (…,) are paired only if one of them is turned or mirrored: `document_likeness` finds the rest.
    Returns pairs (p, 2), smaller number first, each once.
    """
    pairs = [_pairs(asking, _nearest(small, flat, asking, others))]
    if not np.array_equal(asking, others):
        pairs.append(_pairs(others, _nearest(small, flat, others, asking)))
    return np.unique(np.concatenate(pairs), axis=0)


def near_pairs(
    small: NDArray[np.uint8], flat: NDArray[np.bool_], numbers: NDArray[np.int64], known: KnownNear
) -> NDArray[np.int64]:
    """Pair photos (m,) with each other, as `hash_pairs`; only those that are not `known` are compared with all."""
    compared, near = known.read(numbers, NEIGHBOURS)
    old, new = numbers[compared], numbers[~compared]
    if len(new):
        near.put(~compared, _nearest(small, flat, new, numbers))
        near.put(compared, near.only(compared).nearest_with(_nearest(small, flat, old, new)))
        known.keep(numbers, near)
    return np.unique(_pairs(numbers, near), axis=0)


def _pairs(asking: NDArray[np.int64], near: Near) -> NDArray[np.int64]:
    rows, columns = np.nonzero(near.numbers >= 0)
    pairs: NDArray[np.int64] = np.sort(np.stack([asking[rows], near.numbers[rows, columns]], axis=1), axis=1)
    return pairs


def _nearest(
    small: NDArray[np.uint8], flat: NDArray[np.bool_], asking: NDArray[np.int64], others: NDArray[np.int64]
) -> Near:
    """Find for photos (m,) the others (n,) of which they may be a window."""
    nearest = Near.nothing(len(asking), NEIGHBOURS)
    if not len(asking) or not len(others):
        return nearest
    stored = np.concatenate(
        [_window_hashes(small[others[at : at + PHOTOS_AT_ONCE]]) for at in range(0, len(others), PHOTOS_AT_ONCE)]
    )
    for at in range(0, len(asking), PHOTOS_AT_ONCE):
        own = asking[at : at + PHOTOS_AT_ONCE]
        whole = oriented_spectra(spectra(small[own].astype(np.float32), FREQUENCIES))
        # Of the nearest hashes several may be windows of one photo, or of the one that asks.
        distances, rows = nearest_hashes(stored, _signs(whole.swapaxes(0, 1)).reshape(-1, 8), 2 * NEIGHBOURS)
        found = np.where(rows >= 0, others[rows // _WINDOWS], -1).reshape(len(own), -1)
        distances = np.where(rows >= 0, distances, 64).reshape(len(own), -1)
        distances[found == own[:, None]] = 64
        upright = np.arange(found.shape[1]) < 2 * NEIGHBOURS
        distances[flat[own][:, None] & flat[found] & upright] = 64
        found[distances > MOST_DIFFERENT] = -1
        nearest.put(np.arange(at, at + len(own)), Near(found, distances.astype(np.uint8)).nearest(NEIGHBOURS))
    return nearest


def _window_hashes(small: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Hash the windows of pictures (n, 32, 32): (n · windows, 8)."""
    transform = window_transform(PHOTOS.side, FREQUENCIES, _PLACES)
    parts = transform @ small.astype(np.float32) @ transform.T
    parts = parts.reshape(len(small), len(_PLACES), FREQUENCIES, len(_PLACES), FREQUENCIES).swapaxes(2, 3)
    # Windows of one size down and across.
    sizes = np.repeat(np.arange(1 + len(_SHARES)), [1] + [3] * len(_SHARES))
    chosen = parts[:, sizes[:, None] == sizes]
    return _signs(chosen).reshape(-1, 8)


def _signs(coefficients: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Make hashes (..., 8) of spectra (..., FREQUENCIES, FREQUENCIES)."""
    values = coefficients.reshape(*coefficients.shape[:-2], -1)[..., _LOWEST]
    return np.packbits(values > 0, axis=-1)


def document_likeness(pictures: NDArray[np.float16], pairs: NDArray[np.int64]) -> NDArray[np.float32]:
    """Tell how much a window of the first of each pair (m, 2) is like the second: (m,), of documents (n, 64, 64).

    Only upright documents are found. It is 0 for all but those that are most like the first, as far as is known.
    """
    wholes = np.concatenate(
        [
            described_wholes(pictures[at : at + PHOTOS_AT_ONCE].astype(np.float32), DOCUMENTS, 1)
            for at in range(0, max(1, len(pictures)), PHOTOS_AT_ONCE)
        ],
        axis=1,
    )
    random = np.random.default_rng(0).standard_normal((wholes.shape[-1], PROJECTED)).astype(np.float32)
    few = _projected(wholes[0], random)
    order = np.argsort(pairs[:, 0], kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(pairs[order, 0])) + 1) if len(pairs) else []

    def compare(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        windows = described_windows(pictures[pairs[rows[0], 0]].astype(np.float32), DOCUMENTS)
        others = pairs[rows, 1]
        found = np.zeros(len(rows), dtype=np.float32)
        about = (_projected(windows, random) @ few[others].T).max(axis=0)
        near = np.argsort(-about, kind="stable")[:DOCUMENTS_COMPARED]
        found[near] = (windows @ wholes[0, others[near]].T).max(axis=0)
        return found

    likeness = np.empty(len(pairs), dtype=np.float32)
    for rows, found in zip(groups, in_threads(compare, groups), strict=True):
        likeness[rows] = found
    return likeness


def _projected(described: NDArray[np.float32], random: NDArray[np.float32]) -> NDArray[np.float32]:
    few = described @ random
    few /= np.maximum(np.linalg.norm(few, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return few


def best_documents(pairs: NDArray[np.int64], likeness: NDArray[np.float32]) -> NDArray[np.int64]:
    """Choose of pairs (m, 2) those with most likeness (m,) for each document, as the whole or as the part.

    Returns pairs (p, 2), smaller number first, each once.
    """
    taken = likeness >= LEAST_DOCUMENT
    pairs, likeness = pairs[taken], likeness[taken]
    best = [pairs[_first_of_each(pairs[:, side], likeness)] for side in (0, 1)]
    return np.unique(np.sort(np.concatenate(best), axis=1), axis=0)


def _first_of_each(numbers: NDArray[np.int64], scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Find the places of the best scores of each number, as many as documents are proposed."""
    order = np.lexsort((-scores, numbers))
    begins = np.searchsorted(numbers[order], numbers[order])
    return order[np.arange(len(order)) - begins < DOCUMENT_NEIGHBOURS]
