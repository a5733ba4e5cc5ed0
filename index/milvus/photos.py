"""The photos of a collection by path and by content; and the labels that were copied with them."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from index.files import absolute, path_below
from index.milvus.collection import PAGE, MilvusCollection
from index.milvus.filters import ID, PATH, at_or_below, at_path, decoded_path
from index.milvus.rows import ALL_COLUMNS, HASH, hash_in, unpacked
from index.object_path import as_path
from index.records import StoredPhoto

HASHES_AT_ONCE = 256
DRAWN = 4
"""Ids that are drawn for each photo that is wanted: some are of no photo any more."""


class RemotePhotos:
    """See `SearchablePhotos`."""

    def __init__(self, collection: MilvusCollection) -> None:
        self._collection = collection

    def at(self, path: Path) -> StoredPhoto | None:
        """Read what is known of a photo; its labels are not stored in the order of their probability, so not read."""
        row = self._collection.first(at_path(os.fsencode(absolute(path))), ALL_COLUMNS)
        if row is None:
            return None
        photo = unpacked(row)
        return StoredPhoto(
            id=photo.id,
            path=as_path(photo.path),
            stamp=photo.stamp,
            content_hash=photo.content_hash,
            width=photo.width,
            height=photo.height,
            embedding=photo.embedding,
            labels=None,
            skipped=None,
        )

    def knows(self, path: Path) -> bool:
        """Tell whether this is an indexed folder or photo, or has one below it."""
        place = os.fsencode(absolute(path))
        roots = (os.fsencode(root) for root in self._collection.state.root_paths)
        return any(path_below(root, place) is not None for root in roots) or self.any_at(path)

    def any_at(self, path: Path) -> bool:
        """Tell whether this is an indexed photo, or has one below it."""
        return self._collection.first(at_or_below(os.fsencode(absolute(path)))) is not None

    def count_contents(self, hashes: Sequence[bytes]) -> dict[bytes, int]:
        """Count the photos that can be found whose files had this content, for each hash."""
        counts = Counter[bytes]()
        for start in range(0, len(hashes), HASHES_AT_ONCE):
            among = ", ".join(f'"{content.hex()}"' for content in hashes[start : start + HASHES_AT_ONCE])
            for rows in self._collection.rows(f"{HASH} in [{among}]", [HASH]):
                counts.update(content for row in rows if (content := hash_in(row)) is not None)
        return dict(counts)

    def count_undated(self) -> int:
        """Return 0: of a photo without a date, Milvus does not know whether anybody has looked for one."""
        return 0

    def random_paths(self, count: int, random: Random) -> list[Path]:
        """Draw the paths of at most `count` photos; of a large collection, with many removed ones, perhaps fewer."""
        last = self._collection.state.last_id
        wanted = range(1, last + 1)
        ids = wanted if last <= PAGE else sorted(random.sample(wanted, min(DRAWN * count, PAGE)))
        if not ids:
            return []
        found: list[dict[str, Any]] = []
        for rows in self._collection.rows(f"{ID} in {list(ids)}", [PATH]):
            found += rows
        paths = [as_path(decoded_path(row[PATH])) for row in found]
        return random.sample(paths, min(count, len(paths)))


class CopiedLabels:
    """The user's own labels that were copied, which Milvus has as classes of photos."""

    def __init__(self, collection: MilvusCollection) -> None:
        self._collection = collection

    def names(self) -> list[str]:
        """List the names, sorted."""
        stored = self._collection.state.own_labels
        return sorted(decoded_path(name).decode("utf-8", "surrogatepass") for name in stored)
