"""Keeps an index in step with its folders while they change."""

import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from index.errors import IndexLockedError, MissingPackageError, UserError
from index.object_path import ObjectPath
from index.records import SyncCounts
from index.searchable import FillableIndex
from retrieval.indexing.index_folders import FolderReport, folders_to_index, index_folders
from retrieval.models.model import Model
from retrieval.photos.exclusions import IGNORE_FILE, is_left_out
from retrieval.photos.scan import has_photo_suffix
from retrieval.pipeline.executor import Concurrency
from retrieval.pipeline.progress import Progress

if TYPE_CHECKING:
    from watchfiles import Change

# Copying photos from a camera is one burst: it ends when nothing has happened for a moment, or after a while.
QUIET_MS = 500
LONGEST_MS = 10_000


@dataclass(frozen=True)
class Burst:
    """Folders in which something happened, and files in them that are `growing` and to be left alone for now."""

    folders: tuple[Path, ...]
    growing: frozenset[Path] = frozenset()


def keep_in_step(
    open_index: Callable[[], FillableIndex],
    model: Model,
    folders: Sequence[Path],
    *,
    retry_skipped: bool = False,
    concurrency: Concurrency | None = None,
    progress: Progress | None = None,
) -> Iterator[list[FolderReport]]:
    """Bring an index up to date with folders, or all that it knows, again after each burst of changes, for ever.

    The index is opened for each burst, and locked no longer than that takes; while another process writes it, changes
    wait. Of a folder that something happened in only that one is looked at, with those below it. Yields the reports of
    each sync that did something. Raises what `index_folders` and `open_index` do, and MissingPackageError.
    """
    require_watchfiles()
    with open_index() as index:
        chosen = folders_to_index(folders, index.roots(), index.photos.knows)
    check_watchable(chosen)
    first, waiting = True, dict[Path, None]()
    for burst in _watch(chosen):
        waiting |= dict.fromkeys(burst.folders)
        if not waiting:
            continue
        try:
            with open_index() as index:
                # What was forgotten meanwhile does not come back, unless it was named.
                known = [folder for folder in waiting if folders or first or index.photos.knows(folder)]
                retry = retry_skipped and first
                if not known:
                    waiting.clear()
                    continue
                reports = index_folders(
                    index,
                    model,
                    known,
                    retry_skipped=retry,
                    concurrency=concurrency,
                    progress=progress,
                    growing=burst.growing,
                )
        except IndexLockedError:
            if first:
                raise
            continue
        waiting.clear()
        if first or any(_did_something(report) for report in reports):
            yield reports
        first = False


def check_watchable(folders: Sequence[Path]) -> None:
    """Raise UserError for folders that cannot be watched."""
    if remote := next((folder for folder in folders if isinstance(folder, ObjectPath)), None):
        raise UserError(f"{remote} cannot be watched: object storage tells nobody of changes", hint="leave out --watch")


def require_watchfiles() -> None:
    """Raise MissingPackageError where watchfiles is not installed."""
    if find_spec("watchfiles") is None:
        raise MissingPackageError(
            "watching folders needs watchfiles, which is not installed", hint="run `pip install 'fc7[watch]'`"
        )


def _watch(folders: Sequence[Path]) -> Iterator[Burst]:
    """Yield all folders at first and whenever one of them came or went, then where something happened.

    That is nothing where nothing happened for a moment.
    """
    from watchfiles import watch

    growing = _Growing()
    while True:
        there = _identities(folders)
        begun = False
        try:
            # The first look is taken when watching has begun, after one wait in vain, so that nothing is missed.
            for changes in watch(
                *there,
                watch_filter=_matters,
                debounce=LONGEST_MS,
                step=QUIET_MS,
                rust_timeout=QUIET_MS,
                yield_on_timeout=True,
            ):
                settled = growing.look_at(path for _, path in changes)
                if begun:
                    yield Burst(touched(folders, settled), growing.files())
                else:
                    yield Burst(tuple(folders), growing.files())
                begun = True
                if _identities(folders) != there:
                    break
        except FileNotFoundError:
            continue  # went away in this moment
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"the folders cannot be watched ({error})", hint="run `fc7 index` from time to time"
            ) from error


class _Growing:
    """Files that have changed between two looks, which are a moment apart: they are being written."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, int] | None] = {}

    def look_at(self, changed: Iterable[str]) -> list[str]:
        """Take in paths that have changed, and return those of all that are no longer changing."""
        before = self._seen
        new = [path for path in dict.fromkeys(changed) if path not in before]
        self._seen, settled = {}, []
        for path in [*before, *new]:
            stamp = _file_stamp(path)
            # What is no file is a folder, or gone.
            if stamp is None or (path in before and before[path] == stamp):
                settled.append(path)
            else:
                self._seen[path] = stamp
        return settled

    def files(self) -> frozenset[Path]:
        """Return the files that were changing when they were last looked at."""
        return frozenset(map(Path, self._seen))


def _file_stamp(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


def _identities(folders: Sequence[Path]) -> dict[Path, tuple[int, int]]:
    """Device and inode of the folders that are there; a drive has others than the mount point that it hides."""
    found = {}
    for folder in folders:
        with suppress(OSError):
            status = os.stat(folder)
            if stat.S_ISDIR(status.st_mode):
                found[folder] = (status.st_dev, status.st_ino)
    return found


def _matters(change: "Change", path: str) -> bool:
    name = os.fsencode(os.path.basename(path))
    # What is no file is a folder, or gone and perhaps was one.
    if name == IGNORE_FILE:
        return True
    return not is_left_out(name) and (has_photo_suffix(name) or not os.path.isfile(path))


def touched(folders: Sequence[Path], paths: Collection[str]) -> tuple[Path, ...]:
    """Return the folders in which something happened to paths, each inside one of the watched `folders`.

    That is the folder that a path lies in, or the path itself where it is a folder; what is gone counts for what is
    left around it.
    """
    found = dict[Path, None]()
    for path in map(Path, paths):
        root = next((folder for folder in folders if path.is_relative_to(folder)), None)
        if root is None:  # a path that is no text comes in another spelling, and may lie in any of them
            return tuple(folders)
        parts = [os.fsencode(part) for part in path.relative_to(root).parts]
        if any(is_left_out(part) for part in parts if part != IGNORE_FILE):
            continue
        while path != root and (path.is_symlink() or not path.is_dir()):
            path = path.parent
        found[path] = None
    return tuple(found)


def _did_something(report: FolderReport) -> bool:
    counts = report.counts
    return counts is None or replace(counts, unchanged=0, still_skipped=0) != SyncCounts()
