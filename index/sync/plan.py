"""What to do about a folder, from what was found in it and what the catalogue knows: pure, touches no file."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from index.files import path_below
from index.records import FileStamp


@dataclass(frozen=True, slots=True)
class KnownFile:
    """What the catalogue remembers of a file; `content_hash` is None where its bytes could not be read."""

    id: int
    stamp: FileStamp
    content_hash: bytes | None
    skipped: bool


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """Paths of a folder, each list sorted: as they were, to be read and hashed, and no longer there."""

    unchanged: list[bytes]
    to_read: list[bytes]
    missing: list[bytes]


def plan_sync(
    found: Mapping[bytes, FileStamp],
    known: Mapping[bytes, KnownFile],
    *,
    retry_skipped: bool = False,
    unlisted: Collection[bytes] = (),
) -> SyncPlan:
    """Compare a folder with the catalogue, by path, size and modification time.

    Skipped files are read again when they change, or all of them with `retry_skipped`. What is `unlisted`, a file or
    folder that could not be looked at (b"" is the whole), is not missing, nor is anything below it.
    """

    def is_unchanged(path: bytes) -> bool:
        file = known.get(path)
        return file is not None and file.stamp == found[path] and not (retry_skipped and file.skipped)

    def was_looked_for(path: bytes) -> bool:
        return not any(path_below(path, entry) is not None for entry in unlisted)

    unchanged: list[bytes] = []
    to_read: list[bytes] = []
    for path in sorted(found):
        (unchanged if is_unchanged(path) else to_read).append(path)
    missing = sorted(path for path in known.keys() - found.keys() if was_looked_for(path))
    return SyncPlan(unchanged, to_read, missing)
