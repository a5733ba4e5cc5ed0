"""What tests of shards compare: the catalogues of two indexes."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np


def contents(index: Path) -> list[tuple[Any, ...]]:
    """Read all that the catalogue knows but for ids and generations, with the embeddings apart."""
    with closing(sqlite3.connect(index / "catalog.db")) as connection:
        return connection.execute(
            "SELECT roots.path, photos.path, size, mtime_ns, content_hash, width, height, labels, skipped, embedding,"
            " taken, (SELECT jpeg FROM thumbnails WHERE thumbnails.content_hash = photos.content_hash)"
            " FROM photos JOIN roots ON roots.id = root_id ORDER BY roots.path, photos.path"
        ).fetchall()


def assert_same(one: Path, other: Path, *, tolerance: float = 1e-5) -> None:
    """Check that two indexes have the same rows, and embeddings that differ by less than the tolerance."""
    rows, others = contents(one), contents(other)
    assert [row[:9] + row[10:] for row in rows] == [row[:9] + row[10:] for row in others]
    for row, same in zip(rows, others, strict=True):
        if row[9] is not None:
            one_vector, other_vector = (np.frombuffer(blob, "<f2").astype(np.float32) for blob in (row[9], same[9]))
            np.testing.assert_allclose(one_vector, other_vector, rtol=0, atol=tolerance)
