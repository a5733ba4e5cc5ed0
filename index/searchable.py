"""What commands need of an index, wherever that is.

`PhotoIndex`, in a folder, and `MilvusIndex`, on a server, are a `SearchableIndex`; `IndexWriter` and `MilvusWriter` are
a `FillableIndex`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from index.catalog.different import Pair
from index.catalog.own_labels import LabelScorer
from index.catalog.selection import Selection
from index.milvus.place import IndexLocation
from index.records import (
    FileStamp,
    IndexedFile,
    IndexProblem,
    IndexSummary,
    OwnLabel,
    SearchResult,
    SkippedPhoto,
    StoredPhoto,
)
from index.sync.run import Sync


class SearchablePhotos(Protocol):
    """The photos of an index."""

    def at(self, path: Path) -> StoredPhoto | None:
        """Read what is known of a photo; compare its stamp to tell whether the file has changed since."""

    def knows(self, path: Path) -> bool:
        """Tell whether this is an indexed folder or photo, or has one below it."""

    def any_at(self, path: Path) -> bool:
        """Tell whether this is an indexed photo, or has one below it."""

    def check_known(self, folder: Path) -> None:
        """Raise PhotoIndexError for a folder that is not known."""

    def ids(self) -> NDArray[np.int64]:
        """Read the ids (n,) of the photos that have an embedding, sorted; `neighbours` takes them."""

    def ids_below(self, folder: Path) -> NDArray[np.int64]:
        """Read the ids (n,) of those below a folder, sorted. Raises PhotoIndexError for a folder that is not known."""

    def vectors(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Read the embeddings (n, dim) of photos with these ids, sorted by id, without those removed meanwhile."""

    def files(self, ids: NDArray[np.int64]) -> list[IndexedFile]:
        """Read the files of photos with these ids (n,), sorted by id, without photos that were removed meanwhile."""

    def files_at(self, paths: Sequence[Path]) -> list[IndexedFile]:
        """Read the files with these absolute paths, without those that are no photos of the index."""

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

    def count_by_root(self) -> dict[int, int]:
        """Count the photos with an embedding of each indexed folder, by the id that `numbered_roots` gives."""

    def skipped(self) -> list[SkippedPhoto]:
        """List the photos that could not be used, by path, with the reason."""

    def count_contents(self, hashes: Sequence[bytes]) -> dict[bytes, int]:
        """Count the photos that can be found whose files had this content, for each hash."""

    def count_undated(self) -> int:
        """Count the photos of which nobody has looked yet when they were taken: an older fc7 indexed them."""

    def random_paths(self, count: int, random: Random) -> list[Path]:
        """Draw the paths of at most `count` photos that have an embedding."""


class SearchableCopies(Protocol):
    """What is stored of the photos so that copies among them are found."""

    def contents(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Read what `photos.ids` gives, and the smallest id (n,) of a photo whose file had the same bytes."""

    def different(self) -> set[Pair]:
        """Read the pairs of photos that people said to be no copies."""

    def thumbnails(self, ids: NDArray[np.int64]) -> dict[int, bytes]:
        """Read the thumbnails of photos with these ids (n,), by id, of those that have one."""

    def keep_thumbnails(self, thumbnails: Sequence[tuple[bytes, bytes]]) -> bool:
        """Store thumbnails by content hash; False where that cannot be done."""

    def measured(self, kind: str, ids: NDArray[np.int64]) -> dict[int, bytes]:
        """Read what of this kind was kept of photos with these ids (n,), by id, of those that have it."""

    def keep_measured(self, kind: str, values: Sequence[tuple[bytes, bytes]]) -> bool:
        """Keep values by content hash; False where that cannot be done."""


class LabelNames(Protocol):
    """The labels that the user has taught."""

    def names(self) -> list[str]:
        """List the names, sorted."""

    def all(self) -> list[OwnLabel]:
        """Describe the labels, sorted by name."""

    def scorer(self) -> LabelScorer:
        """Read the classifiers that are known."""


class SearchableIndex(Protocol):
    """Photos by what they look like: found, described, checked. A context manager, for one thread."""

    @property
    def photos(self) -> SearchablePhotos:
        """Its photos."""

    @property
    def copies(self) -> SearchableCopies:
        """What is stored of them so that copies are found."""

    @property
    def own_labels(self) -> LabelNames:
        """The labels that the user has taught."""

    @property
    def place(self) -> IndexLocation:
        """Where it is."""

    @property
    def exclude(self) -> tuple[str, ...]:
        """Patterns, as in a .gitignore, of what is left out of the folders."""

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the model that the index was made with."""

    @property
    def model_path(self) -> Path | None:
        """Where that model was when photos were last indexed, as an absolute path; None for the built-in one."""

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

        There are only photos `among` a selection. Raises PhotoIndexError for a folder that is not known, ValueError for
        k < 1 and as `as_queries`, which brings the queries to unit length.
        """

    def neighbours(self, ids: NDArray[np.int64], k: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Find scores (n, k) and ids (n, k) of the photos that look most like each of those with `ids` (n,).

        Best first, equal ones by id; -inf and -1 where there are fewer, or the photo was removed meanwhile.
        """

    def most_probable(self, selection: Selection, k: int) -> list[SearchResult]:
        """Find the k photos with the largest probability of the selected classes, which is their score; ties by path.

        Raises PhotoIndexError for a folder that is not known.
        """

    def roots(self) -> list[Path]:
        """List the folders that were indexed; one inside another is part of that one."""

    def numbered_roots(self) -> dict[int, Path]:
        """List them by number."""

    def problems(self) -> list[IndexProblem]:
        """Find what is wrong with what is stored."""

    def summary(self) -> IndexSummary:
        """Describe the state of the index."""

    def close(self) -> None:
        """Close what it holds open."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class FillableIndex(SearchableIndex, Protocol):
    """An index that `fc7 index` brings up to date with folders."""

    def set_kind(self, kind: str) -> None:
        """Choose the kind of index. Raises OptionError for one that there is not here."""

    def set_exclude(self, patterns: Sequence[str]) -> None:
        """Choose the patterns, as in a .gitignore, of what callers leave out of folders from the next sync on."""

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
        """Compare a folder with what is known of it; see `IndexWriter.begin_sync`."""
