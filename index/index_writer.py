"""An index of photos to be changed: filled from folders, trimmed, repaired, rebuilt."""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, closing
from datetime import datetime
from pathlib import Path

from index.catalog.catalog import Catalog, CatalogState
from index.catalog.changes import remove_below, remove_photos, rename_folder, set_taken
from index.catalog.database import storage_errors
from index.catalog.different import change_different
from index.catalog.lock import WriterLock
from index.catalog.rows import pack_taken
from index.errors import PhotoIndexError
from index.files import absolute, known_place
from index.object_path import as_path
from index.photo_index import CATALOG, PhotoIndex
from index.records import FileStamp, IndexProblem
from index.sync.run import Sync
from index.vectors.cache import VectorCache
from index.vectors.faiss_library import require_faiss
from index.vectors.kinds import check_kind
from index.vectors.parts import Run


class IndexWriter(PhotoIndex):
    """An index that may be changed: it holds the lock that keeps others from writing, but not from reading."""

    @staticmethod
    def open_for_writing(
        folder: Path,
        *,
        fingerprint: str,
        model_name: str,
        dim: int,
        model_path: Path | None = None,
        device: str = "cpu",
        warn: Callable[[str], None] | None = None,
        building: Callable[[str], None] | None = None,
    ) -> "IndexWriter":
        """Open an index to add to it, or make one where there is none; `device` and `warn` as for `PhotoIndex.open`.

        `building` is called, with a description, before vectors are sorted into a kind of FAISS index that takes long.
        The model's path (None for the built-in one) is stored, for later commands that do not name a model.
        Raises IndexLockedError, IndexFormatError, IndexStorageError, ModelMismatchError and MissingPackageError.
        """
        # Now, and not after an hour of embedding.
        require_faiss()
        place = b"" if model_path is None else os.fsencode(absolute(model_path))
        first = CatalogState.fresh(model_name=model_name, fingerprint=fingerprint, dim=dim, model_path=place)
        with ExitStack() as resources:
            with storage_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
                resources.enter_context(WriterLock(folder))
            catalog = resources.enter_context(closing(Catalog.open_for_writing(folder / CATALOG, first=first)))
            index = IndexWriter(catalog, fingerprint=fingerprint, device=device, warn=warn, building=building)
            if catalog.state().model_path != place:
                catalog.set_model_path(place)
            index._resources = resources.pop_all()
            return index

    @staticmethod
    def open_to_edit(folder: Path, *, fingerprint: str | None = None) -> "IndexWriter":
        """Open an existing index, to `forget` photos or to `repair` it.

        Raises IndexNotFoundError, ModelMismatchError, IndexLockedError, IndexFormatError, IndexStorageError and
        MissingPackageError.
        """
        require_faiss()
        PhotoIndex.open(folder, fingerprint=fingerprint).close()
        with ExitStack() as resources:
            with storage_errors(folder):
                resources.enter_context(WriterLock(folder))
            catalog = resources.enter_context(closing(Catalog.open_for_writing(folder / CATALOG)))
            index = IndexWriter(catalog, fingerprint=fingerprint)
            index._resources = resources.pop_all()
            return index

    def set_kind(self, kind: str) -> None:
        """Choose the kind of FAISS index from the end of the next sync on.

        Raises OptionError for what `check_kind` does not know.
        """
        state = self._state()
        check_kind(kind)
        if kind != state.kind:
            self._catalog.set_kind(kind)

    def fill_with(self, run: Run | None) -> None:
        """Have other processes sort the vectors of a large index into lists, from the next sync on."""
        if isinstance(self._vectors, VectorCache):
            self._vectors.run = run

    def set_exclude(self, patterns: Sequence[str]) -> None:
        """Choose the patterns, as in a .gitignore, of what callers leave out of folders from the next sync on."""
        if tuple(patterns) != self.exclude:
            self._catalog.set_exclude(os.fsencode("\n".join(patterns)))

    def begin_sync(
        self,
        root: Path,
        found: Mapping[bytes, FileStamp],
        *,
        retry_skipped: bool = False,
        unlisted: Collection[bytes] = (),
        empty: Collection[bytes] = (),
        is_there: Callable[[bytes], bool] = lambda _: True,
    ) -> Sync:
        """Compare a folder with what is known of it; for options and rules see `plan_sync`.

        Folders found `empty` keep the photos known in them, except those that were found elsewhere in `root`. Do not
        call it for a folder that does not exist, as on a drive that is not connected: its photos would be removed.
        `is_there` tells of an absolute path whether there is a file: where that of a known content is gone, the new one
        was moved and not copied.
        """
        folder = os.fsencode(absolute(root))
        return Sync(
            self._catalog,
            self._vectors,
            folder,
            found,
            retry_skipped=retry_skipped,
            unlisted=unlisted,
            empty=empty,
            is_there=is_there,
        )

    def forget(self, paths: Sequence[Path]) -> list[int]:
        """Forget photos, all photos below folders, and roots among these; count the photos for each path.

        No file is touched: a photo that is still in an indexed folder is new in its next sync. Raises PhotoIndexError,
        before anything is changed, for a path that is not known.
        """
        paths = [known_place(as_path(absolute(path)), self.roots()) for path in paths]
        names = [os.fsencode(path) for path in paths]
        self._check_known(paths)
        forgotten = [remove_below(self._catalog, name) for name in names]
        self._vectors.update()
        return forgotten

    def rename(self, old: Path, new: Path) -> tuple[int, int]:
        """Let the photos below one folder be those below another, neither inside the other; no file is touched.

        Return how many moved, and how many were known in the new place already. Raises PhotoIndexError for a folder
        that is not known.
        """
        self._check_known([old])
        counts = rename_folder(self._catalog, os.fsencode(absolute(old)), os.fsencode(absolute(new)))
        self._vectors.update()
        return counts

    def forget_files(self, paths: Sequence[Path]) -> None:
        """Forget photos in one transaction, those of them that are known."""
        ids = [photo.id for path in paths if (photo := self.photos.at(path)) is not None]
        remove_photos(self._catalog, ids)
        self._vectors.update()

    def set_different(self, paths: Sequence[Path], different: bool = True) -> None:
        """Remember that each of these photos is no copy of each other, or forget it.

        Photos are known by their content, so that they may move; those of the same content by their paths. Raises
        PhotoIndexError for one that is not in the index.
        """
        self._check_known(paths)
        sides = []
        for path in dict.fromkeys(as_path(absolute(path)) for path in paths):
            photo = self.photos.at(path)
            if photo is None or photo.content_hash is None:
                raise PhotoIndexError(f"{path} is no photo that can be compared", hint="name photos that are indexed")
            sides.append((photo.content_hash, os.fsencode(path)))
        if len(sides) < 2:
            raise PhotoIndexError("one photo alone cannot be different", hint="name two photos or more")
        change_different(self._catalog, sides, different=different)

    def set_taken(self, moments: Sequence[tuple[int, datetime | None]]) -> None:
        """Store by id when photos were taken, None where their files do not say so."""
        set_taken(self._catalog, [(id, pack_taken(moment)) for id, moment in moments])

    def repair(self, problems: Sequence[IndexProblem]) -> None:
        """Remove the rows of damaged photos, which makes them new in the next sync, and rebuild what is derived."""
        self._catalog.reindex()
        for problem in problems:
            if problem.photo is not None:
                remove_below(self._catalog, os.fsencode(problem.photo))
        self.rebuild()

    def rebuild(self) -> None:
        """Rebuild vectors.faiss from the catalogue, without reading a photo. Raises IndexStorageError."""
        with self._catalog.snapshot():
            self._vectors.rebuild(self._state())
