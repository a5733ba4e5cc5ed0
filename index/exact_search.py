"""The exact answers to a search: the vectors propose candidates, the catalogue ranks them.

Scores do not depend on how many queries are asked together, and photos with equal scores are ordered by path.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from index.catalog.catalog import Catalog, CatalogState
from index.catalog.queries import CandidatePhotos, embeddings_with_ids, photos_with_ids, vectors_since
from index.catalog.selection import Selection, selected_vectors
from index.records import SearchResult
from index.vectors.store import ROUNDING, VectorStore

# The candidates of this many queries are in memory at a time.
QUERIES_AT_ONCE = 64


def as_queries(queries: NDArray[np.floating], dim: int) -> NDArray[np.float32]:
    """Return queries (m, dim) at unit length, as stored embeddings are, so that every score is a cosine.

    Raises ValueError for another shape, and for a query that has no direction: zero, or with NaN or infinity in it.
    """
    queries = np.asarray(queries)
    if queries.ndim != 2 or queries.shape[1] != dim:
        one = "; one query is a row: query[None]" if queries.shape == (dim,) else ""
        raise ValueError(f"queries must have the shape (m, {dim}), not {queries.shape}{one}")
    lengths = np.linalg.norm(queries.astype(np.float64), axis=1, keepdims=True)
    bad = np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))
    if len(bad):
        raise ValueError(f"query {bad[0]} has no direction: it is zero, or has NaN or infinity in it")
    unit: NDArray[np.float32] = (queries / lengths).astype(np.float32)
    return unit


def best_photos(
    catalog: Catalog,
    vectors: VectorStore,
    state: CatalogState,
    queries: NDArray[np.float32],
    k: int,
    *,
    min_score: float | None,
    recall: float | None,
    among: Selection | None,
) -> list[list[SearchResult]]:
    """Find for each query (m, dim) the k best photos, in a snapshot of the caller; see `PhotoIndex.search`.

    Raises ValueError for k < 1.
    """
    if k < 1:
        raise ValueError(f"cannot find the best {k}")
    answers: list[list[SearchResult]] = []
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        block = queries[start : start + QUERIES_AT_ONCE]
        if among:
            found = best_of_all(selected_vectors(catalog, among, dim=state.dim), block, k)
        elif (proposed := vectors.candidates(state, block, k, recall=recall)) is not None:
            found = proposed
        else:
            found = best_of_all(vectors_since(catalog, -1, dim=state.dim), block, k)
        photos = photos_with_ids(catalog, np.unique(np.concatenate(found)), dim=state.dim)
        answers += [
            ranked(query, ids, photos, k=k, min_score=min_score) for query, ids in zip(block, found, strict=True)
        ]
    return answers


def best_of_all(
    batches: Iterable[tuple[NDArray[np.int64], NDArray[np.float32]]], queries: NDArray[np.float32], k: int
) -> list[NDArray[np.int64]]:
    """Find the ids that `VectorStore.candidates` would, exactly, in batches of ids (n,) and embeddings (n, dim)."""
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
    # A matrix product may sum equal rows in different order. Digits after the sixth are noise of float32: with them a
    # photo would score less than 1 with itself.
    return np.round(np.sum(embeddings * query, axis=1, dtype=np.float64), 6)


def ranked(
    query: NDArray[np.float32], ids: NDArray[np.int64], photos: CandidatePhotos, *, k: int, min_score: float | None
) -> list[SearchResult]:
    """Rank the photos with these ids (n,) for a query (dim,): the k best, best first, ties by path."""
    rows = np.searchsorted(photos.ids, ids)
    # A damaged file of vectors can name ids that are of no photo.
    rows = rows[np.append(photos.ids, -1)[rows] == ids]
    scores = exact_scores(query, photos.embeddings[rows])
    # Making paths takes longest, so they are made only for photos that can be among the best.
    least = np.partition(scores, -k)[-k] if len(scores) > k else -np.inf
    if min_score is not None:
        least = max(least, min_score)
    results = [
        SearchResult(photos.path(row), float(scores[place]), content_hash=photos.hashes[row])
        for place in np.flatnonzero(scores >= least)
        for row in (rows[place],)
    ]
    results.sort(key=lambda result: (-result.score, result.path))
    return results[:k]


def neighbours(
    catalog: Catalog, vectors: VectorStore, state: CatalogState, ids: NDArray[np.int64], k: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Find exact scores (n, k) and ids (n, k) nearest to the photos with `ids` (n,), without the photo itself.

    Best first, equal ones by id. Where there are fewer, or a photo does not exist, ids are -1 and scores -inf.
    """
    scores = np.full((len(ids), k), -np.inf)
    nearest = np.full((len(ids), k), -1, dtype=np.int64)
    known, embeddings = embeddings_with_ids(catalog, np.unique(ids), dim=state.dim)
    rows = np.flatnonzero(np.isin(ids, known))
    queries = embeddings[np.searchsorted(known, ids[rows])]
    found = vectors.nearest(state, queries, k)
    others, candidates = embeddings_with_ids(catalog, np.unique(found), dim=state.dim)
    for row, query, near in zip(rows, queries, found, strict=True):
        near = np.sort(near[(near != ids[row]) & np.isin(near, others)])
        exact = exact_scores(query, candidates[np.searchsorted(others, near)])
        best = np.argsort(-exact, kind="stable")[:k]
        scores[row, : len(best)], nearest[row, : len(best)] = exact[best], near[best]
    return scores, nearest
