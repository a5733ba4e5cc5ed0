"""Moves copies into another folder so that none is lost, whenever it ends, and takes it all back.

Before each move the photo that is kept is looked at again, a name is reserved that no file has, and a line is written
into the undo file. Within a file system a move is one step. Across file systems it is a copy, which is read again and
compared before its original is removed.
"""

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from index.errors import PhotoError, UserError
from index.files import absolute, replacing
from index.object_path import ObjectPath
from index.records import FileStamp, SkippedPhoto
from retrieval.duplicates.keep import DuplicateGroup, DuplicatePhoto
from retrieval.photos.files import current_stamp, file_error_reason
from retrieval.pipeline.progress import Progress

CHUNK = 1 << 20
BEGINNING = '{"from": "'
"""Of each line of an undo file."""


@dataclass(frozen=True, slots=True)
class Move:
    """A copy to be moved to `target`, or another name beside it if there is such a file, while `kept` is there."""

    kept: DuplicatePhoto
    copy: DuplicatePhoto
    target: Path


@dataclass
class Moved:
    """What was moved, from where to where, and how many bytes; what was left where it is, and why."""

    undo_file: Path
    photos: list[tuple[Path, Path]] = field(default_factory=list)
    bytes: int = 0
    left: list[SkippedPhoto] = field(default_factory=list)
    interrupted: bool = False
    """Whether Ctrl-C ended it early."""


def plan_moves(groups: Sequence[DuplicateGroup], roots: Sequence[Path], folder: Path) -> list[Move]:
    """Choose where in `folder` the spare photos of groups go: the name of their indexed folder, and their path in it.

    Raises UserError where that would lie in an indexed folder: copies would be indexed again.
    """
    folder = Path(absolute(folder))
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise UserError(f"{folder} is not a folder", hint="name one to move copies to; it is made if it is not there")
    moves = []
    for group in groups:
        for copy in group.spare:
            if isinstance(copy.path, ObjectPath):
                raise UserError(f"{copy.path} is in object storage, where fc7 moves nothing")
            root = next(root for root in roots if copy.path.is_relative_to(root))
            moves.append(Move(group.photos[0], copy, folder / root.name / copy.path.relative_to(root)))
    for place in {folder, *(folder / root.name for root in roots)} if moves else ():
        for root in roots:
            if Path(os.path.realpath(place)).is_relative_to(os.path.realpath(root)):
                raise UserError(
                    f"{place} lies in the indexed folder {root}: what is moved there would be indexed again",
                    hint="choose a folder outside",
                )
    return moves


def move_copies(moves: Sequence[Move], folder: Path, *, progress: Progress | None = None) -> Moved:
    """Move copies; what cannot be moved stays, and is told with its reason. Ctrl-C ends it early, not badly.

    Raises UserError where the undo file, in `folder`, cannot be written.
    """
    with ExitStack() as resources:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            name = f"undo-{datetime.now().astimezone():%Y-%m-%d-%H%M%S}.jsonl"
            undo_file = _reserve(Path(absolute(folder)) / name)
            undo = resources.enter_context(open(undo_file, "wb", buffering=0))
        except OSError as error:
            raise UserError(f"{folder} cannot be written to ({file_error_reason(error)})") from error
        moved = Moved(undo_file)
        try:
            for done, move in enumerate(moves, start=1):
                try:
                    _check(move)
                    target = _move(move.copy.path, move.target, partial(_note, undo, move))
                except (PhotoError, OSError) as error:
                    reason = file_error_reason(error) if isinstance(error, OSError) else str(error)
                    moved.left.append(SkippedPhoto(move.copy.path, reason))
                else:
                    moved.photos.append((move.copy.path, target))
                    moved.bytes += move.copy.size
                if progress is not None:
                    progress(done, len(moves))
        except KeyboardInterrupt:
            moved.interrupted = True
    return moved


def undo_moves(undo_file: Path, *, progress: Progress | None = None) -> Moved:
    """Move back what an undo file tells of, the last first, over no other file; it is removed when all is back.

    It may be called again. Raises UserError for what is no undo file.
    """
    lines = list(_read(undo_file))
    moved = Moved(undo_file)
    try:
        for done, (origin, place, size) in enumerate(reversed(lines), start=1):
            try:
                if _move_back(origin, place, size):
                    moved.photos.append((place, origin))
                    moved.bytes += size
                _remove_empty(place.parent, undo_file.parent)
            except (PhotoError, OSError) as error:
                reason = file_error_reason(error) if isinstance(error, OSError) else str(error)
                moved.left.append(SkippedPhoto(place, reason))
            if progress is not None:
                progress(done, len(lines))
    except KeyboardInterrupt:
        moved.interrupted = True
    if lines and not moved.left and not moved.interrupted:
        try:
            undo_file.unlink()
        except OSError as error:
            raise UserError(
                f"all is back, but {undo_file} could not be removed ({file_error_reason(error)})",
                hint="remove it yourself",
            ) from error
    return moved


def _check(move: Move) -> None:
    """Raise PhotoError unless the photo to keep is there as it was compared, and the copy is."""
    for photo, what in ((move.kept, "the photo to keep"), (move.copy, "it")):
        stamp = current_stamp(photo.path)
        if stamp is None:
            raise PhotoError(f"{what} is not there any more ({photo.path})")
        if stamp != FileStamp(photo.size, photo.mtime_ns):
            raise PhotoError(f"{what} has changed since it was indexed ({photo.path})")
    if os.path.samefile(move.kept.path, move.copy.path):
        raise PhotoError(f"it is the same file as the photo to keep ({move.kept.path})")
    if os.path.islink(move.copy.path) and not os.path.isabs(os.readlink(move.copy.path)):
        raise PhotoError("it is a relative link, which might lead nowhere from another folder; remove it, or keep it")


def _note(undo: FileIO, move: Move, target: Path) -> None:
    """Write a line of the undo file to the disk, or none; file names that are no text keep their bytes as escapes."""
    entry = {"from": str(move.copy.path), "to": str(target), "bytes": os.lstat(move.copy.path).st_size}
    line = (json.dumps(entry) + "\n").encode("ascii")
    end = undo.tell()
    try:
        if undo.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(undo.fileno())
    except OSError:
        undo.seek(end)
        undo.truncate()
        raise


def _read(undo_file: Path) -> Iterator[tuple[Path, Path, int]]:
    try:
        text = undo_file.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        reason = file_error_reason(error) if isinstance(error, OSError) else "not an undo file"
        raise UserError(f"{undo_file} cannot be read ({reason})") from error
    for line in text.splitlines(keepends=True):
        if not line.endswith("\n") and line[: len(BEGINNING)] == BEGINNING[: len(line)]:
            return  # killed while it was written, so that nothing was moved
        try:
            entry = json.loads(line)
            yield Path(entry["from"]), Path(entry["to"]), int(entry["bytes"])
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{undo_file} is not an undo file", hint="fc7 duplicates --move-to writes them, named undo-….jsonl"
            ) from error


def _move_back(origin: Path, place: Path, size: int) -> bool:
    """Move a file back; False if there is nothing to do. Raises PhotoError for what would overwrite or be wrong."""
    there = os.path.lexists(origin)
    if not os.path.lexists(place):
        if not there:
            raise PhotoError("it is not there any more")
        return False
    found = os.lstat(place).st_size
    if found == 0 < size or (there and found == size and _same_content(origin, place)):
        # Killed when the name was only reserved (a later run moved the photo to another one, if it is not there), or
        # between the copy and the removal of the original.
        place.unlink()
        return False
    if there:
        raise PhotoError(f"there is another file at {origin}")
    if found != size:
        raise PhotoError("it has changed since it was moved")
    if not os.path.isdir(origin.parent):
        raise PhotoError(f"its folder {origin.parent} is not there; plug in its drive, or make the folder")
    _move(place, origin, lambda _: None, exactly=True)
    return True


def _move(source: Path, wanted: Path, note: Callable[[Path], None], *, exactly: bool = False) -> Path:
    """Move a file to a name that no file has, `wanted` if that is so, and return it; `note` is called just before."""
    wanted.parent.mkdir(parents=True, exist_ok=True)
    target = _reserve(wanted, exactly=exactly)
    try:
        note(target)
        try:
            os.replace(source, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            _move_across(source, target)
    except BaseException:
        # The name that was reserved, unless the file is there already.
        with suppress(OSError):
            if not os.path.islink(target) and os.path.getsize(target) == 0:
                target.unlink()
        raise
    return target


def _reserve(wanted: Path, *, exactly: bool = False) -> Path:
    """Make an empty file of a name that is free: `photo.jpg`, or `photo (2).jpg` and so on."""
    number, path = 1, wanted
    while True:
        try:
            path.open("x").close()
            return path
        except FileExistsError:
            if exactly:
                raise
            number += 1
            path = wanted.with_name(f"{wanted.stem} ({number}){wanted.suffix}")


def _move_across(source: Path, target: Path) -> None:
    """Move a file to another file system: copy it, compare the copy, and only then remove it."""
    if source.is_symlink():
        target.unlink()
        target.symlink_to(os.readlink(source))
    else:
        with open(source, "rb") as original, replacing(target) as copy:
            shutil.copyfileobj(original, copy, CHUNK)
        try:
            if not _same_content(source, target):
                raise PhotoError("its copy is not the same; check the disk that it was copied to")
            with suppress(OSError):  # not every disk keeps permissions and times, and the picture is there
                shutil.copystat(source, target)
        except BaseException:
            target.unlink()
            raise
    source.unlink()


def _same_content(one: Path, other: Path) -> bool:
    """Tell whether two links or two files hold the same."""
    if one.is_symlink() or other.is_symlink():
        return one.is_symlink() and other.is_symlink() and os.readlink(one) == os.readlink(other)
    with open(one, "rb") as first, open(other, "rb") as second:
        return all(a == b for a, b in zip(_chunks(first), _chunks(second), strict=False)) and (
            os.path.getsize(one) == os.path.getsize(other)
        )


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk


def _remove_empty(folder: Path, top: Path) -> None:
    """Remove a folder and those above it, below `top`, as long as they are empty."""
    top = Path(absolute(top))
    while folder != top and folder.is_relative_to(top):
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent
