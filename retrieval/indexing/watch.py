"""Keeps an index in step with its folders while they change."""

import os
import stat
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from index.errors import MissingPackageError, UserError
from index.files import absolute
from index.index_writer import IndexWriter
from index.records import SyncCounts
from retrieval.indexing.index_folders import FolderReport, index_folders
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


def keep_in_step(
    index: IndexWriter,
    model: Model,
    folders: Sequence[Path],
    *,
    retry_skipped: bool = False,
    concurrency: Concurrency | None = None,
    progress: Progress | None = None,
) -> Iterator[list[FolderReport]]:
    """Bring an index up to date with folders, or all that it knows, again after each burst of changes, for ever.

    Yields the reports of each sync that did something. Raises what `index_folders` does, and MissingPackageError.
    """
    require_watchfiles()
    first = True
    for changed in _watch([Path(absolute(folder)) for folder in folders] or index.roots()):
        retry = retry_skipped and first
        reports = index_folders(index, model, changed, retry_skipped=retry, concurrency=concurrency, progress=progress)
        if first or any(_did_something(report) for report in reports):
            yield reports
        first = False


def require_watchfiles() -> None:
    """Raise MissingPackageError where watchfiles is not installed."""
    if find_spec("watchfiles") is None:
        raise MissingPackageError(
            "watching folders needs watchfiles, which is not installed", hint="run `pip install 'fc7[watch]'`"
        )


def _watch(folders: Sequence[Path]) -> Iterator[Sequence[Path]]:
    """Yield all folders at first and whenever one of them came or went, then those in which something happened."""
    from watchfiles import watch

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
                if not begun or changes:
                    yield _touched(folders, [path for _, path in changes]) if begun else folders
                begun = True
                if _identities(folders) != there:
                    break
        except FileNotFoundError:
            continue  # went away in this moment
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"the folders cannot be watched ({error})", hint="run `fc7 index` from time to time"
            ) from error


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


def _touched(folders: Sequence[Path], paths: Collection[str]) -> Sequence[Path]:
    # A path that is no text comes in another spelling, and may lie in any of them.
    return [folder for folder in folders if any(Path(path).is_relative_to(folder) for path in paths)] or folders


def _did_something(report: FolderReport) -> bool:
    counts = report.counts
    return counts is None or replace(counts, unchanged=0, still_skipped=0) != SyncCounts()
