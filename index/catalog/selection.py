"""Searching only some photos of an index: those in some folders, those with some labels."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.catalog.catalog import Catalog, at_or_below
from index.catalog.queries import BATCH, WITH_ROOT, absolute_path
from index.catalog.rows import pack_taken, unpack_embeddings
from index.records import SearchResult

# Rounded, so sums that differ only by rounding are equal.
LABELLED = (
    "SELECT photo_id, round(sum(probability), 6) AS total FROM labels WHERE class IN (SELECT value FROM json_each(?))"
)
PROBABLE = "GROUP BY photo_id HAVING total >= ?"


@dataclass(frozen=True, slots=True)
class Selection:
    """Photos below any of the `folders` (absolute) and with any of the `classes`; none of either means all photos.

    A class is a WordNet id, or a name where there is none. The stored probabilities of a photo's `classes` must add up
    to `min_probability`. With `since` and `before` only photos that are known to be taken then, by the clock of their
    camera: from the one moment on, and before the other.
    """

    folders: tuple[Path, ...] = ()
    classes: tuple[str, ...] = ()
    min_probability: float = 0.0
    since: datetime | None = None
    before: datetime | None = None

    def __bool__(self) -> bool:
        return bool(self.folders or self.classes or self.since or self.before)


def selected_vectors(
    catalog: Catalog, selection: Selection, *, dim: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Read ids (n,) and embeddings (n, dim) of the photos that are selected, in batches."""
    for rows in catalog.batches(*vectors_query(catalog, selection), size=BATCH):
        ids, stored = zip(*rows, strict=True)
        yield np.array(ids, dtype=np.int64), unpack_embeddings(stored, dim)


def vectors_query(catalog: Catalog, selection: Selection) -> tuple[str, list[Any]]:
    """Make the query for ids and stored embeddings, with its parameters."""
    where, values = conditions(catalog, selection)
    sql = f"SELECT id, embedding FROM photos WHERE embedding IS NOT NULL{where}"
    if selection.classes:
        sql += f" AND id IN (SELECT photo_id FROM ({LABELLED} {PROBABLE}))"
        values = [*values, json.dumps(selection.classes), selection.min_probability]
    return sql, values


def most_probable(catalog: Catalog, selection: Selection, k: int) -> list[SearchResult]:
    """Find the k photos with the largest probability of the selected classes, which is their score; ties by path."""
    if k < 1:
        raise ValueError(f"cannot find the best {k}")
    sql, values = LABELLED, list[Any]([json.dumps(selection.classes)])
    where, wanted = conditions(catalog, selection)
    if where:
        sql = f"{sql} AND photo_id IN (SELECT id FROM photos WHERE embedding IS NOT NULL{where})"
        values += wanted
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


def conditions(catalog: Catalog, selection: Selection) -> tuple[str, list[Any]]:
    """Make the conditions, each after an AND, for photos below the folders and of the time of a selection."""
    sql, values = "", list[Any]()
    if selection.folders:
        places = (at_or_below(catalog.roots(), os.fsencode(folder)) for folder in selection.folders)
        terms, inside = zip(*places, strict=True)
        sql, values = f" AND ({' OR '.join(terms)})", [*chain.from_iterable(inside)]
    if selection.since or selection.before:
        # What says nothing of its time is the empty text, which comes before all others.
        sql += " AND taken >= ?"
        values.append(pack_taken(selection.since) or "0")
    if selection.before:
        sql += " AND taken < ?"
        values.append(pack_taken(selection.before))
    return sql, values


def _files(catalog: Catalog, ids: Sequence[int]) -> dict[int, tuple[Path, bytes | None]]:
    """Read for each id the path and the hash of its content."""
    rows = catalog.rows(
        f"SELECT photos.id, roots.path, photos.path, content_hash {WITH_ROOT}"
        " WHERE photos.id IN (SELECT value FROM json_each(?))",
        (json.dumps(ids),),
    )
    return {id: (absolute_path(root, path), content) for id, root, path, content in rows}
