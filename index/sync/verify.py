"""What is wrong with an index, as far as it can be found without reading photos."""

import os
from collections.abc import Iterator

import numpy as np

from index.catalog.catalog import Catalog
from index.catalog.queries import BATCH, WITH_ROOT, absolute_path
from index.catalog.rows import unpack_labels, unpack_taken
from index.errors import IndexFormatError
from index.records import IndexProblem
from index.vectors.store import VectorStore

# Float16 has 11 significant bits: rounding each number of a unit vector changes its length by less than 2^-11.
LENGTH_TOLERANCE = 1e-3


def find_problems(catalog: Catalog, vectors: VectorStore) -> list[IndexProblem]:
    """Check the database, each embedding, and that the vectors agree with these; in a snapshot of the caller.

    Raises IndexFormatError for a catalogue that cannot be read.
    """
    state = catalog.state()
    problems = [IndexProblem(f"{catalog.path}: {text}") for text in _database_problems(catalog)]
    bad = list(_bad_photos(catalog, state.dim))
    # Embeddings that are damaged cannot be compared with.
    return problems + (bad or [IndexProblem(text) for text in vectors.problems(state)])


def _database_problems(catalog: Catalog) -> Iterator[str]:
    broken = catalog.rows("PRAGMA foreign_key_check")
    yield from (text for (text,) in catalog.rows("PRAGMA integrity_check") if text != "ok")
    yield from (f"row {row} of {table} has no {parent}" for table, row, parent, _ in broken)


def _bad_photos(catalog: Catalog, dim: int) -> Iterator[IndexProblem]:
    sql = f"SELECT roots.path, photos.path, embedding, labels, taken {WITH_ROOT} WHERE embedding IS NOT NULL"
    for rows in catalog.batches(sql, size=BATCH):
        for root, path, stored, labels, taken in rows:
            if (reason := _embedding_problem(stored, dim) or _values_problem(labels, taken)) is not None:
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


def _values_problem(labels: str | None, taken: str | None) -> str | None:
    try:
        unpack_labels(labels)
    except IndexFormatError:
        return "its labels cannot be read"
    try:
        unpack_taken(taken)
    except IndexFormatError:
        return "its date cannot be read"
    return None
