"""Remembers how alike photos are, by the content of their files, so that a second run compares only what is new."""

import json
from dataclasses import astuple

import numpy as np
from numpy.typing import NDArray

from index.errors import PhotoError
from index.photo_index import PhotoIndex
from index.records import IndexedFile
from retrieval.duplicates.quality import Quality, quality_of
from retrieval.photos.files import current_stamp

# The numbers are raised when the way of measuring changes: what was kept by another way is not read.
LIKENESS, WINDOWS, QUALITY = "likeness 1", "windows 1", "quality 1"

PHOTOS_AT_ONCE = 2048
MOST_KEPT = 4096
"""Values kept with one photo; the oldest are forgotten, those of photos that are gone among them."""

# The first 8 bytes of the hash of the other's content are enough to tell some thousand photos apart.
_ENTRY = np.dtype([("other", "<u8"), ("value", "<f4")])


class Remembered:
    """Values of one kind for pairs of photos, numbered by their place in `ids` (n,), with `contents` (n of them)."""

    def __init__(self, index: PhotoIndex, kind: str, ids: NDArray[np.int64], contents: list[bytes]) -> None:
        self._index, self._kind, self._ids, self._contents = index, kind, ids, contents
        self._keys = np.array([int.from_bytes(content[:8], "little") for content in contents], dtype=np.uint64)

    def values(self, pairs: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the value of each pair (m, 2), kept with its first photo: (m,), NaN where there is none."""
        found = np.full(len(pairs), np.nan, dtype=np.float32)
        for sources, rows in _by_first(pairs):
            kept = self._index.copies.measured(self._kind, self._ids[sources])
            for source, own in zip(sources.tolist(), rows, strict=True):
                if (data := kept.get(int(self._ids[source]))) is not None:
                    entries = np.sort(np.frombuffer(data, _ENTRY), order="other")
                    others = self._keys[pairs[own, 1]]
                    at = np.searchsorted(entries["other"], others).clip(max=len(entries) - 1)
                    known = entries["other"][at] == others
                    found[own[known]] = entries["value"][at[known]]
        return found

    def keep(self, pairs: NDArray[np.int64], values: NDArray[np.float32]) -> None:
        """Keep the values (m,) of pairs (m, 2), each new, where the index can be written."""
        for sources, rows in _by_first(pairs):
            kept = self._index.copies.measured(self._kind, self._ids[sources])
            changed = []
            for source, own in zip(sources.tolist(), rows, strict=True):
                entries = np.empty(len(own), dtype=_ENTRY)
                entries["other"], entries["value"] = self._keys[pairs[own, 1]], values[own]
                data = kept.get(int(self._ids[source]), b"") + entries.tobytes()
                if self._contents[source]:
                    changed.append((self._contents[source], data[-MOST_KEPT * _ENTRY.itemsize :]))
            if not self._index.copies.keep_measured(self._kind, changed):
                return

    def by_content(self, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
        """Bring the photos of pairs (m, 2) into an order that their places in the index do not change."""
        first, second = self._keys[pairs.T] if len(pairs) else (np.empty(0), np.empty(0))
        return np.where((first > second)[:, None], pairs[:, ::-1], pairs)


def _by_first(pairs: NDArray[np.int64]) -> list[tuple[NDArray[np.int64], list[NDArray[np.int64]]]]:
    """Divide the rows of pairs by their first photo: some thousand photos at once, and the rows of each."""
    if not len(pairs):
        return []
    order = np.argsort(pairs[:, 0], kind="stable")
    sources, begins = np.unique(pairs[order, 0], return_index=True)
    rows = np.split(order, begins[1:])
    return [
        (sources[at : at + PHOTOS_AT_ONCE], rows[at : at + PHOTOS_AT_ONCE])
        for at in range(0, len(rows), PHOTOS_AT_ONCE)
    ]


class Qualities:
    """Judges photos, and remembers it."""

    def __init__(self, index: PhotoIndex, ids: NDArray[np.int64]) -> None:
        """Read what is known of the photos with these ids (n,)."""
        self._index = index
        self._kept: dict[int, Quality] = {}
        self._new: dict[bytes, bytes] = {}
        for start in range(0, len(ids), PHOTOS_AT_ONCE):
            for id, data in index.copies.measured(QUALITY, ids[start : start + PHOTOS_AT_ONCE]).items():
                self._kept[id] = Quality(*json.loads(data))

    def of(self, file: IndexedFile) -> Quality:
        """Judge the file of a photo, as `quality_of`; it may run in several threads."""
        if file.id in self._kept:
            if current_stamp(file.path) != file.stamp:
                raise PhotoError("it has changed since it was indexed")
            return self._kept[file.id]
        quality = quality_of(file)
        if file.content_hash is not None:
            self._new[file.content_hash] = json.dumps(astuple(quality)).encode()
        return quality

    def keep(self) -> None:
        """Keep what is new, where the index can be written."""
        if self._new:
            self._index.copies.keep_measured(QUALITY, list(self._new.items()))
