"""The thumbnails of indexed photos: from the catalogue where they are stored, else made of the files and stored."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from index.errors import PhotoError
from index.photo_index import PhotoIndex
from index.records import IndexedFile
from retrieval.duplicates.likeness import is_flat, small_pictures
from retrieval.duplicates.remembered import Remembered
from retrieval.duplicates.windows import PHOTOS
from retrieval.photos.files import current_stamp, read_stamped
from retrieval.photos.thumbnail import SIDE, decode, encode, thumbnail
from retrieval.pipeline.executor import prepare_photos
from retrieval.pipeline.memory import decode_within_budget

PHOTOS_AT_ONCE = 512


class PhotoPictures:
    """Pictures of photos with sorted `ids` (n,): `small` (n, 32, 32), and whether each was `seen` and is `flat` (n,).

    `contents` are the hashes of their files, empty where there is none.

    A photo is not seen if its file cannot be read, or has changed since it was indexed. Whole thumbnails are read
    again when they are needed, so that memory holds 1 kB of each photo.
    """

    def __init__(self, index: PhotoIndex, ids: NDArray[np.int64], count: Callable[[int], None] | None = None) -> None:
        """Look at all photos; `count` is told how many were."""
        self.ids = ids
        self.small = np.zeros((len(ids), PHOTOS.side, PHOTOS.side), dtype=np.uint8)
        self.contents = [b""] * len(ids)
        self.seen, self.flat = np.zeros(len(ids), dtype=bool), np.zeros(len(ids), dtype=bool)
        self._index = index
        # Where the index cannot be written.
        self._not_stored: dict[int, bytes] = {}
        for start in range(0, len(ids), PHOTOS_AT_ONCE):
            block = ids[start : start + PHOTOS_AT_ONCE]
            pictures = dict(self._look_at(block, count))
            if pictures:
                places, made = np.searchsorted(ids, list(pictures)), np.stack(list(pictures.values()))
                self.small[places] = np.rint(small_pictures(made))
                self.flat[places] = is_flat(made)
                self.seen[places] = True
            if count is not None:
                count(len(block) - len(self._index.photos.files(block)))

    def thumbnails(self, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Read the thumbnails (m, SIDE, SIDE) of photos by their place in `ids`; those gone meanwhile are black."""
        found = np.zeros((len(numbers), SIDE, SIDE), dtype=np.uint8)
        for start in range(0, len(numbers), PHOTOS_AT_ONCE):
            ids = self.ids[numbers[start : start + PHOTOS_AT_ONCE]]
            stored = self._index.copies.thumbnails(ids)
            for place, id in enumerate(ids.tolist(), start=start):
                data = self._not_stored.get(id) or stored.get(id)
                if data is not None and (picture := decode(data)) is not None:
                    found[place] = picture
        return found

    def remembered(self, kind: str) -> Remembered:
        """Return what is remembered of these photos."""
        return Remembered(self._index, kind, self.ids, self.contents)

    def _look_at(
        self, ids: NDArray[np.int64], count: Callable[[int], None] | None
    ) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        files = self._index.photos.files(ids)
        for file in files:
            self.contents[int(np.searchsorted(self.ids, file.id))] = file.content_hash or b""
        stored = {
            id: picture
            for id, data in self._index.copies.thumbnails(ids).items()
            if (picture := decode(data)) is not None
        }
        for file in files:
            if file.id in stored and current_stamp(file.path) == file.stamp:
                yield file.id, stored[file.id]
            if file.id in stored and count is not None:
                count(1)
        made: dict[int, bytes] = {}
        hashes: list[tuple[bytes, bytes]] = []
        for file, data in prepare_photos((file for file in files if file.id not in stored), _thumbnail_of):
            if not isinstance(data, PhotoError) and (picture := decode(data)) is not None:
                made[file.id] = data
                if file.content_hash is not None:
                    hashes.append((file.content_hash, data))
                yield file.id, picture
            if count is not None:
                count(1)
        if made and not self._index.copies.keep_thumbnails(hashes):
            self._not_stored |= made


def _thumbnail_of(file: IndexedFile) -> bytes:
    data, stamp = read_stamped(file.path)
    if stamp != file.stamp:
        raise PhotoError("it has changed since it was indexed")
    return decode_within_budget(data, lambda photo: encode(thumbnail(photo.image)), shorter_side=SIDE)
