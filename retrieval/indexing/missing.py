"""Photos that an index has and that are not where they were: counted, found elsewhere, renamed with their folder."""

import os
import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from index.errors import PhotoError, PhotoIndexError, UserError
from index.files import absolute
from index.index_writer import IndexWriter
from index.milvus.place import IndexLocation
from index.object_path import ObjectPath, as_path
from index.photo_index import PhotoIndex
from index.records import IndexedFile
from retrieval.photos.files import is_folder
from retrieval.photos.object_storage import listed_objects
from retrieval.photos.scan import can_be_seen

FILES_AT_ONCE = 4096
# Of the photos of a folder that is gone so many, in hundredths, must be elsewhere before it counts as moved.
MOST = 50


@dataclass(frozen=True, slots=True)
class MissingPhotos:
    """Photos of an indexed folder that are not there: of one that is `gone` itself all.

    `elsewhere` counts those whose content other indexed folders have too, and `now` is where the folder seems to be.
    """

    folder: Path
    photos: int
    gone: bool
    elsewhere: int = 0
    now: Path | None = None

    @property
    def moved(self) -> bool:
        """Whether the folder is gone and most of its photos are elsewhere."""
        return self.gone and 100 * self.elsewhere > MOST * self.photos

    def told(self, place: IndexLocation) -> str:
        """Say so in a sentence, with the commands that help, for the index in `place`."""

        def command(*words: str | Path) -> str:
            return f"`{shlex.join(['fc7', *map(str, words), '--index', str(place)])}`"

        photos = f"{self.photos:,} photo{'s' * (self.photos != 1)}"
        if not self.gone:
            are, them = ("is", "it") if self.photos == 1 else ("are", "them")
            update = command("index", self.folder)
            return f"{photos} of {self.folder} {are} not there any more; {update} removes {them}"
        forget = command("forget", self.folder)
        if not self.moved:
            return f"{self.folder} is not there now; its {photos} stay indexed, until {forget}"
        found = "its photos" if self.elsewhere == self.photos else f"{self.elsewhere:,} of its {photos}"
        if self.now is None:
            return f"{self.folder} is not there any more, and {found} are indexed elsewhere too; {forget} keeps those"
        return (
            f"{self.folder} is not there any more, and {found} are in {self.now} too. If it was moved, "
            f"{command('moved', self.folder, self.now)} says so to the index; if it is gone, {forget}"
        )


def gone_folders(index: PhotoIndex) -> list[MissingPhotos]:
    """Find the indexed folders that are gone, and whether their photos are in others that are there.

    One that is empty counts as gone: it may be the mount point of an unplugged drive.
    """
    roots = index.roots()
    there = [root for root in roots if can_be_seen(root)]
    found = [(root, index.photos.found_elsewhere(root, there)) for root in roots if root not in there]
    return [MissingPhotos(root, other.photos, True, other.found, other.now) for root, other in found]


def missing_photos(index: PhotoIndex) -> list[MissingPhotos]:
    """Find what `gone_folders` does, and count the missing photos of the other indexed folders; looks at each file."""
    gone = {found.folder: found for found in gone_folders(index)}
    missing = Counter[Path]()
    roots = index.roots()
    for root in roots:
        if root not in gone:
            missing[root] = _count_missing(index, root)
    counted = (gone[root] if root in gone else MissingPhotos(root, missing[root], False) for root in roots)
    return [found for found in counted if found.photos]


def _count_missing(index: PhotoIndex, root: Path) -> int:
    paths = (file.path for file in _files_below(index, root))
    if isinstance(root, ObjectPath):
        try:
            listed = {key for key, _ in listed_objects(root)}  # asking for each object would take far longer
        except PhotoError:
            return 0  # out of reach since it was looked at
        return sum(str(path.relative_to(root)) not in listed for path in paths)
    return sum(not os.path.exists(path) for path in paths)


def move_folder(index: IndexWriter, old: Path, new: Path) -> tuple[int, int]:
    """Rename an indexed folder, or one inside it, in an index, after it was moved; no photo is read.

    Return how many photos moved, and how many were known in the new place already. Raises UserError where `old` is
    still there, `new` has none of its photos, or one is inside the other; PhotoIndexError where `old` is not known.
    """
    old, new = as_path(absolute(old)), as_path(absolute(new))
    command = shlex.join(["fc7", "index", str(new), "--index", str(index.folder)])
    if old == new:
        raise UserError(f"{old} is the same folder", hint="name the place where the folder is now")
    if old.is_relative_to(new) or new.is_relative_to(old):
        raise UserError(f"{new} and {old} lie one inside the other", hint=f"run `{command}`, which finds what moved")
    if not is_folder(new):
        raise UserError(f"{new} is not a folder", hint="name the place where the folder is now")
    if not index.photos.knows(old) or index.photos.at(old) is not None:
        raise PhotoIndexError(
            f"{old} is no folder in the index in {index.folder}",
            hint=f"its folders are listed by `fc7 info {shlex.quote(str(index.folder))}`",
        )
    if can_be_seen(old):
        raise UserError(f"{old} is still there", hint=f"if {new} is a copy, run `{command}`")
    if not _holds_any(new, (file.path.relative_to(old) for file in _files_below(index, old))):
        raise UserError(f"{new} has none of the photos that were in {old}", hint=f"add its photos with `{command}`")
    return index.rename(old, new)


def _holds_any(folder: Path, names: Iterator[Path]) -> bool:
    if isinstance(folder, ObjectPath):
        try:
            listed = {key for key, _ in listed_objects(folder)}
        except PhotoError as error:
            raise UserError(f"{folder} cannot be listed: {error}") from error
        return any(str(name) in listed for name in names)
    return any(os.path.exists(folder / name) for name in names)


def _files_below(index: PhotoIndex, folder: Path) -> Iterator[IndexedFile]:
    ids = index.photos.ids_below(folder)
    for start in range(0, len(ids), FILES_AT_ONCE):
        yield from index.photos.files(ids[start : start + FILES_AT_ONCE])
