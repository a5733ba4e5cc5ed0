"""The k best of each query, exactly: scores do not depend on the batch, and equal ones are ordered by path."""

import numpy as np
from numpy.typing import NDArray

from index.records import EmbeddedPhotos, SearchResult
from index.vectors import VectorIndex

# Two sums of float32 products in different order, as FAISS may take them, differ by less than this for unit vectors.
ROUNDING = 1e-5


def candidates(vectors: VectorIndex, queries: NDArray[np.float32], k: int) -> list[NDArray[np.int64]]:
    """Find for each query (m, dim) the ids of its k best, and of all that rounding cannot tell from the k-th.

    Copies of one photo have equal scores, so without the latter chance would decide which of them are found.
    Raises ValueError for k < 1.
    """
    if k < 1:
        raise ValueError(f"cannot find the best {k}")
    found: list[NDArray[np.int64]] = [np.empty(0, dtype=np.int64)] * len(queries)
    pending = np.arange(len(queries))
    depth = k + 1
    while len(pending):
        scores, ids = vectors.search(queries[pending], depth)
        for row, query in enumerate(pending):
            found[query] = ids[row]
        if depth >= len(vectors):
            break
        pending = pending[scores[:, k - 1] - scores[:, -1] <= ROUNDING]
        depth *= 4
    return found


def exact_scores(query: NDArray[np.float32], embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
    """Compute the inner products (n,) of a query (dim,) with embeddings (n, dim), each row by itself."""
    # A matrix product may sum equal rows in different order.
    scores: NDArray[np.float64] = np.sum(embeddings * query, axis=1, dtype=np.float64)
    return scores


def best_results(
    query: NDArray[np.float32], ids: NDArray[np.int64], photos: EmbeddedPhotos, *, k: int, min_score: float | None
) -> list[SearchResult]:
    """Rank the photos with these ids (n,) for a query (dim,): the k best, best first, ties by path."""
    rows = np.flatnonzero(np.isin(photos.ids, ids))
    scores = exact_scores(query, photos.embeddings[rows])
    results = [SearchResult(photos.paths[row], float(score)) for row, score in zip(rows, scores, strict=True)]
    results.sort(key=lambda result: (-result.score, result.path))
    return [result for result in results[:k] if min_score is None or result.score >= min_score]
