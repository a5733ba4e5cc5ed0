"""Photos of the index: which one a client means, where its file really lies, and what the page says of it.

Whatever looks at a disk here may wait for it, as for a drive on the net: it belongs into a thread.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from index.errors import PhotoIndexError
from index.files import absolute
from index.object_path import ObjectPath, as_path
from index.records import FileStamp, IndexedFile
from index.searchable import SearchableIndex
from retrieval.answers import indexed_photo
from retrieval.photos.files import current_stamps


class PhotoUnknownError(PhotoIndexError):
    """There is no photo of this id in the index, or none that may be shown."""


@dataclass(frozen=True)
class Located:
    """A photo of the index, where its file really lies, and a name for the state that the file is in."""

    file: IndexedFile
    place: Path
    state: str


def files_of(index: SearchableIndex, ids: Sequence[int]) -> list[IndexedFile]:
    """Read the files of photos, in order. Raises PhotoUnknownError."""
    files = {file.id: file for file in index.photos.files(np.array(ids, np.int64))}
    for id in ids:
        if id not in files:
            raise PhotoUnknownError(f"there is no photo {id} in the index")
    return [files[id] for id in ids]


def known_folder(index: SearchableIndex, folder: str) -> Path:
    """Return a folder that a client names, if it is of the index; nothing is looked for on the disk."""
    path = as_path(folder)
    if "\0" in folder or ".." in path.parts or not path.is_absolute() or not index.photos.knows(path):
        raise PhotoUnknownError(f"the folder {folder} is not in the index")
    return as_path(absolute(path))


def located(file: IndexedFile, roots: Sequence[Path]) -> Located:
    """Look for the file of a photo. Raises PhotoUnknownError for a link that leads out of the indexed folders."""
    place = file.path
    if not isinstance(place, ObjectPath):
        place = Path(os.path.realpath(file.path))
        if not any(place.is_relative_to(os.path.realpath(root)) for root in roots):
            raise PhotoUnknownError("the photo is a link that leads out of the indexed folders")
    [stamp] = current_stamps([file.path])
    return Located(file, place, state_name(stamp or file.stamp))


def photo_values(files: Sequence[IndexedFile]) -> list[dict[str, Any]]:
    """Return for each photo what `indexed_photo` does, and "thumbnail" and "preview", where these are."""
    stamps = current_stamps([file.path for file in files])
    # Where a file cannot be seen, its state is the one that was indexed.
    return [_values(file, state_name(stamp or file.stamp)) for file, stamp in zip(files, stamps, strict=True)]


def state_name(stamp: FileStamp) -> str:
    """Name the state of a file, for the addresses of its pictures."""
    return f"{stamp.mtime_ns & 0xFFFFFFFFFFFFFFFF:x}-{stamp.size:x}"


def _values(file: IndexedFile, state: str) -> dict[str, Any]:
    return {
        **indexed_photo(file),
        "thumbnail": f"/api/thumbnails/{file.id}?v={state}",
        "preview": f"/api/photos/{file.id}/preview?v={state}",
    }
