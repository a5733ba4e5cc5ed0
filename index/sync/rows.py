"""What a sync needs of the rows of a folder, wherever they are kept: in a catalogue, or in Milvus."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from index.catalog.catalog import Catalog
from index.catalog.changes import change_photos, claim_root, known_files, row_with_content
from index.catalog.queries import paths_with_content
from index.catalog.rows import PhotoRow
from index.records import FileStamp
from index.sync.plan import KnownFile


class FolderRows(Protocol):
    """The rows of the photos in a folder, whose paths are relative to it."""

    @property
    def dim(self) -> int:
        """The number of values of an embedding."""

    def known(self) -> Mapping[bytes, KnownFile]:
        """Read what is known of the files in the folder, by path."""

    def row_with_content(self, content_hash: bytes) -> PhotoRow | None:
        """Find a photo with an embedding whose file had this content, in any folder."""

    def paths_with_content(self, content_hash: bytes) -> Sequence[bytes]:
        """List the absolute paths of all such photos."""

    def change(
        self,
        *,
        put: Sequence[PhotoRow] = (),
        moved: Sequence[tuple[int, bytes, FileStamp]] = (),
        removed: Sequence[int] = (),
        thumbnails: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        """Change rows. A row of `put` replaces the one with the same path.

        `moved` are ids, perhaps from another folder, with their new path and stamp. `thumbnails` have the content hash
        of their photos.
        """


class Derived(Protocol):
    """What is derived from all rows, and brought up to date when folders were changed."""

    def update(self) -> None:
        """Bring it up to date. Raises IndexStorageError."""


class CatalogRows:
    """Rows of the catalogue; `folder` (absolute) becomes a root if it lies in none. Each change is a transaction."""

    def __init__(self, catalog: Catalog, folder: bytes) -> None:
        self._catalog = catalog
        self._root_id, self._below = claim_root(catalog, folder)
        self.dim = catalog.state().dim

    def known(self) -> Mapping[bytes, KnownFile]:
        """Read what is known of the files in the folder, by path."""
        return known_files(self._catalog, self._root_id, self._below)

    def row_with_content(self, content_hash: bytes) -> PhotoRow | None:
        """Find a photo with an embedding whose file had this content."""
        return row_with_content(self._catalog, content_hash)

    def paths_with_content(self, content_hash: bytes) -> Sequence[bytes]:
        """List the absolute paths of all such photos."""
        return paths_with_content(self._catalog, content_hash)

    def change(
        self,
        *,
        put: Sequence[PhotoRow] = (),
        moved: Sequence[tuple[int, bytes, FileStamp]] = (),
        removed: Sequence[int] = (),
        thumbnails: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        """See `FolderRows`."""
        change_photos(
            self._catalog,
            self._root_id,
            put=[replace(row, path=self._below + row.path) for row in put],
            moved=[(id, self._below + path, stamp) for id, path, stamp in moved],
            removed=removed,
            thumbnails=thumbnails,
        )
