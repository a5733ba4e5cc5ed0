"""What a search needs of an index, wherever that is: `PhotoIndex` in a folder, `MilvusIndex` on a server."""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from index.catalog.selection import Selection
from index.records import IndexProblem, IndexSummary, SearchResult, StoredPhoto


class SearchablePhotos(Protocol):
    """The photos of an index."""

    def at(self, path: Path) -> StoredPhoto | None:
        """Read what is known of a photo; compare its stamp to tell whether the file has changed since."""

    def knows(self, path: Path) -> bool:
        """Tell whether this is an indexed folder or photo, or has one below it."""

    def count_contents(self, hashes: Sequence[bytes]) -> dict[bytes, int]:
        """Count the photos that can be found whose files had this content, for each hash."""

    def count_undated(self) -> int:
        """Count the photos of which nobody has looked yet when they were taken: an older fc7 indexed them."""

    def random_paths(self, count: int, random: Random) -> list[Path]:
        """Draw the paths of at most `count` photos that have an embedding."""


class LabelNames(Protocol):
    """The labels that the user has taught."""

    def names(self) -> list[str]:
        """List the names, sorted."""


class SearchableIndex(Protocol):
    """Photos by what they look like: found, described, checked. A context manager, for one thread."""

    @property
    def photos(self) -> SearchablePhotos:
        """Its photos."""

    @property
    def own_labels(self) -> LabelNames:
        """The labels that the user has taught."""

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

    def most_probable(self, selection: Selection, k: int) -> list[SearchResult]:
        """Find the k photos with the largest probability of the selected classes, which is their score; ties by path.

        Raises PhotoIndexError for a folder that is not known.
        """

    def roots(self) -> list[Path]:
        """List the folders that were indexed; one inside another is part of that one."""

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
