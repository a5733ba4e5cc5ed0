"""Thumbnails of photos in the catalogue, by the content of their files.

An index made by an older version has none. They are made when they are first needed, by `fc7 duplicates`.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from index.catalog.catalog import Catalog, write_if_possible

PUT_THUMBNAIL = "INSERT OR REPLACE INTO thumbnails (content_hash, jpeg) VALUES (?, ?)"
# Of a photo that was removed or changed meanwhile none is kept: nothing would ever remove it.
KEEP_THUMBNAIL = (
    "INSERT OR REPLACE INTO thumbnails (content_hash, jpeg) SELECT ?1, ?2 WHERE EXISTS"
    " (SELECT 1 FROM photos WHERE content_hash = ?1 AND embedding IS NOT NULL)"
)


def thumbnails_of(catalog: Catalog, ids: NDArray[np.int64]) -> dict[int, bytes]:
    """Read the thumbnails of the photos with these ids (n,), by id, of those that have one."""
    return dict(
        catalog.rows(
            "SELECT id, jpeg FROM photos JOIN thumbnails USING (content_hash)"
            " WHERE embedding IS NOT NULL AND id IN (SELECT value FROM json_each(?))",
            (json.dumps(ids.tolist()),),
        )
    )


def keep_thumbnails(path: Path, thumbnails: Sequence[tuple[bytes, bytes]]) -> bool:
    """Store thumbnails, with the content hashes of their photos, in the catalogue at `path`.

    False where it cannot be written now: a reader can do without, and makes them again the next time.
    """
    return write_if_possible(path, KEEP_THUMBNAIL, thumbnails)
