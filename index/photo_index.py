"""An index of photos in a folder, to be searched and read: its catalogue and its vectors together."""

import os
import shlex
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from index.catalog.catalog import Catalog, CatalogState
from index.catalog.database import storage_errors
from index.catalog.own_labels import OwnLabels
from index.catalog.queries import count_photos
from index.catalog.selection import Selection, most_probable
from index.errors import ModelMismatchError, PhotoIndexError
from index.exact_search import as_queries, best_photos, neighbours
from index.files import absolute
from index.object_path import as_path
from index.records import IndexProblem, IndexSummary, SearchResult
from index.stored_copies import StoredCopies
from index.stored_photos import StoredPhotos
from index.sync.verify import find_problems
from index.vectors.cache import VectorCache
from index.vectors.faiss_library import FaissDevice
from index.vectors.store import VectorStore

CATALOG = "catalog.db"
VECTORS = "vectors.faiss"
NEIGHBOURS_AT_ONCE = 1024
CHECKED_AGAIN = 5
"""How often problems are looked for at most, while another process writes."""


class PhotoIndex:
    """Photos by what they look like; a context manager, for one thread. It only reads; `IndexWriter` changes an index.

    Any number of processes may read an index while one writes it, and each answer is of one state of it.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        fingerprint: str | None,
        device: str = "cpu",
        warn: Callable[[str], None] | None = None,
        building: Callable[[str], None] | None = None,
    ) -> None:
        """Use `open`. Raises ModelMismatchError."""
        self.folder = catalog.path.parent
        self._catalog = catalog
        self._warner = warn
        self._warned: set[str] = set()
        self._vectors: VectorStore = VectorCache(
            self.folder / VECTORS,
            catalog,
            device=FaissDevice(device, warn=self._warn),
            warn=self._warn,
            building=building,
        )
        self._fingerprint = fingerprint
        self._resources = ExitStack()
        self.photos = StoredPhotos(catalog, self._state)
        self.copies = StoredCopies(catalog)
        self._state()

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        fingerprint: str | None = None,
        device: str = "cpu",
        warn: Callable[[str], None] | None = None,
    ) -> "PhotoIndex":
        """Open an index to search it. With `fingerprint`, it must have been made with the model of that fingerprint.

        With `device` cuda FAISS runs on a GPU where it can. What cannot be done as asked is passed to `warn`, once.
        Raises IndexNotFoundError, IndexFormatError, IndexStorageError and ModelMismatchError.
        """
        with ExitStack() as resources:
            catalog = resources.enter_context(closing(Catalog.open(folder / CATALOG)))
            index = PhotoIndex(catalog, fingerprint=fingerprint, device=device, warn=warn)
            index._resources = resources.pop_all()
            return index

    def close(self) -> None:
        """Close the files, and release the lock of a writer."""
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the model that the index was made with."""
        return self._state().fingerprint

    @property
    def model_path(self) -> Path | None:
        """Where that model was when photos were last indexed, as an absolute path; None for the built-in one."""
        path = self._state().model_path
        return as_path(path) if path else None

    @property
    def exclude(self) -> tuple[str, ...]:
        """Patterns, as in a .gitignore, of what is left out of the folders."""
        return tuple(os.fsdecode(self._state().exclude).splitlines())

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        *,
        min_score: float | None = None,
        recall: float | None = None,
        among: Selection | None = None,
    ) -> list[list[SearchResult]]:
        """Find for each query (m, dim) the k photos with the largest cosine, best first, ties by path.

        An approximate index is searched so that it finds the share `recall` of the 10 best, on average. All photos are
        compared for a recall of 1, and, after a warning, for one that it cannot reach. Photos `among` a selection are
        always compared one by one. Raises PhotoIndexError for a folder that is not known, ValueError for k < 1 and as
        `as_queries`, which brings the queries to unit length.
        """
        with self._catalog.snapshot():
            state = self._state()
            if among:
                self._check_folders(among)
            asked = as_queries(queries, state.dim)
            answers = best_photos(
                self._catalog, self._vectors, state, asked, k, min_score=min_score, recall=recall, among=among
            )
        self._vectors.save_if_far_behind()
        return answers

    @property
    def own_labels(self) -> OwnLabels:
        """The labels that the user has taught; an `IndexWriter` may change them."""
        return OwnLabels(self._catalog)

    def neighbours(self, ids: NDArray[np.int64], k: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Find scores (n, k) and ids (n, k) of the photos that look most like each of those with `ids` (n,).

        Best first, equal ones by id; -inf and -1 where there are fewer, or the photo was removed meanwhile. Some
        thousand in one call are faster than many calls, and all answers of a call are of one state of the index.
        """
        if k < 1:
            raise ValueError(f"cannot find the nearest {k}")
        answers = [(np.empty((0, k)), np.empty((0, k), dtype=np.int64))]
        with self._catalog.snapshot():
            state = self._state()
            for start in range(0, len(ids), NEIGHBOURS_AT_ONCE):
                block = ids[start : start + NEIGHBOURS_AT_ONCE]
                answers.append(neighbours(self._catalog, self._vectors, state, block, k))
        self._vectors.save_if_far_behind()
        scores, nearest = zip(*answers, strict=True)
        return np.concatenate(scores), np.concatenate(nearest)

    def most_probable(self, selection: Selection, k: int) -> list[SearchResult]:
        """Find the k photos with the largest probability of the selected classes, which is their score; ties by path.

        Raises PhotoIndexError for a folder that is not known.
        """
        with self._catalog.snapshot():
            self._state()
            self._check_folders(selection)
            return most_probable(self._catalog, selection, k)

    def roots(self) -> list[Path]:
        """List the folders that were indexed; one inside another is part of that one."""
        return [as_path(root) for _, root in self._catalog.roots()]

    def numbered_roots(self) -> dict[int, Path]:
        """List them by id, which is never used again."""
        return {id: as_path(root) for id, root in self._catalog.roots()}

    def problems(self) -> list[IndexProblem]:
        """Find what is wrong with catalogue and vectors. Raises IndexFormatError for a catalogue that is unreadable."""
        for _ in range(CHECKED_AGAIN):
            with self._catalog.snapshot():
                seen = self._state().generation
                found = find_problems(self._catalog, self._vectors)
            # The vectors are no part of the snapshot: if they were written meanwhile, they belong to a later state.
            if not found or self._state().generation == seen:
                break
        return found

    def summary(self) -> IndexSummary:
        """Describe the state of the index."""
        with self._catalog.snapshot():
            state = self._state()
            photos, skipped = count_photos(self._catalog)
            roots = self.roots()
        with storage_errors(self.folder):
            files = (CATALOG, f"{CATALOG}-wal", VECTORS)
            built = self._vectors.describe()
            sizes = [path.stat().st_size for name in files if (path := self.folder / name).exists()]
        return IndexSummary(
            photos=photos,
            skipped=skipped,
            roots=tuple(roots),
            model_name=state.model_name,
            fingerprint=state.fingerprint,
            dim=state.dim,
            kind=built.kind,
            chosen_kind=state.kind,
            quality=built.quality,
            built_on=built.device,
            bytes_on_disk=sum(sizes),
            created=datetime.fromisoformat(state.created),
            generation=state.generation,
            exclude=self.exclude,
        )

    def _warn(self, text: str) -> None:
        if self._warner is not None and text not in self._warned:
            self._warned.add(text)
            self._warner(text)

    def _check_folders(self, selection: Selection) -> None:
        self._check_known(selection.folders)
        for folder in selection.folders:
            if self.photos.at(folder) is not None:
                raise PhotoIndexError(f"{folder} is a photo; name the folder that it lies in, {folder.parent}.")

    def _check_known(self, paths: Sequence[Path]) -> None:
        for path in paths:
            if not self.photos.knows(path):
                raise PhotoIndexError(
                    f"{absolute(path)} is not in the index in {self.folder}",
                    hint=f"its folders are listed by `fc7 info {shlex.quote(str(self.folder))}`",
                )

    def _state(self) -> CatalogState:
        # Checked each time, because another process may have rebuilt the index with another model.
        state = self._catalog.state()
        if self._fingerprint is not None and state.fingerprint != self._fingerprint:
            roots = " ".join(shlex.quote(str(root)) for root in self.roots()) or "FOLDER"
            index = shlex.quote(str(self.folder))
            raise ModelMismatchError(
                f"The index in {self.folder} was made with another model, {state.model_name}",
                hint="name that model with -m, or another place with --index; "
                f"`fc7 index --rebuild {roots} -m MODEL --index {index}` rebuilds it with this model",
            )
        return state
