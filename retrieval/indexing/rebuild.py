"""Rebuilds an index, with another model or after a change of fc7, without ever losing what it holds."""

import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from index.errors import UserError
from index.photo_index import PhotoIndex
from index.sync.replace import rebuilding
from index.vectors.faiss_library import FaissDevice
from retrieval.indexing.index_folders import FolderReport, folders_at, index_folders
from retrieval.models.model import Model
from retrieval.photos.files import current_stamp, is_folder
from retrieval.photos.scan import scan_folder
from retrieval.pipeline.engine import Engine
from retrieval.pipeline.executor import Concurrency
from retrieval.pipeline.progress import Progress
from retrieval.searching.own_labels import carry_labels

NAMED = 10
"""Photos at most that a message names in one command."""


def rebuild_index(
    place: Path,
    model: Model,
    folders: Sequence[Path],
    *,
    kind: str | None = None,
    exclude: Callable[[Sequence[str]], Sequence[str]] = tuple,
    concurrency: Concurrency | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
    warn: Callable[[str], None] | None = None,
    building: Callable[[str], None] | None = None,
) -> list[FolderReport]:
    """Rebuild the index in `place`, of all folders that it knows and of those that are named.

    It has the `kind` of FAISS index that it had, or the one that is named, and leaves out what `exclude` makes of the
    patterns that it had. It is searched as it was until the new one
    is finished; an interrupted run is resumed by the next one. `building` is told what is made at the end,
    `warn` where the model is another one.
    Raises UserError where photos that are known cannot be seen or read, and would be lost.
    """
    chosen, known = folders_at(place, folders)
    folders = [*known, *(folder for folder in chosen if folder not in known)]
    spec = model.spec
    patterns = tuple(exclude(()))
    if known:
        with PhotoIndex.open(place) as old:
            patterns = tuple(exclude(old.exclude))
        _check_that_all_can_be_seen(place, known, patterns)
        # What is gone now had no photos any more.
        folders = [folder for folder in folders if folder not in known or is_folder(folder)]
        with PhotoIndex.open(place) as old:
            if warn is not None and old.fingerprint != spec.fingerprint:
                warn(f"The index was made with the model {old.summary().model_name}, and is rebuilt with {spec.name}.")
    with rebuilding(
        place,
        fingerprint=spec.fingerprint,
        model_name=spec.name,
        dim=spec.dim,
        model_path=model.path,
        kind=kind,
        device=FaissDevice(model.device, warn=warn),
        building=building,
        run=None if engine is None else engine.run,
    ) as index:
        # An interrupted run may have had others.
        index.set_exclude(patterns)
        index.forget([root for root in index.roots() if not any(root.is_relative_to(folder) for folder in folders)])
        reports = index_folders(index, model, folders, concurrency=concurrency, engine=engine, progress=progress)
        if known:
            with PhotoIndex.open(place) as old:
                lost = carry_labels(old, index, model)
            if lost and warn is not None:
                warn(
                    f"These labels are left out: {', '.join(lost)}. None of the photos that taught them can be read, "
                    f"or there are no others to tell them from"
                )
        # A drive can also be removed while the index is rebuilt.
        if known:
            _check_that_all_can_be_seen(place, known, patterns)
            unread = [*index.photos.skipped(), *(photo for report in reports for photo in report.skipped)]
            _check_that_none_is_lost(place, {photo.path: photo.reason for photo in unread})
    return reports


def _check_that_all_can_be_seen(place: Path, roots: Iterable[Path], patterns: Sequence[str]) -> None:
    with PhotoIndex.open(place) as index:
        for root in roots:
            scan = scan_folder(root, patterns=patterns)
            for name in (*scan.unlisted, *scan.empty) if scan.photos or scan.left_out else [b""]:
                path = root / os.fsdecode(name)
                if index.photos.any_at(path):
                    command = shlex.join(["fc7", "forget", str(path), "--index", str(place)])
                    raise UserError(
                        f"{path} cannot be seen now, or has no photos any more: a rebuild would lose those of it that "
                        f"are indexed. The index is as it was",
                        hint=f"plug in its drive, or run `{command}` first",
                    )


def _check_that_none_is_lost(place: Path, unread: Mapping[Path, str]) -> None:
    """Refuse to lose photos that were read when they were indexed, have not changed, and cannot be read now."""
    with PhotoIndex.open(place) as index:
        stored = [photo for path in sorted(unread) if (photo := index.photos.at(path)) is not None]
    lost = [photo.path for photo in stored if photo.embedding is not None and photo.stamp == current_stamp(photo.path)]
    if lost:
        command = shlex.join(["fc7", "forget", *map(str, lost[:NAMED]), "--index", str(place)])
        more = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
        raise UserError(
            f"{lost[0]}{more} is in the index and cannot be read now: {unread[lost[0]]}. A rebuild would lose it. "
            "The index is as it was",
            hint=f"repair that, or run `{command}` first",
        )
