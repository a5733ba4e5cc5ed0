"""Remembers how alike photos are, by the content of their files, so that a second run compares only what is new."""

import json
import secrets
from dataclasses import astuple

import numpy as np
from numpy.typing import NDArray

from index.errors import PhotoError
from index.records import IndexedFile
from index.searchable import SearchableIndex
from retrieval.duplicates.near import NONE, Near
from retrieval.duplicates.quality import Quality, quality_of
from retrieval.photos.files import current_stamp

# The numbers are raised when the way of measuring changes: what was kept by another way is not read.
LIKENESS, WINDOWS, QUALITY = "likeness 3", "windows 2", "quality 1"
SMALL, NEAR = "small 1", "near 1"

PHOTOS_AT_ONCE = 2048
MOST_KEPT = 4096
"""Values kept with one photo; the oldest are forgotten, those of photos that are gone among them."""

# The first 8 bytes of the hash of the other's content are enough to tell some thousand photos apart.
_ENTRY = np.dtype([("other", "<u8"), ("value", "<f4")])
# With a document there are many values, which only propose what is compared: half as many bytes do.
_SHORT = np.dtype([("other", "<u4"), ("value", "<f2")])
_NEAR_ENTRY = np.dtype([("other", "<u8"), ("different", "u1")])


class Remembered:
    """Values of one kind for pairs of photos, numbered by their place in `ids` (n,), with `contents` (n of them)."""

    def __init__(self, index: SearchableIndex, kind: str, ids: NDArray[np.int64], contents: list[bytes]) -> None:
        self._index, self._kind, self._ids, self._contents = index, kind, ids, contents
        self._entry = _SHORT if kind == WINDOWS else _ENTRY
        keys = np.array([_key(content) for content in contents], dtype=np.uint64)
        self._keys = keys.astype(self._entry["other"])

    def values(self, pairs: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the value of each pair (m, 2), kept with its first photo: (m,), NaN where there is none."""
        found = np.full(len(pairs), np.nan, dtype=np.float32)
        for sources, rows in _by_first(pairs):
            kept = self._index.copies.measured(self._kind, self._ids[sources])
            for source, own in zip(sources.tolist(), rows, strict=True):
                if (data := kept.get(int(self._ids[source]))) is not None:
                    entries = np.frombuffer(data, self._entry)
                    # Sorting whole entries would take ten times as long.
                    order = np.argsort(entries["other"], kind="stable")
                    sorted_keys, others = entries["other"][order], self._keys[pairs[own, 1]]
                    at = np.searchsorted(sorted_keys, others).clip(max=len(entries) - 1)
                    known = sorted_keys[at] == others
                    found[own[known]] = entries["value"][order[at[known]]]
        return found

    def keep(self, pairs: NDArray[np.int64], values: NDArray[np.float32]) -> None:
        """Keep the values (m,) of pairs (m, 2), each new, where the index can be written."""
        for sources, rows in _by_first(pairs):
            kept = self._index.copies.measured(self._kind, self._ids[sources])
            changed = []
            for source, own in zip(sources.tolist(), rows, strict=True):
                entries = np.empty(len(own), dtype=self._entry)
                entries["other"], entries["value"] = self._keys[pairs[own, 1]], values[own]
                data = kept.get(int(self._ids[source]), b"") + entries.tobytes()
                if self._contents[source]:
                    changed.append((self._contents[source], data[-MOST_KEPT * self._entry.itemsize :]))
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


class NearHashes:
    """The nearest hashes of photos, numbered by their place in `ids` (n,), with `contents` (n of them).

    With each photo goes the name of the search that found them: all photos with one name were compared with each other.
    """

    def __init__(self, index: SearchableIndex, ids: NDArray[np.int64], contents: list[bytes]) -> None:
        self._index, self._ids, self._contents = index, ids, contents

    def read(self, numbers: NDArray[np.int64], most: int) -> tuple[NDArray[np.bool_], Near]:
        """Tell which of these photos (m,) were compared with each other, and which `most` were nearest to them."""
        near = Near.nothing(len(numbers), most)
        searches = np.zeros(len(numbers), dtype=np.uint64)
        places = {_key(self._contents[number]): number for number in numbers.tolist() if self._contents[number]}
        for start in range(0, len(numbers), PHOTOS_AT_ONCE):
            kept = self._index.copies.measured(NEAR, self._ids[numbers[start : start + PHOTOS_AT_ONCE]])
            for row, id in enumerate(self._ids[numbers[start : start + PHOTOS_AT_ONCE]].tolist(), start=start):
                if (data := kept.get(id)) is None:
                    continue
                entries = np.frombuffer(data, _NEAR_ENTRY, offset=8)[:most]
                found = [places.get(key, -1) for key in entries["other"].tolist()]
                # Of a full list from which photos are gone, others may be near that are not in it.
                if len(found) < most or -1 not in found:
                    searches[row] = int.from_bytes(data[:8], "little")
                    near.numbers[row, : len(found)] = found
                    near.different[row, : len(found)] = np.where(np.array(found) < 0, NONE, entries["different"])
        names, counts = np.unique(searches[searches > 0], return_counts=True)
        compared: NDArray[np.bool_] = searches == names[counts.argmax()] if len(names) else searches > 0
        return compared, near

    def keep(self, numbers: NDArray[np.int64], near: Near) -> None:
        """Keep what was found for these photos (m,), all compared with each other, where the index can be written."""
        search = secrets.token_bytes(8)
        values = []
        for row, number in enumerate(numbers.tolist()):
            found = [at for at in np.flatnonzero(near.numbers[row] >= 0) if self._contents[near.numbers[row, at]]]
            entries = np.empty(len(found), dtype=_NEAR_ENTRY)
            entries["other"] = [_key(self._contents[other]) for other in near.numbers[row, found].tolist()]
            entries["different"] = near.different[row, found]
            if self._contents[number]:
                values.append((self._contents[number], search + entries.tobytes()))
        self._index.copies.keep_measured(NEAR, values)


def _key(content: bytes) -> int:
    return int.from_bytes(content[:8], "little")


class Qualities:
    """Judges photos, and remembers it."""

    def __init__(self, index: SearchableIndex, ids: NDArray[np.int64]) -> None:
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
