"""What an index stores of its photos, read from the catalogue."""

import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray

from index.catalog import queries
from index.catalog.catalog import Catalog, CatalogState
from index.catalog.selection import Selection, conditions
from index.errors import PhotoIndexError
from index.files import absolute
from index.object_path import as_path
from index.records import Elsewhere, EmbeddedPhotos, IndexedFile, Prediction, SkippedPhoto, StoredPhoto


class StoredPhotos:
    """The photos of a `PhotoIndex`, which makes it: by id, by path, by content, or one after the other."""

    def __init__(self, catalog: Catalog, state: Callable[[], CatalogState]) -> None:
        self._catalog, self._state = catalog, state
        self._folder = catalog.path.parent

    def ids(self) -> NDArray[np.int64]:
        """Read the ids (n,) of the photos that have an embedding, sorted; `neighbours` takes them."""
        return queries.embedded_ids(self._catalog)

    def vectors(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Read the embeddings (n, dim) of photos with these ids, sorted by id, without those removed meanwhile."""
        return queries.embeddings_with_ids(self._catalog, ids, dim=self._state().dim)[1]

    def ids_below(self, folder: Path) -> NDArray[np.int64]:
        """Read the ids (n,) of those below a folder, sorted. Raises PhotoIndexError for a folder that is not known."""
        self.check_known(folder)
        return queries.ids_below(self._catalog, os.fsencode(absolute(folder)))

    def check_known(self, folder: Path) -> None:
        """Raise PhotoIndexError for a folder that is not known."""
        if not self.knows(folder):
            place = absolute(folder)
            command = shlex.join(["fc7", "index", place, "--index", str(self._folder)])
            raise PhotoIndexError(f"{place} is not in the index in {self._folder}", hint=f"add it with `{command}`")

    def count_contents(self, hashes: Sequence[bytes]) -> dict[bytes, int]:
        """Count the photos that can be found whose files had this content, for each hash."""
        return queries.count_contents(self._catalog, hashes)

    def files(self, ids: NDArray[np.int64]) -> list[IndexedFile]:
        """Read the files of photos with these ids (n,), sorted by id, without photos that were removed meanwhile."""
        return queries.files_with_ids(self._catalog, ids)

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
        among = Selection(() if folder is None else (as_path(absolute(folder)),), since=since, before=before)
        where, values = conditions(self._catalog, among)
        return queries.files_after(self._catalog, id, count, where=where, values=values)

    def count_undated(self) -> int:
        """Count the photos of which nobody has looked yet when they were taken: an older fc7 indexed them."""
        return queries.count_undated(self._catalog)

    def undated(self, id: int, count: int) -> list[IndexedFile]:
        """Read the next `count` files of such photos, by id, from the one after `id` on."""
        return queries.undated_files(self._catalog, id, count)

    def count_by_root(self) -> dict[int, int]:
        """Count the photos with an embedding of each indexed folder, by the id that `numbered_roots` gives."""
        return queries.count_files(self._catalog)

    def files_at(self, paths: Sequence[Path]) -> list[IndexedFile]:
        """Read the files with these absolute paths, without those that are no photos of the index."""
        return queries.files_at(self._catalog, paths)

    def at(self, path: Path) -> StoredPhoto | None:
        """Read what is known of a photo; compare its stamp to tell whether the file has changed since."""
        return queries.photo_at(self._catalog, as_path(absolute(path)), dim=self._state().dim)

    def embeddings(self) -> Iterator[EmbeddedPhotos]:
        """Read all photos with an embedding, in batches."""
        return queries.all_photos(self._catalog, dim=self._state().dim)

    def vectors_by_id(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Read ids (n,) and embeddings (n, dim) of all photos that have one, sorted by id, in batches."""
        return queries.embeddings_by_id(self._catalog, dim=self._state().dim)

    def labels_by_id(self) -> Iterator[tuple[int, tuple[Prediction, ...]]]:
        """Read the ids of photos that have labels, sorted, and these labels."""
        return queries.labels_by_id(self._catalog)

    def knows(self, path: Path) -> bool:
        """Tell whether this is an indexed folder or photo, or has one below it."""
        return queries.is_known(self._catalog, os.fsencode(absolute(path)))

    def any_at(self, path: Path) -> bool:
        """Tell whether this is an indexed photo, or has one below it."""
        return queries.has_photos(self._catalog, os.fsencode(absolute(path)))

    def found_elsewhere(self, root: Path, others: Sequence[Path]) -> Elsewhere:
        """Count the photos of a root, and those that some `others` have too. Raises KeyError for what is no root."""
        with self._catalog.snapshot():
            return queries.found_elsewhere(self._catalog, os.fsencode(root), [os.fsencode(other) for other in others])

    def skipped(self) -> list[SkippedPhoto]:
        """List the photos that could not be used, by path, with the reason."""
        return queries.skipped_photos(self._catalog)

    def random_paths(self, count: int, random: Random) -> list[Path]:
        """Draw the paths of at most `count` photos that have an embedding."""
        return queries.random_paths(self._catalog, count, random)
