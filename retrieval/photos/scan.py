"""Finds the photos in folders, and looks no further than their names and stamps.

Hidden files and folders are left out, and so is what `exclusions.py` names and what people say.
A symbolic link to a file counts as the file; one to a folder is not followed, so that no photo is found twice and no
search goes round in circles, and noted where it leads elsewhere. Of what lies in object storage the same is found: the
parts of a key are the names of its folders.
"""

import errno
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from index.errors import PhotoError
from index.object_path import ObjectPath
from index.records import FileStamp, SkippedPhoto
from retrieval.photos.exclusions import IGNORE_FILE, Exclusions
from retrieval.photos.files import file_error_reason, is_folder, stamp_of
from retrieval.photos.formats import PHOTO_SUFFIXES, UNREAD_SUFFIXES
from retrieval.photos.object_storage import is_object_folder, listed_objects

LINK = "a link to a folder, which is not followed; name that folder itself"
_NOT_THERE = {errno.ENOENT, errno.ELOOP}  # gone since it was listed, or a symbolic link to itself


@dataclass(frozen=True)
class FolderScan:
    """What lies in a folder, sorted by path relative to it (bytes, `/` between the parts); the folder itself is b""."""

    photos: dict[bytes, FileStamp]
    unlisted: dict[bytes, str]
    """Folders that could not be listed, photos that could not be looked at, and why."""
    empty: tuple[bytes, ...] = ()
    """Empty folders, which may be mount points of unplugged drives."""
    unread: dict[str, int] = field(default_factory=dict)
    """Files of other kinds of pictures, counted by suffix, the most frequent first."""
    left_out: bool = False
    """Whether something was left out that is not hidden: then a folder without photos is no empty mount point."""


def scan_folder(folder: Path, *, root: Path | None = None, patterns: Sequence[str] = ()) -> FolderScan:
    """Find every photo in a folder and the folders below it; what cannot be listed is noted, never raised.

    `patterns` say what is left out besides what ignore files say. Both are relative to `root` where the folder is only
    a part of that. Raises MissingPackageError for a URL without what object storage needs.
    """
    if isinstance(folder, ObjectPath):
        return _scan_objects(folder, root or folder, patterns)
    photos: dict[bytes, FileStamp] = {}
    unlisted: dict[bytes, str] = {}
    empty: list[bytes] = []
    unread = Counter[str]()
    left_out = False
    try:
        pending = [(b"", Exclusions.made(root or folder, patterns, folder))]
    except PhotoError as error:
        return FolderScan({}, {b"": str(error)})
    while pending:
        parent, rules = pending.pop()
        place = os.path.join(os.fsencode(folder), parent)
        parent_name = os.path.basename(place.rstrip(b"/"))
        something_gone = False
        try:
            before = os.stat(place)
            with os.scandir(place) as listed:
                entries = list(listed)
            if any(entry.name == IGNORE_FILE for entry in entries):
                rules = rules.entering(parent)
            for entry in entries:
                path = parent + b"/" + entry.name if parent else entry.name
                if rules.has_name(entry.name, parent_name):
                    left_out |= not entry.name.startswith(b".")
                    continue
                try:
                    is_folder = entry.is_dir()
                    suffix = "" if is_folder else _suffix(entry.name)
                    is_photo = not is_folder and has_photo_suffix(entry.name) and entry.is_file()
                    is_unread = suffix in UNREAD_SUFFIXES and entry.is_file()
                    if (is_folder or is_photo or is_unread) and rules.leave_out(path, folder=is_folder):
                        left_out = True
                    elif is_photo:
                        photos[path] = stamp_of(entry.stat())
                    elif is_unread:
                        unread[suffix] += 1
                    elif is_folder and not entry.is_symlink():
                        pending.append((path, rules))
                    elif is_folder and not _lies_in(entry.path, folder):
                        unlisted[path] = LINK
                except OSError as error:
                    something_gone = True
                    if error.errno not in _NOT_THERE:
                        unlisted[path] = file_error_reason(error)
            # A file that is gone since it was listed was removed, unless its whole drive was.
            if something_gone and not os.path.samestat(before, os.stat(place)):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        except OSError as error:
            unlisted[parent] = file_error_reason(error)
        except PhotoError as error:
            unlisted[parent] = str(error)
        else:
            if not entries:
                empty.append(parent)
    return FolderScan(
        dict(sorted(photos.items())),
        dict(sorted(unlisted.items())),
        tuple(sorted(empty)),
        dict(unread.most_common()),
        left_out,
    )


def _scan_objects(place: ObjectPath, root: Path, patterns: Sequence[str]) -> FolderScan:
    photos: dict[bytes, FileStamp] = {}
    unlisted: dict[bytes, str] = {}
    unread = Counter[str]()
    left_out = False
    try:
        begun = Exclusions.made(root, patterns, place)
        found = [(os.fsencode(key), stamp) for key, stamp in listed_objects(place)]
    except PhotoError as error:
        return FolderScan({}, {b"": str(error)})
    ignore_files = {path.rpartition(b"/")[0] for path, _ in found if path.rpartition(b"/")[2] == IGNORE_FILE}
    rules_of: dict[bytes, Exclusions | None] = {}

    def is_left_out(rules: Exclusions, path: bytes, *, folder: bool) -> bool:
        nonlocal left_out
        parent, _, name = path.rpartition(b"/")
        if rules.has_name(name, parent.rpartition(b"/")[2] or os.fsencode(place.name)):
            left_out |= not name.startswith(b".")
            return True
        if rules.leave_out(path, folder=folder):
            left_out = True
            return True
        return False

    def rules(inside: bytes) -> Exclusions | None:
        """Return what holds in a folder, None where it is left out."""
        if inside not in rules_of:
            above = rules(inside.rpartition(b"/")[0]) if inside else begun
            here = None if above is None or (inside and is_left_out(above, inside, folder=True)) else above
            try:
                rules_of[inside] = here.entering(inside) if here is not None and inside in ignore_files else here
            except PhotoError as error:
                unlisted[inside], rules_of[inside] = str(error), None
        return rules_of[inside]

    for path, stamp in found:
        suffix = _suffix(path)
        if suffix not in PHOTO_SUFFIXES and suffix not in UNREAD_SUFFIXES:
            continue
        if not {b"", b".", b".."}.isdisjoint(path.split(b"/")):
            unlisted[path] = "its key is no path"
            continue
        here = rules(path.rpartition(b"/")[0])
        if here is None or is_left_out(here, path, folder=False):
            continue
        if suffix in PHOTO_SUFFIXES:
            photos[path] = stamp
        else:
            unread[suffix] += 1
    return FolderScan(
        dict(sorted(photos.items())), dict(sorted(unlisted.items())), (), dict(unread.most_common()), left_out
    )


def _lies_in(place: bytes, folder: Path) -> bool:
    """Tell whether the target of a link is found without the link."""
    inside = os.path.relpath(os.path.realpath(place), os.path.realpath(os.fsencode(folder)))
    return inside.split(b"/")[0] != b".."


def can_be_seen(folder: Path) -> bool:
    """Tell whether a folder is there and not empty, as the mount point of an unplugged drive is."""
    if isinstance(folder, ObjectPath):
        return is_object_folder(folder)
    try:
        with os.scandir(folder) as entries:
            return any(entries)
    except OSError:
        return False


def expand_paths(paths: Iterable[Path], *, skipped: list[SkippedPhoto] | None = None) -> list[Path]:
    """Put photos in the place of the folders they lie in; other paths stay, whatever their suffix, even missing ones.

    What cannot be listed is appended to `skipped`.
    """
    photos: list[Path] = []
    for path in paths:
        if not is_folder(path):
            photos.append(path)
            continue
        scan = scan_folder(path)
        photos += (path / os.fsdecode(photo) for photo in scan.photos)
        if skipped is not None:
            if not scan.photos and not scan.unlisted:
                skipped.append(SkippedPhoto(path, "no photos in this folder"))
            skipped += (SkippedPhoto(path / os.fsdecode(name), reason) for name, reason in scan.unlisted.items())
    return photos


def has_photo_suffix(name: bytes) -> bool:
    """Tell whether a file of this name counts as a photo."""
    return _suffix(name) in PHOTO_SUFFIXES


def _suffix(name: bytes) -> str:
    return os.path.splitext(os.fsdecode(name))[1].lower()
