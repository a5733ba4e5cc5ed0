"""The answers to a search: candidates of the vectors, ranked by what the catalogue has."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from index.catalog.catalog import Catalog, CatalogState
from index.catalog.queries import candidates_with_ids, vectors_since
from index.catalog.selection import Selection, selected_vectors
from index.ranking import best_results, candidates, candidates_among
from index.records import SearchResult
from index.vectors.cache import VectorCache

# The photos of this many queries' answers are in memory at a time.
QUERIES_AT_ONCE = 64

Warn = Callable[[str], None]


def search(
    catalog: Catalog,
    cache: VectorCache,
    state: CatalogState,
    queries: NDArray[np.float32],
    k: int,
    *,
    min_score: float | None,
    recall: float | None,
    among: Selection | None,
    warn: Warn,
) -> list[list[SearchResult]]:
    """Find for each query (m, dim) the k best photos, in a snapshot of the caller; see `PhotoIndex.search`."""
    answers: list[list[SearchResult]] = []
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        block = queries[start : start + QUERIES_AT_ONCE]
        if among:
            found = candidates_among(selected_vectors(catalog, among, dim=state.dim), block, k)
        else:
            found = _found(catalog, cache, state, block, k, recall=recall, warn=warn)
        photos = candidates_with_ids(catalog, np.unique(np.concatenate(found)), dim=state.dim)
        answers += [
            best_results(query, ids, photos, k=k, min_score=min_score) for query, ids in zip(block, found, strict=True)
        ]
    return answers


def _found(
    catalog: Catalog,
    cache: VectorCache,
    state: CatalogState,
    queries: NDArray[np.float32],
    k: int,
    *,
    recall: float | None,
    warn: Warn,
) -> list[NDArray[np.int64]]:
    vectors = cache.at_hand(state)
    if vectors is None:
        warn(f"{cache.path} is missing, damaged or far behind: all photos are compared, one by one; run `fc7 index`.")
    elif vectors.quality is None or recall is None:
        return candidates(vectors, queries, k)
    elif recall < 1:
        if (reached := vectors.quality.effort_for(recall)) is not None:
            return candidates(vectors, queries, k, effort=reached[0])
        best = vectors.quality.best[1]
        warn(f"{vectors.kind} reaches a recall of {best:.3f}, not {recall:g}: all photos are compared, one by one.")
    return candidates_among(vectors_since(catalog, -1, dim=state.dim), queries, k)
