"""Bringing one folder up to date in an index."""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from index.catalog.rows import PhotoRow
from index.files import folder_around
from index.records import FileStamp, NewPhoto, SyncCounts
from index.sync.plan import plan_sync
from index.sync.rows import Derived, FolderRows

# There can be thousands of changes that need no embedding, so many share a transaction.
BATCH = 512
MANY_CHANGES = 1000
"""Of which there are the paths."""


class Sync:
    """A run over one folder: the caller reads and hashes what is in `to_read`, calls `resolve` or `add`, then `finish`.

    Paths are relative to the folder. Each batch is one change of the rows: a run that is interrupted loses the last
    batch, and the next run continues from there. A run that does not `finish` removes nothing. For one thread. Runs
    over several folders, none inside another, are joined by `join`, and finish when all files have been read.
    """

    def __init__(
        self,
        rows: FolderRows,
        derived: Derived,
        folder: bytes,
        found: Mapping[bytes, FileStamp],
        *,
        retry_skipped: bool,
        unlisted: Collection[bytes],
        empty: Collection[bytes],
        is_there: Callable[[bytes], bool] = lambda _: True,
    ) -> None:
        self._rows = rows
        self._derived = derived
        self._dim = rows.dim
        self._folder = folder
        self._is_there = is_there
        self._known = rows.known()
        plan = plan_sync(found, self._known, retry_skipped=retry_skipped, unlisted=unlisted)
        self.to_read: Sequence[bytes] = plan.to_read
        self._missing = {path: self._known[path] for path in plan.missing}
        self._empty = frozenset(empty)
        # The places of missing content, in this folder and in those that it is joined with.
        self._gone: defaultdict[bytes, list[tuple[Sync, bytes]]] = defaultdict(list)
        for path, file in self._missing.items():
            if file.content_hash is not None and not file.skipped:
                self._gone[file.content_hash].append((self, path))
        still_skipped = sum(self._known[path].skipped for path in plan.unchanged)
        self._counts = Counter(unchanged=len(plan.unchanged) - still_skipped, still_skipped=still_skipped)
        self.changes: list[tuple[str, bytes]] = []
        """What was done, as `SyncCounts` calls it, and to which path; the first of very many."""
        self._moved: list[tuple[int, bytes, FileStamp]] = []
        self._put: list[PhotoRow] = []
        self._thumbnails: list[tuple[bytes, bytes]] = []

    @staticmethod
    def join(syncs: Sequence["Sync"]) -> None:
        """Count a file that is missing from one of these folders and found in another as moved."""
        gone: defaultdict[bytes, list[tuple[Sync, bytes]]] = defaultdict(list)
        for sync in syncs:
            for content_hash, places in sync._gone.items():
                gone[content_hash] += places
            sync._gone = gone

    def kept(self) -> dict[bytes, int]:
        """Count the missing photos that are kept, for each folder that was found empty."""
        places = (folder_around(path, self._empty) for path in self._missing)
        return dict(Counter(place for place in places if place is not None))

    def resolve(self, path: bytes, stamp: FileStamp, content_hash: bytes) -> bool:
        """Store a file whose content is known already: touched, moved or copied. False if it must be embedded."""
        known = self._known.get(path)
        if known is not None and known.content_hash == content_hash and not known.skipped:
            self._moved.append((known.id, path, stamp))
            self._counts["unchanged"] += 1
        elif known is None and (places := self._gone.get(content_hash)):
            owner, old_path = places.pop()
            moved = owner._missing.pop(old_path)
            self._moved.append((moved.id, path, stamp))
            self._count("moved", path)
        elif (row := self._rows.row_with_content(content_hash)) is not None:
            self._put.append(replace(row, path=path, stamp=stamp))
            here = os.path.join(self._folder, path)
            # Also from a folder that this run does not look at, or that is gone with all its photos.
            known_places = self._rows.paths_with_content(content_hash) if known is None else []
            there = any(place != here and self._is_there(place) for place in known_places)
            self._count("changed" if known is not None else "copied" if there else "moved", path)
        else:
            return False
        if len(self._moved) + len(self._put) >= BATCH:
            self._write()
        return True

    def add(self, batch: Sequence[NewPhoto]) -> None:
        """Store photos, in one change of the rows. Raises ValueError for a wrong shape."""
        for photo in batch:
            if photo.embedding is not None and photo.embedding.shape != (self._dim,):
                raise ValueError(
                    f"the embedding of {photo.path!r} has shape {photo.embedding.shape}, not ({self._dim},)"
                )
            self._put.append(PhotoRow.from_photo(photo, photo.path))
            if photo.thumbnail is not None and photo.content_hash is not None:
                self._thumbnails.append((photo.content_hash, photo.thumbnail))
            changed = "new" if photo.path not in self._known else "changed"
            self._count(changed if photo.skipped is None else "skipped", photo.path)
        self._write()

    def finish(self) -> SyncCounts:
        """As `finish_all`, of one folder."""
        [counts] = Sync.finish_all([self])
        return counts

    @staticmethod
    def finish_all(syncs: Sequence["Sync"]) -> list[SyncCounts]:
        """Remove what is missing in folders, bring what is derived up to date, and count what was done in each.

        Raises IndexStorageError. If only what is derived could not be written, nothing is lost: the rows are stored.
        """
        counts = [sync._remove_missing() for sync in syncs]
        # Once, because it reads the file of all vectors, and may write it.
        for derived in {id(sync._derived): sync._derived for sync in syncs}.values():
            derived.update()
        return counts

    def _remove_missing(self) -> SyncCounts:
        gone = sorted(path for path in self._missing if folder_around(path, self._empty) is None)
        removed = [self._missing[path].id for path in gone]
        self._counts["removed"] = len(removed)
        self.changes += [("removed", path) for path in gone[: MANY_CHANGES - len(self.changes)]]
        self._write(removed=removed)
        return SyncCounts(**self._counts)

    def _count(self, what: str, path: bytes) -> None:
        self._counts[what] += 1
        if len(self.changes) < MANY_CHANGES:
            self.changes.append((what, path))

    def _write(self, *, removed: Sequence[int] = ()) -> None:
        if self._put or self._moved or removed:
            self._rows.change(put=self._put, moved=self._moved, removed=removed, thumbnails=self._thumbnails)
            self._put, self._moved, self._thumbnails = [], [], []
