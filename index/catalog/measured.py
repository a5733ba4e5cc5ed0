"""What was measured of photos when copies were looked for, by the content of their files: kept, and never needed."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from index.catalog.catalog import Catalog, write_if_possible

# Of a photo that was removed or changed meanwhile nothing is kept: nothing would ever remove it.
KEEP_MEASURED = (
    "INSERT OR REPLACE INTO measured (content_hash, kind, value) SELECT ?1, ?2, ?3 WHERE EXISTS"
    " (SELECT 1 FROM photos WHERE content_hash = ?1 AND embedding IS NOT NULL)"
)


def measured_of(catalog: Catalog, kind: str, ids: NDArray[np.int64]) -> dict[int, bytes]:
    """Read what of this kind was kept of the photos with these ids (n,), by id, of those that have it."""
    return dict(
        catalog.rows(
            "SELECT id, value FROM photos JOIN measured USING (content_hash)"
            " WHERE kind = ? AND embedding IS NOT NULL AND id IN (SELECT value FROM json_each(?))",
            (kind, json.dumps(ids.tolist())),
        )
    )


def keep_measured(path: Path, kind: str, values: Sequence[tuple[bytes, bytes]]) -> bool:
    """Keep values of one kind, with the content hashes of their photos, in the catalogue at `path`.

    False where it cannot be written now: a reader can do without, and measures again the next time.
    """
    return write_if_possible(path, KEEP_MEASURED, ((content, kind, value) for content, value in values))
