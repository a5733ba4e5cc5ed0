"""Opening an index, wherever it is."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from index.errors import OptionError
from index.index_writer import IndexWriter
from index.milvus.place import Consistency, IndexLocation, MilvusPlace
from index.photo_index import PhotoIndex
from index.searchable import SearchableIndex

if TYPE_CHECKING:
    from index.milvus.milvus_index import MilvusIndex


def open_index(
    place: IndexLocation,
    *,
    fingerprint: str | None = None,
    device: str = "cpu",
    consistency: Consistency | None = None,
    warn: Callable[[str], None] | None = None,
) -> SearchableIndex:
    """Open the index in a folder, as `PhotoIndex.open`, or in Milvus, as `MilvusIndex.open`. Raises what these do.

    Raises OptionError for a `consistency` of an index in a folder, which is always the strong one.
    """
    if isinstance(place, MilvusPlace):
        from index.milvus.milvus_index import MilvusIndex  # most have none

        index = MilvusIndex.open(place, fingerprint=fingerprint, consistency=consistency or "bounded")
        if not index.complete and warn is not None:
            warn(f"{index.filled_by} has not finished filling {place}, so photos may be missing.")
        return index
    if consistency is not None:
        raise OptionError(
            "how consistent a search is can be chosen for an index in Milvus; one in a folder always sees all",
            hint="leave out --consistency",
        )
    return PhotoIndex.open(place, fingerprint=fingerprint, device=device, warn=warn)


def open_to_forget(place: IndexLocation) -> "IndexWriter | MilvusIndex":
    """Open the index in a folder, as `IndexWriter.open_to_edit`, or in Milvus, as `MilvusIndex.open_to_edit`."""
    if isinstance(place, MilvusPlace):
        from index.milvus.milvus_index import MilvusIndex

        return MilvusIndex.open_to_edit(place)
    return IndexWriter.open_to_edit(place)
