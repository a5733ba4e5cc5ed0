"""What is wrong with a collection, as far as it can be found without the catalogue that it is a copy of."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from index.errors import IndexFormatError
from index.milvus.collection import MilvusCollection, Row
from index.milvus.filters import ID, PATH, PHOTOS, decoded_path
from index.milvus.rows import ALL_COLUMNS, DIGEST, digest_of, unpacked
from index.object_path import as_path
from index.records import IndexProblem

LENGTH_TOLERANCE = 1e-3


def find_problems(collection: MilvusCollection) -> list[IndexProblem]:
    """Check that all photos were copied, once each, and that each row is as it was sent; reads all of them."""
    state = collection.reread()
    problems = [] if state.complete else [IndexProblem("copying it was interrupted, so photos may be missing")]
    if state.complete and (count := collection.count(PHOTOS)) != state.photos:
        problems.append(IndexProblem(f"it has {count:,} photos and not {state.photos:,}, as were copied"))
    before = 0
    for rows in collection.rows("", ALL_COLUMNS):
        for row in rows:
            if int(row[ID]) == before:
                problems.append(IndexProblem(f"there are two rows with the id {before}", _path(row)))
            before = int(row[ID])
            problems += _row_problems(row)
    return problems


def _row_problems(row: Row) -> Iterator[IndexProblem]:
    try:
        embedding = unpacked(row).embedding
        same = digest_of(row, embedding) == int(row[DIGEST])
    except (IndexFormatError, KeyError, TypeError, ValueError) as error:
        yield IndexProblem(f"the row with the id {row[ID]} cannot be read ({error})")
        return
    path = _path(row)
    length = float(np.linalg.norm(embedding.astype(np.float64)))
    if not abs(length - 1) <= LENGTH_TOLERANCE:
        yield IndexProblem(f"{path}: its embedding has length {length:.3f}, not 1", path)
    elif not same:
        yield IndexProblem(f"{path}: its row is not as it was sent", path)


def _path(row: Row) -> Path:
    return as_path(decoded_path(row[PATH]))
