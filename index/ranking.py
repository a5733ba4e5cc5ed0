"""The k best of each query, exactly: scores do not depend on the batch, and equal ones are ordered by path."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from index.catalog.catalog import Catalog
from index.catalog.queries import Candidates, embeddings_with_ids
from index.records import SearchResult
from index.vectors.faiss_index import VectorIndex

# Two sums of float32 products in different order, as FAISS may take them, differ by less than this for unit vectors.
ROUNDING = 1e-5


def candidates(
    vectors: VectorIndex, queries: NDArray[np.float32], k: int, *, effort: int | None = None
) -> list[NDArray[np.int64]]:
    """Find for each query (m, dim) the ids of its k best, and of all that rounding cannot tell from the k-th.

    Copies of one photo have equal scores, so without the latter chance would decide which of them are found. Of an
    approximate index these are its candidates, found with `effort`.
    Raises ValueError for k < 1.
    """
    if k < 1:
        raise ValueError(f"cannot find the best {k}")
    if vectors.quality is not None:
        return _approximate_candidates(vectors, queries, k, depth=k * vectors.quality.depth, effort=effort)
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


def _approximate_candidates(
    vectors: VectorIndex, queries: NDArray[np.float32], k: int, *, depth: int, effort: int | None
) -> list[NDArray[np.int64]]:
    effort = effort or vectors.usual_effort
    while True:
        _, ids = vectors.search(queries, depth, effort=effort)
        found = [row[row >= 0] for row in ids]
        # Who asks for many gets as many, from lists further away.
        if effort >= vectors.most_effort or min(map(len, found), default=k) >= min(k, len(vectors)):
            return found
        effort *= 4


def candidates_among(
    batches: Iterable[tuple[NDArray[np.int64], NDArray[np.float32]]], queries: NDArray[np.float32], k: int
) -> list[NDArray[np.int64]]:
    """As `candidates`, among vectors that come as ids (n,) and embeddings (n, dim), whatever kind of index there is."""
    if k < 1:
        raise ValueError(f"cannot find the best {k}")
    found = [np.empty(0, dtype=np.int64)] * len(queries)
    best = [np.empty(0, dtype=np.float32)] * len(queries)
    for ids, embeddings in batches:
        for query, scores in enumerate(queries @ embeddings.T):
            all_ids, all_scores = np.append(found[query], ids), np.append(best[query], scores)
            if len(all_scores) > k:
                near = all_scores >= np.partition(all_scores, -k)[-k] - ROUNDING
                all_ids, all_scores = all_ids[near], all_scores[near]
            found[query], best[query] = all_ids, all_scores
    return found


def exact_scores(query: NDArray[np.float32], embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
    """Compute the inner products (n,) of a query (dim,) with embeddings (n, dim), each row by itself, to six digits."""
    # A matrix product may sum equal rows in different order. What float32 adds to six digits is noise, by which a photo
    # would score less than 1 with itself.
    return np.round(np.sum(embeddings * query, axis=1, dtype=np.float64), 6)


def best_results(
    query: NDArray[np.float32], ids: NDArray[np.int64], photos: Candidates, *, k: int, min_score: float | None
) -> list[SearchResult]:
    """Rank the photos with these ids (n,) for a query (dim,): the k best, best first, ties by path."""
    rows = np.searchsorted(photos.ids, ids)
    # Those of no photo, which a damaged file can name, are left out.
    rows = rows[np.append(photos.ids, -1)[rows] == ids]
    scores = exact_scores(query, photos.embeddings[rows])
    # Names are made of those alone that can be among the best.
    least = np.partition(scores, -k)[-k] if len(scores) > k else -np.inf
    if min_score is not None:
        least = max(least, min_score)
    results = [
        SearchResult(photos.path(rows[place]), float(scores[place])) for place in np.flatnonzero(scores >= least)
    ]
    results.sort(key=lambda result: (-result.score, result.path))
    return results[:k]


def neighbours(
    vectors: VectorIndex, catalog: Catalog, ids: NDArray[np.int64], k: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Find exact scores (n, k) and ids (n, k) nearest to the photos with `ids` (n,), each of these itself left out.

    Best first, equal ones by id. Where there are fewer, or a photo is not there, ids are -1 and scores -inf.
    """
    scores = np.full((len(ids), k), -np.inf)
    nearest = np.full((len(ids), k), -1, dtype=np.int64)
    known, embeddings = embeddings_with_ids(catalog, np.unique(ids), dim=vectors.dim)
    rows = np.flatnonzero(np.isin(ids, known))
    queries = embeddings[np.searchsorted(known, ids[rows])]
    depth = 1 if vectors.quality is None else vectors.quality.depth
    _, found = vectors.search(queries, k * depth + 1)
    others, candidates = embeddings_with_ids(catalog, np.unique(found), dim=vectors.dim)
    for row, query, near in zip(rows, queries, found, strict=True):
        near = np.sort(near[(near != ids[row]) & np.isin(near, others)])
        exact = exact_scores(query, candidates[np.searchsorted(others, near)])
        best = np.argsort(-exact, kind="stable")[:k]
        scores[row, : len(best)], nearest[row, : len(best)] = exact[best], near[best]
    return scores, nearest
