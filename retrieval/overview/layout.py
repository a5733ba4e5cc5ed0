"""Where the photos of an index lie in the plane, by their embeddings: near each other where they look alike."""

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from index.errors import MissingPackageError, OptionError
from index.photo_index import PhotoIndex

Method = Literal["pca", "umap"]
METHODS: tuple[str, ...] = get_args(Method)
Batch = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Ids (n,) and embeddings (n, dim)."""
LEAST_FOR_UMAP = 16
"""Photos: it looks at the 15 neighbours of each."""
SEED = 2012
LEVELS = 13
"""Grids by which an order is made, from 1 square to 4096 by 4096."""


@dataclass(frozen=True, eq=False)
class Layout:
    """Ids (n,), sorted, and places (n, 2) in the plane, from 0 to 1."""

    ids: NDArray[np.int64]
    places: NDArray[np.float32]

    def __contains__(self, id: int) -> bool:
        place = int(np.searchsorted(self.ids, id))
        return place < len(self.ids) and int(self.ids[place]) == id

    def places_of(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the places (m, 2) of photos with these ids (m,), all of which must have one."""
        return self.places[np.searchsorted(self.ids, ids)]


def layout_of(index: PhotoIndex, method: Method = "pca") -> Layout:
    """Lay out all photos of an index.

    PCA reads the embeddings twice, and has a batch of them in memory. UMAP (McInnes, Healy, Melville 2018) has all.
    Raises OptionError where there are too few photos for UMAP, MissingPackageError without it.
    """
    if method == "umap":
        ids, flat = _umap(index.photos.vectors_by_id())
    else:
        ids, flat = _pca(index.photos.vectors_by_id)
    return Layout(ids, np.stack([_stretched(flat[:, axis]) for axis in range(2)], axis=1).astype(np.float32))


def _pca(read: Callable[[], Iterable[Batch]]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return ids (n,) and the first two principal components (n, 2) of what `read` gives, batch by batch."""
    count, total, products = 0, np.zeros(0), np.zeros((0, 0))
    for ids, vectors in read():
        if not count:
            total, products = np.zeros(vectors.shape[1]), np.zeros((vectors.shape[1],) * 2)
        count += len(ids)
        total += vectors.sum(axis=0, dtype=np.float64)
        products += vectors.T @ vectors
    if not count:
        return np.zeros(0, np.int64), np.zeros((0, 2))
    mean = total / count
    _, axes = np.linalg.eigh(products / count - np.outer(mean, mean))  # from the least variance to the greatest
    chosen = axes[:, :-3:-1]
    # Without this an axis could point either way.
    chosen = chosen * np.sign(chosen[np.abs(chosen).argmax(axis=0), np.arange(chosen.shape[1])])
    if chosen.shape[1] == 1:
        chosen = np.hstack([chosen, np.zeros_like(chosen)])
    # Photos may have come or gone meanwhile: the places are those of one reading.
    found = [(ids, (vectors - mean) @ chosen) for ids, vectors in read()]
    return (
        np.concatenate([np.zeros(0, np.int64), *(ids for ids, _ in found)]),
        np.concatenate([np.zeros((0, 2)), *(places for _, places in found)]),
    )


def _umap(batches: Iterable[Batch]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    if find_spec("umap") is None:
        raise MissingPackageError("UMAP is not installed: pip install 'fc7[map]'")
    read = list(batches)
    count = sum(len(ids) for ids, _ in read)
    if count < LEAST_FOR_UMAP:
        raise OptionError(
            f"UMAP needs {LEAST_FOR_UMAP} photos or more, and there are {count}", hint="take --method pca"
        )
    ids, vectors = np.concatenate([ids for ids, _ in read]), np.concatenate([vectors for _, vectors in read])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of packages that it could use and that are not asked for
        from umap import UMAP

        # One thread: with several, every run would give another map.
        places = UMAP(metric="cosine", init="pca", random_state=SEED, n_jobs=1).fit_transform(vectors)
    return ids, places.astype(np.float64)


def _stretched(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bring values (n,) to 0 ... 1, half by their size and half by their rank, which gives room where many are.

    Equal values stay equal, and all keep their order.
    """
    if not len(values) or np.ptp(values) == 0:
        return np.full(len(values), 0.5)
    known, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    rank = (ends - counts / 2) / len(values)
    rank = (rank - rank[0]) / (rank[-1] - rank[0])
    size = (known - known[0]) / (known[-1] - known[0])
    stretched: NDArray[np.float64] = ((rank + size) / 2)[place]
    return stretched


def spread_order(places: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return an order (n,) of places (n, 2) between 0 and 1, in which the first ones are spread over the whole plane.

    Of each square of a grid of 2^level by 2^level squares, the first place of the order that lies in it comes before
    all that were put in order by finer grids.
    """
    level = np.full(len(places), LEVELS)
    for number in range(LEVELS):
        column, row = np.minimum(places * 2.0**number, 2**number - 1).astype(np.int64).T
        square = row * 2**number + column
        waiting = np.flatnonzero(level == LEVELS)
        waiting = waiting[~np.isin(square[waiting], square[level < number])]
        _, first = np.unique(square[waiting], return_index=True)
        level[waiting[first]] = number
    return np.argsort(level, kind="stable")
