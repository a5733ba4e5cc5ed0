"""What an index needs of its vectors, wherever they are kept: the store proposes, the catalogue ranks."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from index.catalog.catalog import CatalogState
from index.vectors.kinds import Built

# Two sums of float32 products in different order, as FAISS may take them, differ by less than this for unit vectors.
ROUNDING = 1e-5


class VectorStore(Protocol):
    """The vectors of one catalogue, each under the id of its photo; everything in it can be made from the catalogue.

    A `state` is that of the snapshot of the catalogue around the call. The answer is of that state: the store reads by
    itself what has changed since it last looked. It returns ids only. Their scores are computed from the embeddings in
    the catalogue (`index.exact_search`), so a store may round its vectors.
    """

    def candidates(
        self, state: CatalogState, queries: NDArray[np.float32], k: int, *, recall: float | None = None
    ) -> list[NDArray[np.int64]] | None:
        """Propose for each query (m, dim) ids that hold its k best; None if all photos should be compared instead.

        An exact store adds all that ROUNDING cannot tell from the k-th. Copies of a photo have equal scores, so
        without these chance would decide which copies are found. An approximate one finds the share `recall` of the
        best on average; None means as much as is usual. Raises ValueError for queries of another `dim`.
        """

    def nearest(self, state: CatalogState, queries: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """Propose for the embeddings (m, dim) of stored photos ids (m, n) that hold the photo and its k nearest.

        Ids are -1 where fewer were found. They are in no order.
        """

    def update(self) -> None:
        """Store what has changed in the catalogue; for the writer, outside of a snapshot. Raises IndexStorageError."""

    def rebuild(self, state: CatalogState) -> None:
        """Make the store again from the catalogue, for the writer. Raises IndexStorageError and UserError."""

    def save_if_far_behind(self) -> None:
        """Store what a reader had to take in, if it was so much that it should spare the next reader the work."""

    def describe(self) -> Built:
        """Say what kind of index was built, and how well it finds."""

    def problems(self, state: CatalogState) -> Iterator[str]:
        """Compare everything that is stored with the catalogue, and say what is wrong."""
