"""What a sync changes in the catalogue, and what it has to know for that."""

import os
import sqlite3
from collections.abc import Callable, Sequence

from index.catalog.catalog import Catalog, at_or_below, inside_root
from index.catalog.different import rename_different
from index.catalog.own_labels import rename_examples, score_photos
from index.catalog.rows import PhotoRow
from index.catalog.thumbnails import PUT_THUMBNAIL
from index.files import path_below
from index.records import FileStamp
from index.sync.plan import KnownFile

PUT_PHOTO = """
    INSERT INTO photos
        (root_id, path, size, mtime_ns, content_hash, width, height, embedding, labels, skipped, taken, generation)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (root_id, path) DO UPDATE SET
        size = excluded.size, mtime_ns = excluded.mtime_ns, content_hash = excluded.content_hash,
        width = excluded.width, height = excluded.height, embedding = excluded.embedding,
        labels = excluded.labels, skipped = excluded.skipped, taken = excluded.taken, generation = excluded.generation
"""
# Lists what has to be removed from the vectors; completed by the condition that finds the photos.
LOG_REMOVED = "INSERT OR REPLACE INTO removed SELECT id, ? FROM photos WHERE embedding IS NOT NULL AND "


def claim_root(catalog: Catalog, folder: bytes) -> tuple[int, bytes]:
    """Return the id of the root that `folder` (absolute) is or lies in, and its place there.

    Where there is none, `folder` becomes a root, and roots inside it become part of it. So every file has one row, even
    if indexed folders overlap.
    """
    roots = catalog.roots()
    for root_id, root in roots:
        if (inside := path_below(folder, root)) is not None:
            return root_id, inside and inside + b"/"
    with catalog.writing() as connection:
        root_id = connection.execute("INSERT INTO roots (path) VALUES (?)", (folder,)).lastrowid or 0
        for inner_id, inner in roots:
            if (inside := path_below(inner, folder)) is not None:
                connection.execute(
                    "UPDATE photos SET root_id = ?, path = CAST(? || path AS BLOB) WHERE root_id = ?",
                    (root_id, inside + b"/", inner_id),
                )
                connection.execute("DELETE FROM roots WHERE id = ?", (inner_id,))
    return root_id, b""


def known_files(catalog: Catalog, root_id: int, below: bytes) -> dict[bytes, KnownFile]:
    """Read what is known of the files of a root whose path begins with `below`, by their path from there on."""
    condition, values = inside_root(root_id, below.rstrip(b"/"))
    rows = catalog.rows(
        f"SELECT substr(path, ?), id, size, mtime_ns, content_hash, skipped IS NOT NULL FROM photos WHERE {condition}",
        (len(below) + 1, *values),
    )
    return {
        path: KnownFile(id, FileStamp(size, mtime_ns), content_hash, bool(skipped))
        for path, id, size, mtime_ns, content_hash, skipped in rows
    }


def row_with_content(catalog: Catalog, content_hash: bytes) -> PhotoRow | None:
    """Find a photo with an embedding whose file had this content."""
    rows = catalog.rows(
        "SELECT path, size, mtime_ns, content_hash, width, height, embedding, labels, skipped, taken FROM photos"
        " WHERE content_hash = ? AND embedding IS NOT NULL LIMIT 1",
        (content_hash,),
    )
    return next((PhotoRow(path, FileStamp(size, mtime_ns), *rest) for path, size, mtime_ns, *rest in rows), None)


def change_photos(
    catalog: Catalog,
    root_id: int,
    *,
    put: Sequence[PhotoRow] = (),
    moved: Sequence[tuple[int, bytes, FileStamp]] = (),
    removed: Sequence[int] = (),
    thumbnails: Sequence[tuple[bytes, bytes]] = (),
) -> None:
    """Change photos of a root in one transaction.

    A row of `put` replaces the one with the same path, and keeps its id. `moved` are ids, perhaps of another root,
    with their new path and stamp. `thumbnails` have the content hash of their photos.
    """
    with catalog.writing() as connection:
        [(generation,)] = connection.execute("SELECT value + 1 FROM meta WHERE key = 'generation'")
        if moved:
            _rename_photos(catalog, connection, root_id, moved)
        connection.executemany(
            "UPDATE photos SET root_id = ?, path = ?, size = ?, mtime_ns = ? WHERE id = ?",
            [(root_id, path, stamp.size, stamp.mtime_ns, id) for id, path, stamp in moved],
        )
        before = connection.total_changes
        connection.executemany(LOG_REMOVED + "id = ?", [(generation, id) for id in removed])
        connection.executemany(
            LOG_REMOVED + "root_id = ? AND path = ?",
            [(generation, root_id, row.path) for row in put if row.embedding is None],
        )
        vectors_changed = connection.total_changes > before or any(row.embedding is not None for row in put)
        connection.executemany("DELETE FROM photos WHERE id = ?", [(id,) for id in removed])
        connection.executemany(PUT_PHOTO, [(root_id, *row.columns(), generation) for row in put])
        score_photos(connection, root_id, [row.path for row in put])
        connection.executemany(PUT_THUMBNAIL, thumbnails)
        if vectors_changed:
            connection.execute("UPDATE meta SET value = ? WHERE key = 'generation'", (generation,))


def _rename_photos(
    catalog: Catalog, connection: sqlite3.Connection, root_id: int, moved: Sequence[tuple[int, bytes, FileStamp]]
) -> None:
    """Let what people said of photos follow them, as `_follow`; `moved` as in `change_photos`, before it is done."""
    roots = dict(catalog.roots())
    renamed = {}
    for id, path, _ in moved:
        for old_root, old_path in connection.execute("SELECT root_id, path FROM photos WHERE id = ?", (id,)):
            renamed[os.path.join(roots[old_root], old_path)] = os.path.join(roots[root_id], path)
    _follow(connection, lambda path: renamed.get(path, path))


def _follow(connection: sqlite3.Connection, renamed: Callable[[bytes], bytes]) -> None:
    """Let what is kept by the absolute path of a photo stay with those that are renamed.

    No photo moves to the old path of another one: of a sync that path is not on the disk, of a folder it is outside.
    """
    rename_different(connection, renamed)
    rename_examples(connection, renamed)


def remove_below(catalog: Catalog, path: bytes) -> int:
    """Remove the photos at or below an absolute path, and the roots there. Return the number of photos."""
    with catalog.writing() as connection:
        [(generation,)] = connection.execute("SELECT value + 1 FROM meta WHERE key = 'generation'")
        roots = catalog.roots()
        condition, values = at_or_below(roots, path)
        if connection.execute(LOG_REMOVED + condition, (generation, *values)).rowcount:
            connection.execute("UPDATE meta SET value = ? WHERE key = 'generation'", (generation,))
        forgotten = connection.execute(f"DELETE FROM photos WHERE {condition}", values).rowcount
        inner = [(root_id,) for root_id, root in roots if path_below(root, path) is not None]
        connection.executemany("DELETE FROM roots WHERE id = ?", inner)
    return forgotten


def rename_folder(catalog: Catalog, old: bytes, new: bytes) -> tuple[int, int]:
    """Let the photos below one absolute path be those below another, neither inside the other; roots move with them.

    Where there is a photo in the new place already, that one stays and the old one is removed. Return how many moved,
    and how many were there already.
    """
    new_id, inside_new = claim_root(catalog, new)
    moved = dropped = 0
    with catalog.writing() as connection:
        [(generation,)] = connection.execute("SELECT value + 1 FROM meta WHERE key = 'generation'")
        vectors_changed = 0
        for root_id, root in catalog.roots():
            below = path_below(root, old)
            inside = b"" if below is not None else path_below(old, root)
            if inside is None:
                continue
            condition, values = inside_root(root_id, inside)
            lead = inside_new + (below + b"/" if below else b"")
            renamed = "CAST(? || substr(photos.path, ?) AS BLOB)"
            new_path = (lead, len(inside) + (2 if inside else 1))
            taken = (
                f"{condition} AND EXISTS (SELECT 1 FROM photos AS other WHERE other.root_id = ? "
                f"AND other.path = {renamed})"
            )
            vectors_changed += connection.execute(
                LOG_REMOVED + taken, (generation, *values, new_id, *new_path)
            ).rowcount
            dropped += connection.execute(f"DELETE FROM photos WHERE {taken}", (*values, new_id, *new_path)).rowcount
            moved += connection.execute(
                f"UPDATE photos SET root_id = ?, path = {renamed} WHERE {condition}", (new_id, *new_path, *values)
            ).rowcount
            if below is not None:
                connection.execute("DELETE FROM roots WHERE id = ?", (root_id,))
        _follow(connection, lambda path: path if (at := path_below(path, old)) is None else os.path.join(new, at))
        if vectors_changed:
            connection.execute("UPDATE meta SET value = ? WHERE key = 'generation'", (generation,))
    return moved, dropped


def remove_photos(catalog: Catalog, ids: Sequence[int]) -> None:
    """Remove photos by id, of any roots, in one transaction."""
    with catalog.writing() as connection:
        [(generation,)] = connection.execute("SELECT value + 1 FROM meta WHERE key = 'generation'")
        before = connection.total_changes
        connection.executemany(LOG_REMOVED + "id = ?", [(generation, id) for id in ids])
        if connection.total_changes > before:
            connection.execute("UPDATE meta SET value = ? WHERE key = 'generation'", (generation,))
        connection.executemany("DELETE FROM photos WHERE id = ?", [(id,) for id in ids])


def set_taken(catalog: Catalog, moments: Sequence[tuple[int, str]]) -> None:
    """Store when photos were taken, by id, as `pack_taken` encodes it, in one transaction."""
    with catalog.writing() as connection:
        connection.executemany("UPDATE photos SET taken = ? WHERE id = ?", [(text, id) for id, text in moments])


def prune_removed(catalog: Catalog, generation: int) -> None:
    """Drop the list of what was removed up to a generation, once vectors.faiss has reached it."""
    if catalog.rows("SELECT 1 FROM removed WHERE generation <= ? LIMIT 1", (generation,)):
        with catalog.writing() as connection:
            connection.execute("DELETE FROM removed WHERE generation <= ?", (generation,))
