"""Brings the photos of folders into an index: each file is read once, and only new or changed ones are."""

import os
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path

from index.errors import IndexNotFoundError, ModelMismatchError, PhotoError, UserError
from index.files import absolute, known_place
from index.index_writer import IndexWriter
from index.object_path import ObjectPath, as_path
from index.photo_index import PhotoIndex
from index.records import IncompletePhoto, SkippedPhoto, SyncCounts
from index.sync.run import Sync
from retrieval.indexing.dates import find_dates
from retrieval.models.model import Model
from retrieval.photos.files import are_there
from retrieval.photos.formats import NEEDED_PACKAGES
from retrieval.photos.object_storage import why_no_folder
from retrieval.photos.scan import FolderScan, scan_folder
from retrieval.pipeline.engine import Engine
from retrieval.pipeline.executor import Concurrency
from retrieval.pipeline.progress import Progress
from retrieval.pipeline.stages import EmbeddedBatch, ReadPhoto, Stages

EXAMPLE = "name a folder that holds photos, for example: fc7 index ~/Pictures"


@dataclass(frozen=True)
class FolderReport:
    """What was done about a folder; counts is None where nothing was, because its photos are not there to be seen.

    `counts.skipped` is the number of `skipped`: photos, and folders inside that could not be searched. `incomplete`
    were indexed in this run though a part of them is missing. `unread` counts by suffix the pictures of kinds that fc7
    cannot read.
    """

    folder: Path
    counts: SyncCounts | None
    skipped: tuple[SkippedPhoto, ...]
    incomplete: tuple[IncompletePhoto, ...] = ()
    unread: Mapping[str, int] = field(default_factory=dict)
    changes: tuple[tuple[str, Path], ...] = field(default=(), compare=False)
    """What was done, as `SyncCounts` calls it, and to which photo; the first of very many."""


def index_folders(
    index: IndexWriter,
    model: Model,
    folders: Sequence[Path],
    *,
    concurrency: Concurrency | None = None,
    retry_skipped: bool = False,
    engine: Engine | None = None,
    progress: Progress | None = None,
    growing: Collection[Path] = (),
) -> list[FolderReport]:
    """Bring an index up to date with folders, or with all that it knows where none is named, and report on each.

    A batch is one transaction: what was stored before an interruption stays, and the next run goes on from there. A
    folder that was indexed and is gone (an unplugged drive), or empty (its mount point), keeps its photos in the index.
    `concurrency` is by default that of `Concurrency.chosen`, which a model suits best that was loaded with one thread.
    With an `engine` that embeds the photos, and this process stores them.
    Photos skipped before are tried again with `retry_skipped`, or when a package they needed has been installed. Files
    that are `growing` (absolute paths) are left as they are known.
    Raises, before anything is done, UserError for a folder that never was there, and if there is nothing to do, and
    ModelMismatchError for an index that was made with another model; later what the engine raises.
    """
    if index.fingerprint != model.spec.fingerprint:
        raise ModelMismatchError(f"The index in {index.folder} was made with another model than {model.spec.name}.")
    folders = folders_to_index(folders, index.roots(), index.photos.knows)
    if engine is not None:
        engine.begin(model)
    retry_skipped = retry_skipped or _can_read_more(index)
    meter = _Meter(progress)
    # All are compared before any is read, and finished when all were: what moved from one to another is recognised.
    begun = [_begin(index, folder, retry_skipped=retry_skipped, growing=growing) for folder in _outermost(folders)]
    runs = [run for run in begun if isinstance(run, _FolderRun)]
    Sync.join([run.sync for run in runs])
    meter.add(total=sum(len(run.sync.to_read) for run in runs))
    if engine is not None:
        for run in runs:
            _take_from_engine(run, engine, model, meter)
    else:
        folders = [run.folder for run in runs]
        with Stages.begun(model, concurrency or Concurrency.chosen(model), folders) as stages:
            for run in runs:
                _look_at_photos(run, stages, meter)
    if undated := index.photos.count_undated():
        meter.add(total=undated)
        find_dates(index, done=lambda count: meter.add(done=count))
    index.fill_with(None if engine is None else engine.run)
    counts = iter(Sync.finish_all([run.sync for run in runs]))
    return [run.report(next(counts)) if isinstance(run, _FolderRun) else run for run in begun]


def folders_at(place: Path, folders: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Return what `index_folders` would look at, for the index in `place`, and the folders that this knows.

    There need not be one yet. Raises UserError where `index_folders` would, and PhotoIndexError.
    """
    try:
        with PhotoIndex.open(place) as index:
            return folders_to_index(folders, roots := index.roots(), index.photos.knows), roots
    except IndexNotFoundError:
        return folders_to_index(folders, [], lambda _: False), []


def folders_to_index(folders: Sequence[Path], roots: Sequence[Path], knows: Callable[[Path], bool]) -> list[Path]:
    """Return folders as absolute paths, as they are known, or all `roots` where none is named.

    Raises UserError, as `index_folders`.
    """
    chosen: list[Path] = []
    for folder in folders:
        # A folder that is known by another name, through a link, is not indexed twice.
        place = known_place(as_path(absolute(folder)), [*roots, *chosen])
        if place not in chosen:
            chosen.append(place)
    chosen = chosen or list(roots)
    if not chosen:
        raise UserError("nothing is indexed yet", hint=EXAMPLE)
    for folder in chosen:
        # A folder that was indexed may be gone, for good or until its drive is plugged in.
        if isinstance(folder, ObjectPath):
            if not knows(folder) and (reason := why_no_folder(folder)):
                raise UserError(
                    f"{folder} cannot be indexed: {reason}",
                    hint="server and keys are those of the environment: docs/scale.md, Photos in object storage",
                )
        elif not os.path.isdir(folder) and (os.path.exists(folder) or not knows(folder)):
            raise UserError(f"{folder} is not a folder", hint=EXAMPLE)
    return chosen


class _Meter:
    """Adds up what several folders have to do and have done."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._done = self._total = 0

    def add(self, *, done: int = 0, total: int = 0) -> None:
        self._done += done
        self._total += total
        if self._progress is not None:
            self._progress(self._done, self._total)


@dataclass(frozen=True, eq=False)
class _FolderRun:
    place: Path
    """Of the index."""
    folder: Path
    scan: FolderScan
    sync: Sync
    skipped: list[SkippedPhoto]
    incomplete: list[IncompletePhoto]

    def skip(self, path: bytes, reason: str) -> None:
        self.skipped.append(SkippedPhoto(self.folder / os.fsdecode(path), reason))

    def add(self, batch: EmbeddedBatch) -> None:
        """Store a batch, and note what was wrong with its photos."""
        self.sync.add(batch.photos)
        for photo in batch.photos:
            if photo.skipped is not None:
                self.skip(photo.path, photo.skipped)
            if photo.missing is not None:
                self.incomplete.append(IncompletePhoto(self.folder / os.fsdecode(photo.path), photo.missing))
        for path, reason in batch.later:
            self.skip(path, reason)

    def report(self, counts: SyncCounts) -> FolderReport:
        kept = self.sync.kept()
        for empty, number in kept.items():
            photos = f"{number:,} photo{'s' * (number != 1)}"
            folder = str(self.folder / os.fsdecode(empty))
            forget = shlex.join(["fc7", "forget", folder, "--index", str(self.place)])
            what = "empty" if empty in self.scan.empty else "no photos in it"
            self.skip(
                empty, f"{what}, perhaps because its drive is not there; {photos} of it stay indexed, until `{forget}`"
            )
        skipped = tuple(sorted(self.skipped, key=lambda photo: photo.path))
        return FolderReport(
            self.folder,
            None if b"" in kept else replace(counts, skipped=len(skipped)),
            skipped,
            tuple(sorted(self.incomplete, key=lambda photo: photo.path)),
            self.scan.unread,
            tuple((what, self.folder / os.fsdecode(path)) for what, path in self.sync.changes),
        )


def _outermost(folders: Sequence[Path]) -> list[Path]:
    """Leave out folders that are named twice, or lie inside others."""
    kept = dict.fromkeys(folders)
    return [folder for folder in kept if not any(parent in kept for parent in folder.parents)]


def _begin(
    index: IndexWriter, folder: Path, *, retry_skipped: bool, growing: Collection[Path]
) -> _FolderRun | FolderReport:
    root = next((root for root in index.roots() if folder.is_relative_to(root)), folder)
    scan = scan_folder(folder, root=root, patterns=index.exclude)
    skipped = [SkippedPhoto(folder / os.fsdecode(path), reason) for path, reason in scan.unlisted.items()]
    if b"" in scan.unlisted:
        reason = f"cannot be searched ({scan.unlisted[b'']}); its photos stay indexed"
        return FolderReport(folder, None, (SkippedPhoto(folder, reason),))
    # A drive without a photo is one that is not there. A folder inside it is looked at as one of its other folders is.
    nothing_there = not scan.photos and not scan.left_out and folder in index.roots()
    empty = [b""] if nothing_there else scan.empty
    later = {os.fsencode(path.relative_to(folder)) for path in growing if path.is_relative_to(folder)}
    found = scan.photos
    if later:
        found = {path: stamp for path, stamp in found.items() if path not in later}
    unlisted = [*scan.unlisted, *later]
    sync = index.begin_sync(
        folder, found, retry_skipped=retry_skipped, unlisted=unlisted, empty=empty, is_there=_is_there
    )
    return _FolderRun(index.folder, folder, scan, sync, skipped, [])


def _is_there(place: bytes) -> bool:
    path = as_path(place)
    return are_there([path])[0] if isinstance(path, ObjectPath) else os.path.lexists(place)


def _look_at_photos(run: _FolderRun, stages: Stages, meter: _Meter) -> None:
    sync = run.sync

    def unknown_photos() -> Iterator[tuple[ReadPhoto, bytes]]:
        for path, content in stages.read(run.folder, sync.to_read, run.scan.photos):
            if isinstance(content, PhotoError):
                # Not stored: what cannot be read today, a drive that went away, can be read tomorrow without a change.
                run.skip(path, str(content))
            elif not sync.resolve(path, content.stamp, content.content_hash):
                yield ReadPhoto(path, content.stamp, content.content_hash), content.data
                continue
            meter.add(done=1)

    for batch in stages.embed(unknown_photos(), at_most=len(sync.to_read)):
        run.add(batch)
        meter.add(done=len(batch.photos) + len(batch.later))


def _take_from_engine(run: _FolderRun, engine: Engine, model: Model, meter: _Meter) -> None:
    for batch in engine.embed_files(model, run.folder, run.sync.to_read, run.scan.photos):
        # Other machines do not know the catalogue, so what has only moved was embedded too; its row stays as it was.
        new = [
            photo
            for photo in batch.photos
            if photo.content_hash is None or not run.sync.resolve(photo.path, photo.stamp, photo.content_hash)
        ]
        run.add(EmbeddedBatch(tuple(new), batch.later))
        meter.add(done=len(batch.photos) + len(batch.later))


def _can_read_more(index: PhotoIndex) -> bool:
    """Whether photos were skipped for lack of a package that is installed now."""
    reasons = {photo.reason for photo in index.photos.skipped()}
    return any(reason in reasons and find_spec(package) for package, reason in NEEDED_PACKAGES.items())
