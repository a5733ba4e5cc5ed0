"""What was done to an index, as text: what changed, was skipped, forgotten, moved, or is wrong."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from commands.installation import as_installed
from commands.tables import as_json, two_columns
from commands.terminal import PLAIN, Style
from index.records import SkippedPhoto, SyncCounts
from retrieval.answers import checked_index, skipped_photo
from retrieval.text import printable

if TYPE_CHECKING:
    from index.milvus.place import IndexLocation
    from retrieval.indexing.check import CheckReport
    from retrieval.indexing.index_folders import FolderReport

UNSEEN = "cannot be seen now; what the index holds of it is kept"
CHANGES_SHOWN = 20
TO_LOOK_AT = {"removed", "skipped", "still_skipped"}
"""What happened to photos that a user may not have meant."""


def format_reports(reports: Iterable["FolderReport"], *, style: Style = PLAIN) -> Iterator[str]:
    """What was done about folders, as tables of counts."""

    def rows(counts: SyncCounts | None) -> list[tuple[str, str]]:
        if counts is None:
            return [("-", style.warning(UNSEEN))]
        named = ((name, f"{count:7,}") for name, count in asdict(counts).items() if count)
        counted = [
            (count, style.warning(shown) if name in TO_LOOK_AT else shown)
            for name, count in named
            for shown in (name.replace("_", " "),)
        ]
        return counted or [("0", "photos")]

    return two_columns(((style.path(report.folder), rows(report.counts)) for report in reports), style)


def format_changes(reports: Iterable["FolderReport"], time: datetime, *, style: Style = PLAIN) -> Iterator[str]:
    """What has just been done about folders, a line for each photo with the time, up to CHANGES_SHOWN in a folder."""
    stamp = style.note(f"{time:%H:%M:%S}")
    for report in reports:
        if report.counts is None:
            yield f"{stamp}  {'-':<8}  {style.path(report.folder)}: {UNSEEN}\n"
        for what, path in report.changes[:CHANGES_SHOWN]:
            done = f"{what.replace('_', ' '):<8}"
            yield f"{stamp}  {style.warning(done) if what in TO_LOOK_AT else done}  {style.path(path)}\n"
        counts = asdict(report.counts) if report.counts else {}
        done_in_all = sum(count for name, count in counts.items() if name not in ("unchanged", "still_skipped"))
        if (more := done_in_all - CHANGES_SHOWN) > 0:
            yield f"{stamp}  and {more:,} more in {style.path(report.folder)}\n"


def format_check(report: "CheckReport", place: "IndexLocation") -> Iterator[str]:
    """What a check of the index in `place` found, a line each, and what it looked at."""
    found = checked_index(report)
    yield from (f"{printable(problem)}\n" for problem in found["problems"])
    yield from (f"{printable(missing.told(place))}\n" for missing in report.missing)
    wrong = f"{len(found['problems']):,} problems" if found["problems"] else "nothing is wrong"
    yield f"{found['photos']:,} photos, {found['embedded']:,} of them embedded again: {wrong}\n"


def format_forgotten(counts: Iterable[tuple[Path, int]]) -> Iterator[str]:
    """Paths with how many photos an index has forgotten there."""
    return (f"{printable(str(path))}: {count:,} forgotten\n" for path, count in counts)


def format_moved(old: Path, new: Path, moved: int, known: int) -> Iterator[str]:
    """How many photos of a folder an index has in its new place now."""
    already = f", {known:,} were known there" if known else ""
    yield f"{printable(str(old))} is now {printable(str(new))}: {moved:,} moved{already}\n"


def format_skipped(photos: Iterable[SkippedPhoto], format: str) -> Iterator[str]:
    """Skipped photos with their reasons, as lines ("table") or one "json" array."""
    if format == "json":
        yield as_json([skipped_photo(photo) for photo in photos], indent=2) + "\n"
    else:
        yield from (f"{printable(f'{photo.path}: {as_installed(photo.reason)}')}\n" for photo in photos)
