"""The centres of inverted lists: learned from vectors, and the nearest of them found without looking at all."""

from concurrent.futures import ThreadPoolExecutor
from math import log2
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.vectors.faiss_library import import_faiss

# Iterations of k-means. Ten find 0.3 % more of the real neighbours in as many lists, and take twice as long.
ROUNDS = 5
# Up to this many centres are compared with a vector faster than groups of them are chosen.
FEW = 1024
# Groups that are searched for the nearest centre. With this many it is found for 99 of 100 vectors.
GROUPS = 12
# Vectors that a thread takes at once: enough for fast products of matrices, and little memory.
AT_ONCE = 8192


class Centres:
    """Centres (k, dim) of unit length. More than FEW are in about √k groups, of which the likely ones are searched.

    That takes about √k of the k comparisons for a vector. They are products of matrices, unlike in a graph or in lists.
    """

    def __init__(self, centres: NDArray[np.float32]) -> None:
        self._groups = [np.arange(len(centres))]
        self._rough = None
        if len(centres) > FEW:
            middles = learn_centres(centres, 2 ** round(log2(len(centres)) / 2))
            group = Centres(middles).nearest(centres)
            self._rough = _flat(middles)
            self._groups = [np.flatnonzero(group == number) for number in range(len(middles))]
        self._members = [_flat(centres[group]) for group in self._groups]

    def nearest(self, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        """Find for each of the vectors (n, dim) the number (n,) of the centre nearest to it, or nearly so."""
        if self._rough is None:
            _, numbers = self._members[0].search(np.ascontiguousarray(vectors), 1)
            found: NDArray[np.int64] = numbers[:, 0]
            return found
        faiss = import_faiss()
        workers = faiss.omp_get_max_threads()
        size = max(1, min(AT_ONCE, -(-len(vectors) // workers)))
        parts = [vectors[start : start + size] for start in range(0, len(vectors), size)]
        # The threads of FAISS would wait for each other after each of the many small products.
        with ThreadPoolExecutor(workers, initializer=faiss.omp_set_num_threads, initargs=(1,)) as threads:
            return np.concatenate([np.empty(0, dtype=np.int64), *threads.map(self._nearest, parts)])

    def _nearest(self, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        assert self._rough is not None
        looked_at = min(GROUPS, len(self._groups))
        _, likely = self._rough.search(np.ascontiguousarray(vectors), looked_at)
        # Sorted by group, so that a group is compared once with all vectors that it is likely for. Of 16 bits because
        # NumPy then uses a radix sort.
        pairs = np.argsort(likely.astype(np.uint16).ravel(), kind="stable")
        ends = np.cumsum(np.bincount(likely.ravel(), minlength=len(self._groups)))
        best = np.full(len(vectors), -np.inf, dtype=np.float32)
        nearest = np.zeros(len(vectors), dtype=np.int64)
        for group, members, part in zip(
            self._groups, self._members, np.split(pairs // looked_at, ends[:-1]), strict=True
        ):
            if len(group) == 0 or len(part) == 0:
                continue
            scores, places = members.search(vectors[part], 1)
            better = scores[:, 0] > best[part]
            best[part[better]] = scores[better, 0]
            nearest[part[better]] = group[places[better, 0]]
        return nearest


def learn_centres(vectors: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Learn `count` centres (count, dim) of unit length from at least as many vectors (n, dim): spherical k-means.

    After Dhillon and Modha (2001). It starts from randomly chosen vectors.
    """
    random = np.random.default_rng(0)
    centres = vectors[random.choice(len(vectors), count, replace=False)]
    for _ in range(ROUNDS):
        nearest = Centres(centres).nearest(vectors)
        order = np.argsort(nearest, kind="stable")
        parts = np.split(order, np.cumsum(np.bincount(nearest, minlength=count))[:-1])
        # A centre that is nearest to no vector restarts at a random one.
        parts = [part if len(part) else random.integers(len(vectors), size=1) for part in parts]
        centres = np.stack([vectors[part].sum(axis=0) for part in parts])
        # Opposite vectors may add up to zero.
        centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return centres


def _flat(centres: NDArray[np.float32]) -> Any:
    index = import_faiss().IndexFlatIP(centres.shape[1])
    index.add(np.ascontiguousarray(centres))
    return index
