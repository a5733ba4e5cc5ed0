"""Photos that people said to be no copies of each other."""

import itertools
import sqlite3
from collections.abc import Callable, Sequence

from index.catalog.catalog import Catalog

Side = tuple[bytes, bytes]
"""Content hash and absolute path of a photo."""
Pair = tuple[bytes, bytes, bytes, bytes]
"""Two contents, the smaller one first, and where they are the same two paths, otherwise b"" twice."""


def pairs_of(photos: Sequence[Side]) -> list[Pair]:
    """Pair each photo with each other: by content, which a photo keeps when it moves; the same content by path."""
    pairs = []
    for (one, one_path), (other, other_path) in itertools.combinations(sorted(photos), 2):
        pairs.append((one, other, one_path, other_path) if one == other else (one, other, b"", b""))
    return pairs


def read_different(catalog: Catalog) -> set[Pair]:
    """Read all pairs that were said to be different."""
    return set(catalog.rows("SELECT one, other, one_path, other_path FROM different"))


def change_different(catalog: Catalog, photos: Sequence[Side], *, different: bool) -> None:
    """Remember that each of these photos is different from each other, or forget it."""
    sql = (
        "INSERT OR IGNORE INTO different VALUES (?, ?, ?, ?)"
        if different
        else "DELETE FROM different WHERE one = ? AND other = ? AND one_path = ? AND other_path = ?"
    )
    with catalog.writing() as connection:
        connection.executemany(sql, pairs_of(photos))


def rename_different(connection: sqlite3.Connection, renamed: Callable[[bytes], bytes]) -> None:
    """Let pairs of the same content have the paths that `renamed` makes of theirs."""
    pairs = connection.execute("SELECT one, one_path, other_path FROM different WHERE one = other").fetchall()
    connection.executemany(
        "UPDATE OR REPLACE different SET one_path = ?1, other_path = ?2"
        " WHERE one = ?3 AND other = ?3 AND one_path = ?4 AND other_path = ?5",
        [(*now, content, *paths) for content, *paths in pairs if (now := sorted(map(renamed, paths))) != paths],
    )


def copy_different(source: Catalog, target: Catalog) -> None:
    """Let the target remember what the source does."""
    with target.writing() as connection:
        connection.executemany("INSERT OR IGNORE INTO different VALUES (?, ?, ?, ?)", read_different(source))
