"""What an index stores of its photos so that copies among them are found."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from index.catalog import queries
from index.catalog.catalog import Catalog
from index.catalog.different import Pair, read_different
from index.catalog.measured import keep_measured, measured_of
from index.catalog.thumbnails import keep_thumbnails, thumbnails_of


class StoredCopies:
    """Contents, thumbnails, and what was found out about them; `PhotoIndex.copies`.

    It is kept by content hash. A reader of the index can add to it too; where another process holds the lock, it is
    computed again by the next search for copies.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def contents(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Read the ids (n,) that `StoredPhotos.ids` gives, and the smallest id (n,) of a photo with the same bytes."""
        return queries.contents(self._catalog)

    def different(self) -> set[Pair]:
        """Read the pairs of photos that people said to be no copies; `pairs_of` makes such pairs."""
        return read_different(self._catalog)

    def thumbnails(self, ids: NDArray[np.int64]) -> dict[int, bytes]:
        """Read the thumbnails of photos with these ids (n,), by id, of those that have one."""
        return thumbnails_of(self._catalog, ids)

    def keep_thumbnails(self, thumbnails: Sequence[tuple[bytes, bytes]]) -> bool:
        """Store thumbnails by content hash; False where that cannot be done now, because of a writer or of rights."""
        return keep_thumbnails(self._catalog.path, thumbnails)

    def measured(self, kind: str, ids: NDArray[np.int64]) -> dict[int, bytes]:
        """Read what of this kind was kept of photos with these ids (n,), by id, of those that have it."""
        return measured_of(self._catalog, kind, ids)

    def keep_measured(self, kind: str, values: Sequence[tuple[bytes, bytes]]) -> bool:
        """Keep values by content hash; False where that cannot be done now, because of a writer or of rights."""
        return keep_measured(self._catalog.path, kind, values)
