"""What is read from the catalogue, other than for a sync."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.catalog.catalog import Catalog, at_or_below
from index.catalog.rows import unpack_embeddings, unpack_labels, unpack_taken
from index.files import path_below
from index.object_path import as_path
from index.records import Elsewhere, EmbeddedPhotos, FileStamp, IndexedFile, Prediction, SkippedPhoto, StoredPhoto

BATCH = 4096
# Where more rows at once would take more memory and save no time.
SMALL_BATCH = 512
# Photos by which the new place of a folder is found.
LOOKED_AT = 1000
WITH_ROOT = "FROM photos JOIN roots ON roots.id = root_id"
_FILE = "SELECT photos.id, roots.path, photos.path, size, mtime_ns, content_hash, width, height, taken"
_FILES = f"{_FILE} {WITH_ROOT}"


@dataclass(frozen=True, slots=True, eq=False)
class CandidatePhotos:
    """Photos that may be an answer: ids (n,), sorted, their places, and embeddings (n, dim) of unit length.

    A place is the id of a root and the path relative to it; of a content there is the hash.
    """

    ids: NDArray[np.int64]
    places: list[tuple[int, bytes]]
    hashes: list[bytes | None]
    embeddings: NDArray[np.float32]
    roots: dict[int, bytes]

    def path(self, row: int) -> Path:
        """Make the absolute path of a photo."""
        root_id, path = self.places[row]
        return absolute_path(self.roots[root_id], path)


def count_photos(catalog: Catalog) -> tuple[int, int]:
    """Count the photos with an embedding, and those without."""
    [(photos, embedded)] = catalog.rows(
        "SELECT (SELECT count(*) FROM photos), (SELECT count(*) FROM photos WHERE embedding IS NOT NULL)"
    )
    return embedded, photos - embedded


def count_embedded(catalog: Catalog) -> int:
    """Count the photos with an embedding."""
    # The condition is that of an index of the database, so no photo is read.
    [(embedded,)] = catalog.rows("SELECT count(*) FROM photos WHERE embedding IS NOT NULL")
    return int(embedded)


def photo_at(catalog: Catalog, path: Path, *, dim: int) -> StoredPhoto | None:
    """Read all that is known of the photo with this absolute path."""
    for root_id, root in catalog.roots():
        rows = catalog.rows(
            "SELECT id, size, mtime_ns, content_hash, width, height, embedding, labels, skipped FROM photos"
            " WHERE root_id = ? AND path = ?",
            (root_id, path_below(os.fsencode(path), root)),
        )
        for id, size, mtime_ns, content_hash, width, height, stored, labels, skipped in rows:
            return StoredPhoto(
                id=id,
                path=path,
                stamp=FileStamp(size, mtime_ns),
                content_hash=content_hash,
                width=width,
                height=height,
                embedding=None if stored is None else unpack_embeddings([stored], dim)[0],
                labels=unpack_labels(labels),
                skipped=skipped,
            )
    return None


def is_known(catalog: Catalog, path: bytes) -> bool:
    """Tell whether an absolute path is that of a root or a photo, or has one below it."""
    return any(path_below(root, path) is not None for _, root in catalog.roots()) or has_photos(catalog, path)


def has_photos(catalog: Catalog, path: bytes) -> bool:
    """Tell whether there are photos at or below an absolute path."""
    condition, values = at_or_below(catalog.roots(), path)
    return bool(catalog.rows(f"SELECT 1 FROM photos WHERE {condition} LIMIT 1", values))


def found_elsewhere(catalog: Catalog, root: bytes, others: Sequence[bytes]) -> Elsewhere:
    """Count the photos of a root, and those of them whose content some other roots have too."""
    ids = {path: id for id, path in catalog.roots()}
    there = json.dumps([ids[path] for path in others])
    same = (
        "FROM photos AS other WHERE other.content_hash = photos.content_hash AND other.embedding IS NOT NULL"
        " AND other.root_id IN (SELECT value FROM json_each(?))"
    )
    of_root = "FROM photos WHERE root_id = ? AND embedding IS NOT NULL"
    [(photos,)] = catalog.rows(f"SELECT count(*) {of_root}", (ids[root],))
    [(found,)] = catalog.rows(f"SELECT count(*) {of_root} AND EXISTS (SELECT 1 {same})", (ids[root], there))
    # Where the folder itself seems to be now: what is left of the places of some, without their paths inside it.
    pairs = catalog.rows(
        f"SELECT photos.path, (SELECT other.root_id || ' ' || hex(other.path) {same} LIMIT 1) AS place {of_root}"
        " AND place IS NOT NULL LIMIT ?",
        (there, ids[root], LOOKED_AT),
    )
    names = dict(catalog.roots())
    folders = Counter[bytes]()
    for path, place in pairs:
        root_id, inside = place.split()
        whole = os.path.join(names[int(root_id)], bytes.fromhex(inside))
        if whole.endswith(b"/" + path):
            folders[whole.removesuffix(b"/" + path)] += 1
    return Elsewhere(photos, found, next((as_path(name) for name, _ in folders.most_common(1)), None))


def skipped_photos(catalog: Catalog) -> list[SkippedPhoto]:
    """List the photos without an embedding, by path."""
    rows = catalog.rows(
        f"SELECT roots.path, photos.path, skipped {WITH_ROOT} WHERE skipped IS NOT NULL"
        " ORDER BY roots.path, photos.path"
    )
    return [SkippedPhoto(absolute_path(root, path), reason) for root, path, reason in rows]


def photos_with_ids(catalog: Catalog, ids: NDArray[np.int64], *, dim: int) -> CandidatePhotos:
    """Read the photos with these ids (n,), those that have an embedding."""
    rows = catalog.rows(
        "SELECT id, root_id, path, content_hash, embedding FROM photos"
        " WHERE embedding IS NOT NULL AND id IN (SELECT value FROM json_each(?)) ORDER BY id",
        (json.dumps(ids.tolist()),),
    )
    return CandidatePhotos(
        np.array([row[0] for row in rows], dtype=np.int64),
        [row[1:3] for row in rows],
        [row[3] for row in rows],
        unpack_embeddings([row[4] for row in rows], dim),
        dict(catalog.roots()),
    )


def embeddings_with_ids(
    catalog: Catalog, ids: NDArray[np.int64], *, dim: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Read ids (m,) and embeddings (m, dim) of the photos with these ids (n,) that have one, sorted by id."""
    sql = (
        "SELECT id, embedding FROM photos WHERE embedding IS NOT NULL AND id IN (SELECT value FROM json_each(?))"
        " ORDER BY id"
    )
    # Batch by batch: all rows at once would take as much memory again as the result.
    found, embeddings = np.empty(len(ids), np.int64), np.empty((len(ids), dim), np.float32)
    count = 0
    for rows in catalog.batches(sql, (json.dumps(ids.tolist()),), size=BATCH):
        end = count + len(rows)
        found[count:end] = [id for id, _ in rows]
        embeddings[count:end] = unpack_embeddings([stored for _, stored in rows], dim)
        count = end
    return found[:count], embeddings[:count]


def embedded_ids(catalog: Catalog) -> NDArray[np.int64]:
    """Read the ids (n,) of all photos that have an embedding, sorted."""
    batches = catalog.batches("SELECT id FROM photos WHERE embedding IS NOT NULL ORDER BY id", size=BATCH)
    return np.concatenate([np.empty(0, dtype=np.int64), *(np.array(rows, dtype=np.int64)[:, 0] for rows in batches)])


def ids_below(catalog: Catalog, folder: bytes) -> NDArray[np.int64]:
    """Read the ids (n,) of photos with an embedding at or below an absolute path, sorted."""
    condition, values = at_or_below(catalog.roots(), folder)
    rows = catalog.rows(f"SELECT id FROM photos WHERE embedding IS NOT NULL AND {condition} ORDER BY id", values)
    return np.array(rows, dtype=np.int64).reshape(-1)


def contents(catalog: Catalog) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Read the ids (n,) of the photos with an embedding, sorted, and for each the smallest id (n,) of its content."""
    sql = (
        "SELECT id, min(id) OVER (PARTITION BY content_hash) FROM photos"
        " WHERE embedding IS NOT NULL AND content_hash IS NOT NULL"
    )
    batches = [np.array(rows, dtype=np.int64) for rows in catalog.batches(sql, size=BATCH)]
    both = np.concatenate([np.empty((0, 2), dtype=np.int64), *batches])
    ids, first = both[np.argsort(both[:, 0])].T
    return ids, first


def paths_with_content(catalog: Catalog, content_hash: bytes) -> list[bytes]:
    """Read the absolute paths of the photos with an embedding whose files had this content."""
    rows = catalog.rows(
        f"SELECT roots.path, photos.path {WITH_ROOT} WHERE embedding IS NOT NULL AND content_hash = ?", (content_hash,)
    )
    return [os.path.join(root, path) for root, path in rows]


def count_contents(catalog: Catalog, hashes: Sequence[bytes]) -> dict[bytes, int]:
    """Count the photos with an embedding of each of these contents."""
    found: dict[bytes, int] = {}
    for start in range(0, len(hashes), SMALL_BATCH):
        block = hashes[start : start + SMALL_BATCH]
        found |= catalog.rows(
            "SELECT content_hash, count(*) FROM photos WHERE embedding IS NOT NULL"
            f" AND content_hash IN ({', '.join('?' * len(block))}) GROUP BY content_hash",
            block,
        )
    return found


def files_with_ids(catalog: Catalog, ids: NDArray[np.int64]) -> list[IndexedFile]:
    """Read the files of the photos with these ids (n,), those that have an embedding, sorted by id."""
    rows = catalog.rows(
        f"{_FILES} WHERE embedding IS NOT NULL AND photos.id IN (SELECT value FROM json_each(?)) ORDER BY photos.id",
        (json.dumps(ids.tolist()),),
    )
    return [_file(row) for row in rows]


def files_after(
    catalog: Catalog, id: int, count: int, *, where: str = "", values: Sequence[Any] = ()
) -> list[IndexedFile]:
    """Read the next files of photos that have an embedding, by id; `where` has more conditions, after an AND each."""
    rows = catalog.rows(
        f"{_FILE} FROM (SELECT * FROM photos WHERE id > ? AND embedding IS NOT NULL{where}"
        " ORDER BY id LIMIT ?) AS photos JOIN roots ON roots.id = root_id ORDER BY photos.id",
        (id, *values, count),
    )
    return [_file(row) for row in rows]


def count_files(catalog: Catalog) -> dict[int, int]:
    """Count the photos with an embedding of each root, by its id."""
    return dict(catalog.rows("SELECT root_id, count(*) FROM photos WHERE embedding IS NOT NULL GROUP BY root_id"))


def undated_files(catalog: Catalog, id: int, count: int) -> list[IndexedFile]:
    """Read the next files, by id, of photos of which nobody has looked yet when they were taken."""
    sql = f"{_FILES} WHERE embedding IS NOT NULL AND taken IS NULL AND photos.id > ? ORDER BY photos.id LIMIT ?"
    rows = catalog.rows(sql, (id, count))
    return [_file(row) for row in rows]


def count_undated(catalog: Catalog) -> int:
    """Count the photos of which nobody has looked yet when they were taken."""
    [(count,)] = catalog.rows("SELECT count(*) FROM photos WHERE embedding IS NOT NULL AND taken IS NULL")
    return int(count)


def files_at(catalog: Catalog, paths: Sequence[Path]) -> list[IndexedFile]:
    """Read the files of photos that have an embedding, by their absolute paths, without those that are not known."""
    found = []
    for root_id, root in catalog.roots():
        inside = [below for path in paths if (below := path_below(os.fsencode(path), root)) is not None]
        for start in range(0, len(inside), SMALL_BATCH):
            block = inside[start : start + SMALL_BATCH]
            sql = f"{_FILES} WHERE root_id = ? AND photos.path IN ({', '.join('?' * len(block))})"
            rows = catalog.rows(f"{sql} AND embedding IS NOT NULL", (root_id, *block))
            found += [_file(row) for row in rows]
    return found


def random_paths(catalog: Catalog, count: int, random: Random) -> list[Path]:
    """Draw the absolute paths of at most `count` photos that have an embedding."""
    ids = [id for (id,) in catalog.rows("SELECT id FROM photos WHERE embedding IS NOT NULL")]
    drawn = json.dumps(random.sample(ids, min(count, len(ids))))
    rows = catalog.rows(
        f"SELECT roots.path, photos.path {WITH_ROOT} WHERE photos.id IN (SELECT value FROM json_each(?))", (drawn,)
    )
    return [absolute_path(root, path) for root, path in rows]


def all_photos(catalog: Catalog, *, dim: int) -> Iterator[EmbeddedPhotos]:
    """Read the photos that have an embedding, in batches."""
    sql = f"SELECT photos.id, roots.path, photos.path, embedding {WITH_ROOT} WHERE embedding IS NOT NULL"
    for rows in catalog.batches(sql, size=BATCH):
        yield _embedded(rows, dim)


def embeddings_by_id(catalog: Catalog, *, dim: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Read ids (n,) and embeddings (n, dim) of all photos that have one, sorted by id, in batches."""
    sql = "SELECT id, embedding FROM photos WHERE embedding IS NOT NULL ORDER BY id"
    return _vectors(catalog, sql, (), dim=dim, size=SMALL_BATCH)


def labels_by_id(catalog: Catalog) -> Iterator[tuple[int, tuple[Prediction, ...]]]:
    """Read the ids of photos that have an embedding and labels, sorted, and their labels. Raises IndexFormatError."""
    sql = "SELECT id, labels FROM photos WHERE embedding IS NOT NULL AND labels IS NOT NULL ORDER BY id"
    for rows in catalog.batches(sql, size=SMALL_BATCH):
        yield from ((id, unpack_labels(labels) or ()) for id, labels in rows)


def vectors_since(
    catalog: Catalog, generation: int, *, dim: int, size: int = BATCH
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Read ids (n,) and embeddings (n, dim) that were set after a generation, in batches."""
    sql = "SELECT id, embedding FROM photos WHERE embedding IS NOT NULL AND generation > ?"
    return _vectors(catalog, sql, (generation,), dim=dim, size=size)


def _vectors(
    catalog: Catalog, sql: str, parameters: Sequence[int], *, dim: int, size: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    for rows in catalog.batches(sql, parameters, size=size):
        ids, stored = zip(*rows, strict=True)
        yield np.array(ids, dtype=np.int64), unpack_embeddings(stored, dim)


def ids_touched_since(catalog: Catalog, generation: int) -> NDArray[np.int64]:
    """Read the ids (n,) whose embedding was set or removed after a generation."""
    rows = catalog.rows(
        "SELECT id FROM photos WHERE embedding IS NOT NULL AND generation > ?1"
        " UNION ALL SELECT id FROM removed WHERE generation > ?1",
        (generation,),
    )
    return np.array(rows, dtype=np.int64).reshape(-1)


def count_touched_since(catalog: Catalog, generation: int) -> int:
    """Count the embeddings that were set or removed after a generation."""
    [(count,)] = catalog.rows(
        "SELECT (SELECT count(*) FROM photos WHERE embedding IS NOT NULL AND generation > ?1)"
        " + (SELECT count(*) FROM removed WHERE generation > ?1)",
        (generation,),
    )
    return int(count)


def _embedded(rows: Sequence[tuple[int, bytes, bytes, bytes]], dim: int) -> EmbeddedPhotos:
    ids = np.array([row[0] for row in rows], dtype=np.int64)
    paths = [absolute_path(root, path) for _, root, path, _ in rows]
    return EmbeddedPhotos(ids, paths, unpack_embeddings([row[3] for row in rows], dim))


def _file(row: tuple[int, bytes, bytes, int, int, bytes | None, int | None, int | None, str | None]) -> IndexedFile:
    id, root, path, size, mtime_ns, content_hash, width, height, taken = row
    return IndexedFile(
        id,
        absolute_path(root, path),
        FileStamp(size, mtime_ns),
        content_hash,
        width or 0,
        height or 0,
        unpack_taken(taken),
    )


def absolute_path(root: bytes, path: bytes) -> Path:
    """Join a root with a path relative to it."""
    return as_path(os.path.join(root, path))
