"""Pairs of photos that are nearly the same: all n×n scores, as imagededup makes them, against fc7's neighbours.

    python benchmarks/peers_duplicates.py matrix|neighbours FOLDER

peers.py runs this, once for each way and number of photos, in a process of its own whose memory it tells.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from search import build, clustered, peak_memory, sizes, write_catalogue

from index.photo_index import PhotoIndex
from retrieval.duplicates.find import ALIKE, NEIGHBOURS, PHOTOS_PER_QUERY

MATRIX, OURS = "matrix", "neighbours"
COPIES, DISTANCE = 0.05, 0.3
"""The share of vectors that are another one moved by this length, which leaves a score of about 0.96."""
ROWS, WHOLE = 1_000, 10_000

Pairs = set[tuple[int, int]]


def make(place: Path, count: int) -> None:
    """Write vectors, some nearly copies of others, into a file, and into an index as `fc7 index` leaves it."""
    batches = [with_copies(clustered(size, seed=seed), seed=seed) for size, seed in sizes(count)]
    np.save(place / "vectors.npy", np.concatenate(batches))
    write_catalogue(place, iter(batches), files=False)
    build(place, "auto")


def with_copies(vectors: NDArray[np.float32], *, seed: int) -> NDArray[np.float32]:
    """Replace some unit vectors (n, dim) by near copies of those before them."""
    random = np.random.default_rng((seed, 1))
    copies = np.flatnonzero(random.random(len(vectors)) < COPIES)
    copies = copies[copies > 0]
    moved = random.standard_normal((len(copies), vectors.shape[1]), np.float32)
    vectors[copies] = vectors[copies - 1] + DISTANCE * moved / np.linalg.norm(moved, axis=1, keepdims=True)
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def alone(way: str, place: Path) -> dict[str, Any]:
    """Return seconds, CPU seconds, megabytes and pairs of one way, in a process of its own."""
    ran = subprocess.run([sys.executable, __file__, way, place], check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def by_matrix(place: Path) -> Pairs:
    """Compute all scores before any is looked at; of many photos in parts of float16, which are then put together.

    Either way four bytes a pair are there at one time.
    """
    vectors = np.load(place / "vectors.npy")
    if len(vectors) <= WHOLE:
        scores = vectors @ vectors.T
    else:
        parts = [
            (vectors[start : start + ROWS] @ vectors.T).astype(np.float16) for start in range(0, len(vectors), ROWS)
        ]
        scores = np.vstack(parts)
    np.fill_diagonal(scores, -1)
    pairs: Pairs = set()
    for row, of_row in enumerate(scores):
        pairs.update((row, other) for other in np.flatnonzero(of_row >= ALIKE).tolist() if row < other)
    return pairs


def by_neighbours(place: Path) -> Pairs:
    """Ask an index for the nearest of each photo, as `fc7 duplicates` begins, and keep those that look alike."""
    with PhotoIndex.open(place / "index") as index:
        return set(_near(index, index.photos.ids()))


def _near(index: PhotoIndex, ids: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    for start in range(0, len(ids), PHOTOS_PER_QUERY):
        asking = ids[start : start + PHOTOS_PER_QUERY]
        scores, nearest = index.neighbours(asking, 2 * NEIGHBOURS)
        rows, columns = np.nonzero(scores >= ALIKE)
        ours, others = start + rows, np.searchsorted(ids, nearest[rows, columns])
        yield from zip(np.minimum(ours, others).tolist(), np.maximum(ours, others).tolist(), strict=True)


def matrix_bytes(count: int) -> int:
    """Return the bytes of all scores of `count` photos: float32, or float16 twice, parts and whole together."""
    return 4 * count**2


if __name__ == "__main__":
    begun, cpu = time.perf_counter(), time.process_time()
    answer = (by_matrix if sys.argv[1] == MATRIX else by_neighbours)(Path(sys.argv[2]))
    told = {"seconds": time.perf_counter() - begun, "cpu": time.process_time() - cpu, "memory": peak_memory()}
    print(json.dumps({**told, "pairs": sorted(answer)}))
