"""The thumbnails of indexed photos: from the catalogue where they are stored, else made of the files and stored.

What is looked at of every photo, a smaller picture and whether it is flat, is stored too: a second search for copies
then decodes no thumbnail.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from index.errors import PhotoError
from index.records import IndexedFile
from index.searchable import SearchableIndex
from retrieval.duplicates.likeness import is_flat, small_pictures
from retrieval.duplicates.remembered import SMALL, NearHashes, Remembered
from retrieval.duplicates.windows import PHOTOS
from retrieval.photos.files import current_stamp, read_stamped
from retrieval.photos.thumbnail import SIDE, decode, encode, thumbnail
from retrieval.pipeline.executor import in_threads, prepare_photos
from retrieval.pipeline.memory import decode_within_budget

PHOTOS_AT_ONCE = 512
DECODED_AT_ONCE = 64


class PhotoPictures:
    """Pictures of photos with sorted `ids` (n,): `small` (n, 32, 32), and whether each was `seen` and is `flat` (n,).

    `contents` are the hashes of their files, empty where there is none; `enlarged` (n,) says whether the whole photo
    has fewer pixels than its thumbnail, across and down.

    A photo is not seen if its file cannot be read, or has changed since it was indexed. Whole thumbnails are read
    again when they are needed, so that memory holds 1 kB of each photo.
    """

    def __init__(
        self, index: SearchableIndex, ids: NDArray[np.int64], count: Callable[[int], None] | None = None
    ) -> None:
        """Look at all photos; `count` is told how many were."""
        self.ids = ids
        self.small = np.zeros((len(ids), PHOTOS.side, PHOTOS.side), dtype=np.uint8)
        self.contents = [b""] * len(ids)
        self.seen, self.flat, self.enlarged = (np.zeros(len(ids), dtype=bool) for _ in range(3))
        self._index = index
        # Where the index cannot be written.
        self._not_stored: dict[int, bytes] = {}
        for start in range(0, len(ids), PHOTOS_AT_ONCE):
            block = ids[start : start + PHOTOS_AT_ONCE]
            files = index.photos.files(block)
            self._look_at(files, index.copies.measured(SMALL, block), count)
            if count is not None:
                count(len(block) - len(files))

    def thumbnails(self, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Read the thumbnails (m, SIDE, SIDE) of photos by their place in `ids`; those gone meanwhile are black."""
        found = np.zeros((len(numbers), SIDE, SIDE), dtype=np.uint8)
        for start in range(0, len(numbers), PHOTOS_AT_ONCE):
            ids = self.ids[numbers[start : start + PHOTOS_AT_ONCE]]
            pictures = dict(self._thumbnails_of(self._index.photos.files(ids), None))
            for place, id in enumerate(ids.tolist(), start=start):
                if id in pictures:
                    found[place] = pictures[id]
        return found

    def remembered(self, kind: str) -> Remembered:
        """Return what is remembered of these photos."""
        return Remembered(self._index, kind, self.ids, self.contents)

    def near_hashes(self) -> NearHashes:
        """Return which of these photos were found to have the nearest hashes."""
        return NearHashes(self._index, self.ids, self.contents)

    def _look_at(
        self, files: Sequence[IndexedFile], kept: Mapping[int, bytes], count: Callable[[int], None] | None
    ) -> None:
        left = []
        for file in files:
            place = int(np.searchsorted(self.ids, file.id))
            self.contents[place] = file.content_hash or b""
            self.enlarged[place] = max(file.width, file.height) <= SIDE
            data = kept.get(file.id, b"")
            if len(data) != 1 + self.small[place].size:
                left.append(file)
                continue
            if current_stamp(file.path) == file.stamp:
                self.flat[place], self.seen[place] = data[0], True
                self.small[place] = np.frombuffer(data, np.uint8, offset=1).reshape(self.small[place].shape)
            if count is not None:
                count(1)
        pictures = dict(self._thumbnails_of(left, count))
        if pictures:
            places = np.searchsorted(self.ids, list(pictures))
            every = np.stack(list(pictures.values()))
            made = [every[part] for part in _parts(len(every))]
            self.small[places] = np.concatenate(list(in_threads(lambda part: np.rint(small_pictures(part)), made)))
            self.flat[places] = np.concatenate(list(in_threads(is_flat, made)))
            self.seen[places] = True
            # Without a stored thumbnail it would be taken for one that is.
            stored = [place for id, place in zip(pictures, places.tolist(), strict=True) if id not in self._not_stored]
            values = [
                (self.contents[place], self.flat[place].tobytes() + self.small[place].tobytes()) for place in stored
            ]
            self._index.copies.keep_measured(SMALL, [value for value in values if value[0]])

    def _thumbnails_of(
        self, files: Sequence[IndexedFile], count: Callable[[int], None] | None
    ) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Yield the thumbnails of those that can be read and are unchanged; one that is none is made again."""
        data = self._index.copies.thumbnails(np.array([file.id for file in files], dtype=np.int64)) | self._not_stored
        pictures = _decoded([data.get(file.id) for file in files])
        stored = {file.id: picture for file, picture in zip(files, pictures, strict=True) if picture is not None}
        for file in files:
            if file.id in stored and current_stamp(file.path) == file.stamp:
                yield file.id, stored[file.id]
            if file.id in stored and count is not None:
                count(1)
        made: dict[int, bytes] = {}
        hashes: list[tuple[bytes, bytes]] = []
        for file, thumbnail_data in prepare_photos((file for file in files if file.id not in stored), _thumbnail_of):
            if not isinstance(thumbnail_data, PhotoError) and (picture := decode(thumbnail_data)) is not None:
                made[file.id] = thumbnail_data
                if file.content_hash is not None:
                    hashes.append((file.content_hash, thumbnail_data))
                yield file.id, picture
            if count is not None:
                count(1)
        if made and not self._index.copies.keep_thumbnails(hashes):
            self._not_stored |= made


def _decoded(thumbnails: Sequence[bytes | None]) -> list[NDArray[np.uint8] | None]:
    """Decode thumbnails in threads; None for what is none."""

    def decode_some(part: Sequence[bytes | None]) -> list[NDArray[np.uint8] | None]:
        return [None if data is None else decode(data) for data in part]

    parts = [thumbnails[part] for part in _parts(len(thumbnails))]
    return [picture for part in in_threads(decode_some, parts) for picture in part]


def _parts(count: int) -> list[slice]:
    return [slice(start, start + DECODED_AT_ONCE) for start in range(0, count, DECODED_AT_ONCE)]


def _thumbnail_of(file: IndexedFile) -> bytes:
    data, stamp = read_stamped(file.path)
    if stamp != file.stamp:
        raise PhotoError("it has changed since it was indexed")
    return decode_within_budget(data, lambda photo: encode(thumbnail(photo.image)), shorter_side=SIDE)
