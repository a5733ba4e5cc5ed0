"""An index in Milvus: searched, described, checked and trimmed as one in a folder is."""

import os
import secrets
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from index.catalog.selection import Selection
from index.errors import ModelMismatchError, OptionError, PhotoIndexError
from index.exact_search import QUERIES_AT_ONCE, as_queries
from index.files import absolute, known_place
from index.milvus.calls import PATIENCE, TIMEOUT, WRITING_PATIENCE
from index.milvus.collection import MOST, MilvusCollection
from index.milvus.filters import ID, PHOTOS, SKIPPED_PHOTOS, at_or_below, decoded_path
from index.milvus.photos import CopiedLabels, RemoteCopies, RemotePhotos, known_folders
from index.milvus.place import Consistency, MilvusPlace
from index.milvus.ranking import best_photos, most_probable, nearest
from index.milvus.state import FLAT, CollectionState
from index.milvus.verify import find_problems
from index.object_path import as_path
from index.records import IndexProblem, IndexSummary, SearchResult

LOOKED_EVERY = 5.0
"""Seconds after which a run that changes an index looks again whether another one has begun."""


class MilvusIndex:
    """See `SearchableIndex`, which it is.

    `fc7 push` fills it from the catalogue of an index in a folder, or `fc7 index` from folders (`MilvusWriter`).
    """

    def __init__(self, collection: MilvusCollection, *, fingerprint: str | None = None) -> None:
        """Use `open`. Raises ModelMismatchError."""
        self.place = collection.place
        self.photos = RemotePhotos(collection)
        self.copies = RemoteCopies(collection)
        self.own_labels = CopiedLabels(collection)
        self._collection = collection
        self._run = secrets.token_hex(8)
        self._fingerprint = fingerprint
        self._check_model()

    def _check_model(self) -> None:
        state = self._collection.state
        if self._fingerprint is not None and state.fingerprint != self._fingerprint:
            raise ModelMismatchError(
                f"The index in {self.place} was made with another model, {state.model_name}",
                hint="name that model with -m, or another index with --index",
            )

    @classmethod
    def open(
        cls,
        place: MilvusPlace,
        *,
        fingerprint: str | None = None,
        consistency: Consistency = "bounded",
        patience: float = PATIENCE,
        timeout: float = TIMEOUT,
    ) -> "MilvusIndex":
        """Open an index. With `fingerprint`, it must have been made with the model of that fingerprint.

        A `bounded` search may miss what was written in the last seconds, a `strong` one sees all, and takes longer.
        Raises ModelMismatchError and what `MilvusCollection.open` does.
        """
        collection = MilvusCollection.open(place, consistency=consistency, patience=patience, timeout=timeout)
        try:
            return cls(collection, fingerprint=fingerprint)
        except BaseException:
            collection.close()
            raise

    @classmethod
    def open_to_edit(cls, place: MilvusPlace) -> "MilvusIndex":
        """Open an index to `forget` photos. Raises what `open` does."""
        return cls.open(place, consistency="strong", patience=WRITING_PATIENCE)

    def close(self) -> None:
        """End the connection."""
        self._collection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the model that the index was made with."""
        return self._collection.state.fingerprint

    @property
    def model_path(self) -> Path | None:
        """Where that model was on the machine that indexed the photos; None for the built-in one."""
        path = self._collection.state.model_path
        return as_path(decoded_path(path)) if path else None

    @property
    def complete(self) -> bool:
        """Whether the last push or index has ended; if not, it goes on or was interrupted, and can be run again."""
        return self._collection.state.complete

    @property
    def filled_by(self) -> str:
        """The command that fills it, and goes on where it was interrupted."""
        return "fc7 index" if self._collection.state.writer else "fc7 push"

    @property
    def exclude(self) -> tuple[str, ...]:
        """Patterns, as in a .gitignore, of what is left out of the folders; of a copy they are not known."""
        return tuple(os.fsdecode(decoded_path(pattern)) for pattern in self._collection.state.exclude)

    @property
    def dim(self) -> int:
        """The number of values of an embedding."""
        return self._collection.state.dim

    def refresh(self) -> None:
        """Read the state again, which another process may have changed. Raises IndexNotFoundError."""
        self._collection.reread("bounded")
        self._check_model()

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        *,
        min_score: float | None = None,
        recall: float | None = None,
        among: Selection | None = None,
    ) -> list[list[SearchResult]]:
        """See `SearchableIndex`. Scores are exact; of an HNSW some of the best may be missing.

        Raises OptionError for a `recall`, which an HNSW in Milvus does not promise, and for k beyond MOST.
        """
        if recall is not None and self._collection.state.kind != FLAT:
            raise OptionError(
                "Milvus promises no share of the best results",
                hint="leave out --recall, or copy the index with `fc7 push --kind Flat`, which compares all photos",
            )
        _check_k(k)
        if among:
            self._check_folders(among)
        asked = as_queries(queries, self._collection.state.dim)
        answers: list[list[SearchResult]] = []
        for start in range(0, len(asked), QUERIES_AT_ONCE):
            block = asked[start : start + QUERIES_AT_ONCE]
            answers += best_photos(self._collection, block, k, min_score=min_score, among=among)
        return answers

    def neighbours(self, ids: NDArray[np.int64], k: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """See `SearchableIndex`. The scores are those of Milvus, which agree to rounding."""
        _check_k(k)
        return nearest(self._collection, ids, k)

    def most_probable(self, selection: Selection, k: int) -> list[SearchResult]:
        """See `SearchableIndex`. All photos that have one of the classes are looked at."""
        _check_k(k)
        self._check_folders(selection)
        return most_probable(self._collection, selection, k)

    def roots(self) -> list[Path]:
        """List the folders that were indexed; one inside another is part of that one."""
        return self._collection.state.root_paths

    def numbered_roots(self) -> dict[int, Path]:
        """List them by number, which another one may have when folders were added or forgotten."""
        return dict(enumerate(self.roots(), start=1))

    def problems(self) -> list[IndexProblem]:
        """Find what is wrong with what is stored; reads all of it."""
        return find_problems(self._collection)

    def summary(self) -> IndexSummary:
        """Describe the state of the index. Of the size on the disk it knows nothing, and a copy of `skipped` photos."""
        state = self._collection.state
        return IndexSummary(
            photos=self._collection.count(),
            skipped=self._collection.count(SKIPPED_PHOTOS),
            roots=tuple(state.root_paths),
            model_name=state.model_name,
            fingerprint=state.fingerprint,
            dim=state.dim,
            kind=state.kind,
            chosen_kind=state.kind,
            quality=None,
            built_on=self.place.server,
            bytes_on_disk=0,
            created=datetime.fromisoformat(state.created),
            generation=state.generation,
            exclude=self.exclude,
        )

    def forget(self, paths: Sequence[Path]) -> list[int]:
        """Forget photos, all photos below folders, and roots among these; count the photos for each path.

        The next push of an index that still has them brings them back, or the next index of their folder. Raises
        PhotoIndexError, before anything is changed, for a path that is not known. A `fc7 index` that goes on stops.
        """
        paths = [known_place(as_path(absolute(path)), self.roots()) for path in paths]
        self._check_known(paths)
        self._stop_others()
        counts = []
        for path in paths:
            condition = at_or_below(os.fsencode(path))
            read = (self._collection.rows, self._collection.skipped_rows)
            ids = [int(row[ID]) for find in read for rows in find(condition, []) for row in rows]
            self._collection.delete(ids)
            counts.append(len(ids))
        state = self._collection.reread()
        kept = [
            stored
            for stored, root in zip(state.roots, state.root_paths, strict=True)
            if not any(root.is_relative_to(path) for path in paths)
        ]
        self._collection.put_state(_changed(state, self._collection, roots=tuple(kept)))
        return counts

    def forget_files(self, paths: Sequence[Path]) -> None:
        """Forget photos, those of them that are known. A `fc7 index` that goes on stops."""
        self._stop_others()
        self._collection.delete([file.id for file in self.photos.files_at(paths)])
        state = self._collection.reread()
        self._collection.put_state(_changed(state, self._collection))

    def _stop_others(self) -> None:
        """Become the run that changes the index, and give another one the time to find that out."""
        state = self._collection.reread()
        if state.writer and state.writer != self._run:
            self._collection.put_state(replace(state, writer=self._run))
            if not state.complete:  # it goes on, or was interrupted
                time.sleep(LOOKED_EVERY)

    def _check_folders(self, selection: Selection) -> None:
        self._check_known(selection.folders)
        for folder in selection.folders:
            if self.photos.at(folder) is not None:
                raise PhotoIndexError(f"{folder} is a photo; name the folder that it lies in, {folder.parent}.")

    def _check_known(self, paths: Sequence[Path]) -> None:
        for path in paths:
            if not self.photos.knows(path):
                raise PhotoIndexError(
                    f"{absolute(path)} is not in the index in {self.place}",
                    hint=known_folders(self.place),
                )


def _changed(state: CollectionState, collection: MilvusCollection, **values: Any) -> CollectionState:
    return replace(state, photos=collection.count(PHOTOS), generation=state.generation + 1, **values)


def _check_k(k: int) -> None:
    if k < 1:
        raise ValueError(f"cannot find the best {k}")
    if k >= MOST:
        raise OptionError(f"Milvus returns fewer than {MOST:,} results", hint="ask for fewer with -k")
