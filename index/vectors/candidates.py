"""The ids that vectors propose for a query, more than are asked for, so that exact scores can choose among them."""

import numpy as np
from numpy.typing import NDArray

from index.vectors.faiss_index import VectorIndex
from index.vectors.kinds import Quality
from index.vectors.store import ROUNDING


def exact_candidates(vectors: VectorIndex, queries: NDArray[np.float32], k: int) -> list[NDArray[np.int64]]:
    """Find for each query (m, dim) the ids of its k best, and of all that rounding cannot tell from the k-th."""
    found: list[NDArray[np.int64]] = [np.empty(0, dtype=np.int64)] * len(queries)
    pending = np.arange(len(queries))
    count = k + 1
    while len(pending):
        scores, ids = vectors.search(queries[pending], count)
        for row, query in enumerate(pending):
            found[query] = ids[row]
        if count >= len(vectors):
            break
        pending = pending[scores[:, k - 1] - scores[:, -1] <= ROUNDING]
        count *= 4
    return found


def approximate_candidates(
    vectors: VectorIndex, queries: NDArray[np.float32], k: int, *, quality: Quality, nprobe: int
) -> list[NDArray[np.int64]]:
    """Find for each query (m, dim) the ids that a search with this nprobe, or efSearch, gives."""
    while True:
        _, ids = vectors.search(queries, k * quality.rerank_factor, nprobe=nprobe)
        found = [row[row >= 0] for row in ids]
        # If there are fewer than k candidates, more lists are searched.
        if nprobe >= vectors.max_nprobe or min(map(len, found), default=k) >= min(k, len(vectors)):
            return found
        nprobe *= 4


def nearest_candidates(vectors: VectorIndex, queries: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Find ids (m, n) that hold the stored photos with these embeddings (m, dim) and their k nearest; -1 is none."""
    factor = 1 if vectors.quality is None else vectors.quality.rerank_factor
    _, ids = vectors.search(queries, k * factor + 1)
    return ids
