"""What is wrong with an index, as far as that can be told without its photos."""

import os
from collections.abc import Iterator

import numpy as np

from index.catalog.catalog import Catalog, CatalogState
from index.catalog.queries import BATCH, WITH_ROOT, absolute_path, count_photos, vectors_since
from index.catalog.rows import unpack_labels
from index.errors import IndexFormatError
from index.records import IndexProblem
from index.vectors.cache import VectorCache
from index.vectors.faiss_index import VectorIndex
from index.vectors.file import VectorFileError

# Float16 has 11 significant bits: rounding each number of a unit vector changes its length by less than 2^-11.
LENGTH_TOLERANCE = 1e-3
VECTOR_TOLERANCE = 1e-6


def find_problems(catalog: Catalog, vectors: VectorCache) -> list[IndexProblem]:
    """Check the database, each embedding, and that the file of the vectors agrees; in a snapshot of the caller.

    Raises IndexFormatError for a catalogue that cannot even be read.
    """
    state = catalog.state()
    problems = [IndexProblem(f"{catalog.path}: {text}") for text in _database_problems(catalog)]
    bad = list(_bad_photos(catalog, state.dim))
    # Vectors that no one can have cannot be compared with.
    return problems + (bad or [IndexProblem(f"{vectors.path}: {text}") for text in _vector_problems(vectors, state)])


def _database_problems(catalog: Catalog) -> Iterator[str]:
    broken = catalog.rows("PRAGMA foreign_key_check")
    yield from (text for (text,) in catalog.rows("PRAGMA integrity_check") if text != "ok")
    yield from (f"row {row} of {table} has no {parent}" for table, row, parent, _ in broken)


def _bad_photos(catalog: Catalog, dim: int) -> Iterator[IndexProblem]:
    sql = f"SELECT roots.path, photos.path, embedding, labels {WITH_ROOT} WHERE embedding IS NOT NULL"
    for rows in catalog.batches(sql, size=BATCH):
        for root, path, stored, labels in rows:
            if (reason := _embedding_problem(stored, dim) or _labels_problem(labels)) is not None:
                place = absolute_path(root, path)
                yield IndexProblem(f"{os.fspath(place)}: {reason}", place)


def _embedding_problem(stored: object, dim: int) -> str | None:
    if not isinstance(stored, bytes) or len(stored) != 2 * dim:
        return f"its embedding does not have {dim} values"
    embedding = np.frombuffer(stored, dtype="<f2").astype(np.float64)
    if not np.isfinite(embedding).all():
        return "its embedding is not finite"
    length = float(np.linalg.norm(embedding))
    return None if abs(length - 1) <= LENGTH_TOLERANCE else f"its embedding has length {length:.3f}, not 1"


def _labels_problem(stored: str | None) -> str | None:
    try:
        unpack_labels(stored)
    except IndexFormatError:
        return "its labels cannot be read"
    return None


def _vector_problems(cache: VectorCache, state: CatalogState) -> Iterator[str]:
    photos, _ = count_photos(cache.catalog)
    if photos == 0 and not cache.path.exists():
        return
    try:
        vectors = cache.caught_up(state)
    except VectorFileError as error:
        yield f"cannot be used ({error})"
        return
    lacking, different, known = _compare(vectors, cache.catalog, state)
    if lacking:
        yield f"lacks the vectors of {lacking:,} photos"
    if surplus := len(vectors) - known:
        yield f"holds {surplus:,} vectors of no photo in the catalogue"
    if different:
        yield f"holds other vectors than the catalogue for {different:,} photos"


def _compare(vectors: VectorIndex, catalog: Catalog, state: CatalogState) -> tuple[int, int, int]:
    """Count the catalogue's embeddings that are not there, those that are other ones, and those that are there.

    Those that an approximate index has are not kept as they are: of these the checksum of the file speaks.
    """
    held_ids, order = vectors.ids, np.argsort(vectors.ids)
    exact_ids, exact = vectors.contents()
    exact_order = np.argsort(exact_ids)
    lacking = different = known = 0
    for ids, embeddings in vectors_since(catalog, -1, dim=state.dim):
        places = np.searchsorted(held_ids, ids, sorter=order)
        rows = order[np.minimum(places, len(order) - 1)] if len(order) else places
        there = held_ids[rows] == ids if len(order) else np.zeros(len(ids), dtype=bool)
        lacking += int((~there).sum())
        known += int(there.sum())
        kept = np.isin(ids, exact_ids)
        held = exact[exact_order[np.searchsorted(exact_ids, ids[kept], sorter=exact_order)]]
        apart = np.abs(held - embeddings[kept]).max(axis=1, initial=0)
        different += int((~(apart <= VECTOR_TOLERANCE)).sum())
    return lacking, different, known
