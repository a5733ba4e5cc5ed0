"""The answers to a search in Milvus: it proposes rows, and they are ranked here as those of a catalogue are.

So scores are the same to the last digit, photos with equal scores are ordered by path, and the probabilities of several
classes are added up, which an expression of Milvus cannot do.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.catalog.queries import CandidatePhotos
from index.catalog.selection import Selection
from index.exact_search import QUERIES_AT_ONCE, ranked
from index.milvus.collection import MOST, MilvusCollection
from index.milvus.filters import CLASSES, HASH, ID, PATH, PHOTOS, STATE_ID, decoded_path, encoded, selected
from index.milvus.rows import EMBEDDING, classes_in, hash_in
from index.object_path import as_path
from index.records import SearchResult
from index.vectors.store import ROUNDING

Row = dict[str, Any]

SPARE = 8
"""Rows that are asked for beyond those that are wanted: the state's, and photos as near as the last one."""
GROWTH = 4
"""If that was not enough, how many times as many are asked for."""


def best_photos(
    collection: MilvusCollection,
    queries: NDArray[np.float32],
    k: int,
    *,
    min_score: float | None,
    among: Selection | None,
) -> list[list[SearchResult]]:
    """Find for each query (m, dim) of unit length the k best photos, best first, ties by path."""
    columns = [PATH, HASH, EMBEDDING, *([CLASSES] if among and among.classes else [])]
    condition = selected(among)
    answers: dict[int, list[SearchResult]] = {}
    limit = min(k + SPARE, MOST)
    while pending := [number for number in range(len(queries)) if number not in answers]:
        found = collection.search(queries[pending], limit, condition=condition, columns=columns)
        for number, hits in zip(pending, found, strict=True):
            rows = [(score, row) for score, row in hits if row[ID] > STATE_ID and _is_probable(row, among)]
            last = hits[-1][0] if hits else 0.0
            if len(hits) < limit or limit == MOST or _enough(rows, k, last, min_score):
                answers[number] = _ranked(queries[number], [row for _, row in rows], k, min_score)
        limit = min(GROWTH * limit, MOST)
    return [answers[number] for number in range(len(queries))]


def most_probable(collection: MilvusCollection, selection: Selection, k: int) -> list[SearchResult]:
    """Find the k photos with the largest probability of the selected classes, which is their score; ties by path."""
    best: list[SearchResult] = []
    for rows in collection.rows(selected(selection), [PATH, HASH, CLASSES]):
        for row in rows:
            probability = _probability(row, selection.classes)
            if probability >= selection.min_probability:
                best.append(SearchResult(_path(row), probability, content_hash=hash_in(row)))
        best = sorted(best, key=lambda result: (-result.score, result.path))[:k]
    return best


def nearest(
    collection: MilvusCollection, ids: NDArray[np.int64], k: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Find scores (n, k) and ids (n, k) of the photos that are nearest to each of those with `ids` (n,).

    Best first, equal ones by id; -inf and -1 where there are fewer, or the photo was removed meanwhile.
    """
    scores, found = np.full((len(ids), k), -np.inf), np.full((len(ids), k), -1, np.int64)
    for start in range(0, len(ids), QUERIES_AT_ONCE):
        rows = {
            int(row[ID]): row for row in collection.rows_with_ids(ids[start : start + QUERIES_AT_ONCE], [EMBEDDING])
        }
        numbers = [
            number for number in range(start, min(start + QUERIES_AT_ONCE, len(ids))) if int(ids[number]) in rows
        ]
        if not numbers:
            continue
        queries = np.array([rows[int(ids[number])][EMBEDDING] for number in numbers], np.float32)
        found_rows = collection.search(queries, min(k + SPARE, MOST), condition=PHOTOS)
        for number, hits in zip(numbers, found_rows, strict=True):
            best = sorted((-round(score, 6), int(row[ID])) for score, row in hits if row[ID] != ids[number])
            for place, (score, id) in enumerate(best[:k]):
                scores[number, place], found[number, place] = -score, id
    return scores, found


def _enough(rows: Sequence[tuple[float, Row]], k: int, last: float, min_score: float | None) -> bool:
    """Tell whether what was not returned, which is no nearer than `last`, cannot be among the best."""
    if min_score is not None and last < min_score - ROUNDING:
        return True
    return len(rows) >= k and last < rows[k - 1][0] - ROUNDING


def _ranked(query: NDArray[np.float32], rows: Sequence[Row], k: int, min_score: float | None) -> list[SearchResult]:
    if not rows:
        return []
    rows = sorted(rows, key=lambda row: int(row[ID]))
    ids = np.array([row[ID] for row in rows], np.int64)
    photos = CandidatePhotos(
        ids,
        [(0, decoded_path(row[PATH])) for row in rows],
        [hash_in(row) for row in rows],
        np.array([row[EMBEDDING] for row in rows], np.float32),
        {0: b""},  # paths are absolute
    )
    return ranked(query, ids, photos, k=k, min_score=min_score)


def _is_probable(row: Row, among: Selection | None) -> bool:
    if not among or not among.classes:
        return True
    return _probability(row, among.classes) >= among.min_probability


def _probability(row: Row, classes: Sequence[str]) -> float:
    """Add up the probabilities of classes, rounded as the catalogue does."""
    stored = classes_in(row)
    return round(sum(stored.get(encoded(name), 0.0) for name in dict.fromkeys(classes)), 6)


def _path(row: Row) -> Path:
    return as_path(decoded_path(row[PATH]))
