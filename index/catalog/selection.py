"""Searching only some photos of an index: those in some folders, those with some labels."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.catalog.catalog import Catalog, at_or_below
from index.catalog.queries import BATCH, WITH_ROOT, absolute_path
from index.catalog.rows import unpack_embeddings
from index.records import SearchResult

# Rounded, so sums that differ only by rounding are equal.
LABELLED = (
    "SELECT photo_id, round(sum(probability), 6) AS total FROM labels WHERE class IN (SELECT value FROM json_each(?))"
)
PROBABLE = "GROUP BY photo_id HAVING total >= ?"


@dataclass(frozen=True, slots=True)
class Selection:
    """Photos below any of the `folders` (absolute), with any of the `classes`, modified in a time; without any, all.

    A class is a WordNet id, or a name where there is none. The stored probabilities of a photo's `classes` must add up
    to `min_probability`. Times are those of the files, in nanoseconds since 1970.
    """

    folders: tuple[Path, ...] = ()
    classes: tuple[str, ...] = ()
    min_probability: float = 0.0
    modified_from: int | None = None
    modified_before: int | None = None

    def __bool__(self) -> bool:
        times = (self.modified_from, self.modified_before)
        return bool(self.folders or self.classes or times != (None, None))


def selected_vectors(
    catalog: Catalog, selection: Selection, *, dim: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Read ids (n,) and embeddings (n, dim) of the photos that are selected, in batches."""
    for rows in catalog.batches(*vectors_query(catalog, selection), size=BATCH):
        ids, stored = zip(*rows, strict=True)
        yield np.array(ids, dtype=np.int64), unpack_embeddings(stored, dim)


def vectors_query(catalog: Catalog, selection: Selection) -> tuple[str, list[Any]]:
    """Make the query for ids and stored embeddings, with its parameters."""
    sql, values = "SELECT id, embedding FROM photos WHERE embedding IS NOT NULL", list[Any]()
    if inside := _inside(catalog, selection):
        sql, values = f"{sql} AND {inside[0]}", inside[1]
    if selection.classes:
        sql += f" AND id IN (SELECT photo_id FROM ({LABELLED} {PROBABLE}))"
        values = [*values, json.dumps(selection.classes), selection.min_probability]
    return sql, values


def most_probable(catalog: Catalog, selection: Selection, k: int) -> list[SearchResult]:
    """Find the k photos with the largest probability of the selected classes, which is their score; ties by path."""
    if k < 1:
        raise ValueError(f"cannot find the best {k}")
    sql, values = LABELLED, list[Any]([json.dumps(selection.classes)])
    if inside := _inside(catalog, selection):
        sql, values = f"{sql} AND photo_id IN (SELECT id FROM photos WHERE {inside[0]})", values + inside[1]
    sql, values = f"{sql} {PROBABLE} ORDER BY 2 DESC", [*values, selection.min_probability]
    best: list[tuple[int, float]] = []
    for rows in catalog.batches(sql, values, size=min(k + 1, BATCH)):
        best += rows
        # Photos with the same score as the k-th, for instance its copies, are read too.
        if best[k - 1 :] and best[-1][1] < best[k - 1][1]:
            break
    files = _files(catalog, [id for id, _ in best])
    results = [
        SearchResult(path, probability, content_hash=content)
        for id, probability in best
        for path, content in (files[id],)
    ]
    return sorted(results, key=lambda result: (-result.score, result.path))[:k]


def _inside(catalog: Catalog, selection: Selection) -> tuple[str, list[Any]] | None:
    """Make the condition for photos below any of the folders and of the time; None where all are."""
    conditions, values = list[str](), list[Any]()
    if selection.folders:
        places = [at_or_below(catalog.roots(), os.fsencode(folder)) for folder in selection.folders]
        conditions.append(f"({' OR '.join(term for term, _ in places)})")
        values += chain.from_iterable(inside for _, inside in places)
    for comparison, time in (("mtime_ns >= ?", selection.modified_from), ("mtime_ns < ?", selection.modified_before)):
        if time is not None:
            conditions.append(comparison)
            values.append(time)
    return (" AND ".join(conditions), values) if conditions else None


def _files(catalog: Catalog, ids: Sequence[int]) -> dict[int, tuple[Path, bytes | None]]:
    """Read for each id the path and the hash of its content."""
    rows = catalog.rows(
        f"SELECT photos.id, roots.path, photos.path, content_hash {WITH_ROOT}"
        " WHERE photos.id IN (SELECT value FROM json_each(?))",
        (json.dumps(ids),),
    )
    return {id: (absolute_path(root, path), content) for id, root, path, content in rows}
