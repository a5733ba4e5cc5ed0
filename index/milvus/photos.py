"""The photos of a collection, by id, by path and by content; and the labels that were copied with them."""

import itertools
import os
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray

from index.catalog.different import Pair
from index.catalog.own_labels import LabelScorer
from index.catalog.rows import unpack_labels, unpack_taken
from index.catalog.schema import OWN
from index.catalog.selection import Selection
from index.errors import PhotoIndexError
from index.files import absolute, path_below
from index.milvus.collection import PAGE, MilvusCollection, Row
from index.milvus.filters import (
    CLASSES,
    HASH,
    ID,
    PATH,
    STATE_ID,
    TAKEN,
    any_content_of,
    any_path_of,
    at_or_below,
    at_path,
    decoded_path,
    selected,
    with_any_class,
)
from index.milvus.rows import ALL_COLUMNS, EMBEDDING, FILE_COLUMNS, MODIFIED, hash_in, skipped_in, unpacked
from index.object_path import as_path
from index.records import FileStamp, IndexedFile, OwnLabel, SkippedPhoto, StoredPhoto

AT_ONCE = 256
"""Paths or hashes in one condition."""
FEWEST = 1024
"""Rows that are read at once though fewer may be wanted: to find where a smaller part ends takes as long."""
DRAWN = 4
"""Ids that are drawn for each photo that is wanted: some are of no photo any more."""


class RemotePhotos:
    """See `SearchablePhotos`, which it is."""

    def __init__(self, collection: MilvusCollection) -> None:
        self._collection = collection

    def at(self, path: Path) -> StoredPhoto | None:
        """Read what is known of a photo; compare its stamp to tell whether the file has changed since."""
        row = self._collection.first(at_path(os.fsencode(absolute(path))), ALL_COLUMNS)
        if row is None:
            return None
        photo = unpacked(row)
        return StoredPhoto(
            id=photo.id,
            path=as_path(photo.path),
            stamp=photo.stamp,
            content_hash=photo.content_hash,
            width=photo.width,
            height=photo.height,
            embedding=photo.embedding if photo.skipped is None else None,
            labels=unpack_labels(photo.labels),
            skipped=photo.skipped,
        )

    def knows(self, path: Path) -> bool:
        """Tell whether this is an indexed folder or photo, or has one below it."""
        place = os.fsencode(absolute(path))
        roots = (os.fsencode(root) for root in self._collection.state.root_paths)
        return any(path_below(root, place) is not None for root in roots) or self.any_at(path)

    def any_at(self, path: Path) -> bool:
        """Tell whether this is an indexed photo, or has one below it."""
        return self._collection.first(at_or_below(os.fsencode(absolute(path)))) is not None

    def check_known(self, folder: Path) -> None:
        """Raise PhotoIndexError for a folder that is not known."""
        if not self.knows(folder):
            place = self._collection.place
            raise PhotoIndexError(f"{absolute(folder)} is not in the index in {place}", hint=known_folders(place))

    def ids(self) -> NDArray[np.int64]:
        """Read the ids (n,) of the photos that have an embedding, sorted."""
        return self._ids("")

    def ids_below(self, folder: Path) -> NDArray[np.int64]:
        """Read the ids (n,) of those below a folder, sorted. Raises PhotoIndexError for a folder that is not known."""
        self.check_known(folder)
        return self._ids(at_or_below(os.fsencode(absolute(folder))))

    def vectors(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Read the embeddings (n, dim) of photos with these ids, sorted by id, without those removed meanwhile."""
        rows = self._collection.rows_with_ids(ids.tolist(), [EMBEDDING])
        found = np.array([row[EMBEDDING] for row in rows], np.float32)
        return found.reshape(len(rows), self._collection.state.dim)

    def files(self, ids: NDArray[np.int64]) -> list[IndexedFile]:
        """Read the files of photos with these ids (n,), sorted by id, without photos that were removed meanwhile."""
        return _files(self._collection.rows_with_ids(ids.tolist(), FILE_COLUMNS))

    def files_at(self, paths: Sequence[Path]) -> list[IndexedFile]:
        """Read the files with these absolute paths, without those that are no photos of the index."""
        names = [os.fsencode(path) for path in paths]
        conditions = (any_path_of(names[start : start + AT_ONCE]) for start in range(0, len(names), AT_ONCE))
        return _files(itertools.chain.from_iterable(map(self._matching, conditions)))

    def files_after(
        self,
        id: int,
        count: int,
        *,
        folder: Path | None = None,
        since: datetime | None = None,
        before: datetime | None = None,
    ) -> list[IndexedFile]:
        """Read the next `count` files by id, from the one after `id` on, below a folder if one is given.

        For `since` and `before` see `Selection`. Raises PhotoIndexError for a folder that is not known.
        """
        if folder is not None:
            self.check_known(folder)
        folders = () if folder is None else (as_path(absolute(folder)),)
        condition = selected(Selection(folders, since=since, before=before))
        found: list[IndexedFile] = []
        for rows in self._collection.rows(condition, FILE_COLUMNS, id, page=max(count, FEWEST)):
            found += _files(rows)
            if len(found) >= count:
                break
        return found[:count]

    def count_by_root(self) -> dict[int, int]:
        """Count the photos with an embedding of each indexed folder, by the number that `numbered_roots` gives."""
        roots = enumerate(self._collection.state.root_paths, start=1)
        return {number: self._collection.count(selected(Selection((root,)))) for number, root in roots}

    def count_contents(self, hashes: Sequence[bytes]) -> dict[bytes, int]:
        """Count the photos that can be found whose files had this content, for each hash."""
        counts = Counter[bytes]()
        for start in range(0, len(hashes), AT_ONCE):
            rows = self._matching(any_content_of(hashes[start : start + AT_ONCE]), [HASH])
            counts.update(content for row in rows if (content := hash_in(row)) is not None)
        return dict(counts)

    def count_undated(self) -> int:
        """Return 0: of a photo without a date, Milvus does not know whether anybody has looked for one."""
        return 0

    def random_paths(self, count: int, random: Random) -> list[Path]:
        """Draw the paths of at most `count` photos; of a large collection, with many removed ones, perhaps fewer."""
        last = self._collection.state.last_id
        wanted = range(1, last + 1)
        ids = wanted if last <= PAGE else sorted(random.sample(wanted, min(DRAWN * count, PAGE)))
        paths = [_path(row) for row in self._collection.rows_with_ids(ids, [PATH])]
        return random.sample(paths, min(count, len(paths)))

    def skipped(self) -> list[SkippedPhoto]:
        """List the photos that could not be used, by path, with the reason; of a copy none are known."""
        rows = itertools.chain.from_iterable(self._collection.skipped_rows("", [PATH, CLASSES]))
        return sorted((SkippedPhoto(_path(row), skipped_in(row) or "") for row in rows), key=lambda photo: photo.path)

    def _ids(self, condition: str) -> NDArray[np.int64]:
        return np.array([row[ID] for rows in self._collection.rows(condition, []) for row in rows], np.int64)

    def _matching(self, condition: str, columns: Sequence[str] = FILE_COLUMNS) -> Iterator[Row]:
        """Read the photos of which a condition is true."""
        return itertools.chain.from_iterable(self._collection.rows(condition, columns))


class RemoteCopies:
    """See `SearchableCopies`, which it is: what would be kept of photos is computed by each search for copies."""

    def __init__(self, collection: MilvusCollection) -> None:
        self._collection = collection

    def contents(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Read what `ids` gives, and beside each the smallest id (n,) of a photo whose file had the same bytes."""
        ids, same, first = list[int](), list[int](), dict[bytes, int]()
        for rows in self._collection.rows("", [HASH]):
            for row in rows:
                id, content = int(row[ID]), hash_in(row)
                ids.append(id)
                same.append(id if content is None else first.setdefault(content, id))
        return np.array(ids, np.int64), np.array(same, np.int64)

    def different(self) -> set[Pair]:
        """Return nothing: what people said of pairs of photos is kept in a folder."""
        return set()

    def thumbnails(self, ids: NDArray[np.int64]) -> dict[int, bytes]:
        """Return nothing: a server has its columns in memory, and these are made of the files."""
        return {}

    def keep_thumbnails(self, thumbnails: Sequence[tuple[bytes, bytes]]) -> bool:
        """Keep nothing, and say so."""
        return False

    def measured(self, kind: str, ids: NDArray[np.int64]) -> dict[int, bytes]:
        """Return nothing, as `thumbnails`."""
        return {}

    def keep_measured(self, kind: str, values: Sequence[tuple[bytes, bytes]]) -> bool:
        """Keep nothing, and say so."""
        return False


class CopiedLabels:
    """The user's own labels that were copied, which Milvus has as classes of photos; what teaches them stays behind."""

    def __init__(self, collection: MilvusCollection) -> None:
        self._collection = collection

    def names(self) -> list[str]:
        """List the names, sorted."""
        stored = self._collection.state.own_labels
        return sorted(decoded_path(name).decode("utf-8", "surrogatepass") for name in stored)

    def all(self) -> list[OwnLabel]:
        """Describe the labels, sorted by name: photos that have them with any probability, and no examples."""
        created = datetime.fromisoformat(self._collection.state.created)
        counts = {name: self._collection.count(with_any_class([OWN + name])) for name in self.names()}
        return [OwnLabel(name, count, 0, 0, created) for name, count in counts.items()]

    def scorer(self) -> LabelScorer:
        """Return one that knows no label."""
        return LabelScorer((), np.empty((0, self._collection.state.dim), np.float32), np.empty(0, np.float32))


def known_folders(place: object) -> str:
    """Return the hint for a folder that is not known."""
    return f"its folders are listed by `fc7 info {shlex.quote(str(place))}`"


def _files(rows: Iterable[Row]) -> list[IndexedFile]:
    """Read files, sorted by id."""
    return sorted(
        (
            IndexedFile(
                int(row[ID]),
                _path(row),
                FileStamp(int(row["size"]), int(row[MODIFIED])),
                hash_in(row),
                int(row["width"]),
                int(row["height"]),
                unpack_taken(decoded_path(row[TAKEN]).decode("ascii")),
            )
            for row in rows
            if row[ID] > STATE_ID
        ),
        key=lambda file: file.id,
    )


def _path(row: Row) -> Path:
    return as_path(decoded_path(row[PATH]))
