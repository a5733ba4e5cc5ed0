"""What a sync has to do, from the files that were found and those that are known; reads no file."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from index.files import folder_around
from index.records import FileStamp


@dataclass(frozen=True, slots=True)
class KnownFile:
    """What an index knows of a file; `content_hash` is None where its bytes could not be read."""

    id: int
    stamp: FileStamp
    content_hash: bytes | None
    skipped: bool


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """Sorted paths in a folder: files that are unchanged, are to be read and hashed, or do not exist any more."""

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

    Skipped files are read again when they change, or all of them with `retry_skipped`. Files and folders that could not
    be read are `unlisted` (b"" is the whole folder): neither they nor anything below them counts as missing.
    """

    def is_unchanged(path: bytes) -> bool:
        file = known.get(path)
        return file is not None and file.stamp == found[path] and not (retry_skipped and file.skipped)

    not_listed = frozenset(entry.rstrip(b"/") for entry in unlisted)
    unchanged: list[bytes] = []
    to_read: list[bytes] = []
    for path in sorted(found):
        (unchanged if is_unchanged(path) else to_read).append(path)
    missing = sorted(path for path in known.keys() - found.keys() if folder_around(path, not_listed) is None)
    return SyncPlan(unchanged, to_read, missing)
