"""An index in Milvus that `fc7 index` fills from folders: there is no catalogue, the rows of Milvus are the truth."""

import os
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from index.catalog.rows import PhotoRow, pack_embedding, unpack_embeddings
from index.errors import IndexLockedError, ModelMismatchError, OptionError, PhotoIndexError
from index.files import absolute, path_below
from index.milvus.calls import WRITING_PATIENCE
from index.milvus.collection import MilvusCollection
from index.milvus.filters import HASH, ID, PATH, PHOTOS, SKIPPED_PHOTOS, STATE_ID, decoded_path, encoded
from index.milvus.milvus_index import LOOKED_EVERY, MilvusIndex
from index.milvus.place import MilvusPlace
from index.milvus.rows import MODIFIED, RemotePhoto, classes_of, hash_in
from index.milvus.state import HNSW, CollectionState, check_kind
from index.records import FileStamp
from index.sync.plan import KnownFile
from index.sync.run import Sync

IDS_AT_ONCE = 1024
"""Ids that are reserved in the state before photos get them, so that no other run gives them away."""


class MilvusWriter(MilvusIndex):
    """An index that `fc7 index` may change; see `FillableIndex`, which it is.

    Milvus has no locks. The last run that began is the writer: one that began before finds that out, and stops.
    """

    def __init__(
        self, collection: MilvusCollection, *, fingerprint: str, building: Callable[[str], None] | None = None
    ) -> None:
        """Use `open_for_writing`."""
        super().__init__(collection, fingerprint=fingerprint)
        self._building = building
        self._next_id = self._last_reserved = 0
        self._begun = self._looked = time.monotonic()
        self._overtook = False
        self._changed = False
        self._known: dict[bytes, KnownFile] = {}
        self._paths: dict[int, bytes] = {}
        self._places: defaultdict[bytes, set[bytes]] = defaultdict(set)

    @classmethod
    def open_for_writing(
        cls,
        place: MilvusPlace,
        *,
        fingerprint: str,
        model_name: str,
        dim: int,
        model_path: Path | None = None,
        kind: str | None = None,
        building: Callable[[str], None] | None = None,
    ) -> "MilvusWriter":
        """Open an index to add to it, or make one, of that `kind`, where there is none, and become its writer.

        Reads what is known of all files. `building` is called while the server makes its index, at the end. Raises
        ModelMismatchError, OptionError for another kind, PhotoIndexError for the copy of an index in a folder, and what
        `MilvusCollection.create` does.
        """
        if kind is not None:
            check_kind(kind)
        first = CollectionState.fresh(model_name=model_name, fingerprint=fingerprint, dim=dim, kind=kind or HNSW)
        collection = MilvusCollection.create(place, first, patience=WRITING_PATIENCE, consistency="session")
        try:
            index = cls(collection, fingerprint=fingerprint, building=building)
            index._begin("" if model_path is None else encoded(absolute(model_path)), dim, kind)
            return index
        except BaseException:
            collection.close()
            raise

    def set_kind(self, kind: str) -> None:
        """Check that it is the kind that there is, which cannot be changed. Raises OptionError."""
        check_kind(kind)
        if kind != self._collection.state.kind:
            raise OptionError(
                f"The index in {self.place} is of the kind {self._collection.state.kind}, not {kind}",
                hint="leave out --kind, or name another collection",
            )

    def set_exclude(self, patterns: Sequence[str]) -> None:
        """Choose the patterns, as in a .gitignore, of what callers leave out of folders from the next sync on."""
        if tuple(patterns) != self.exclude:
            self._put_state(exclude=tuple(map(encoded, patterns)))

    def begin_sync(
        self,
        root: Path,
        found: Mapping[bytes, FileStamp],
        *,
        retry_skipped: bool = False,
        unlisted: Collection[bytes] = (),
        empty: Collection[bytes] = (),
        is_there: Callable[[bytes], bool] = lambda _: True,
    ) -> Sync:
        """See `IndexWriter.begin_sync`."""
        folder = os.fsencode(absolute(root))
        self._claim_root(folder)
        return Sync(
            FolderInMilvus(self, folder),
            self,
            folder,
            found,
            retry_skipped=retry_skipped,
            unlisted=unlisted,
            empty=empty,
            is_there=is_there,
        )

    def update(self) -> None:
        """Have the server keep and index what was added, and say in the state that all is there."""
        # A run that went on after this one began, or a `forget` that was killed, changed rows and not their number.
        if self._changed or not self.complete or self._collection.count(PHOTOS) != self._collection.state.photos:
            self._remove_unknown()
            self._collection.flush()
            state = self._collection.state
            # What was reserved and not needed is free again, or ids would soon be far between.
            last = self._next_id if self._last_reserved else state.last_id
            self._last_reserved = self._next_id
            count = self._collection.count(PHOTOS)
            self._put_state(complete=True, photos=count, generation=state.generation + 1, last_id=last)
            self._changed = False
            self._collection.wait_until_indexed(say=self._building)

    def _remove_unknown(self) -> None:
        """Remove rows that a run stored which went on after this one began: their photos may have two."""
        if self._overtook:
            time.sleep(max(0.0, self._begun + LOOKED_EVERY - time.monotonic()))  # by then it has stopped
        self._check_writer(now=True)
        skipped = sum(id < STATE_ID for id in self._paths)
        for condition, count, read in (
            (PHOTOS, len(self._paths) - skipped, self._collection.rows),
            (SKIPPED_PHOTOS, skipped, self._collection.skipped_rows),
        ):
            if self._collection.count(condition) != count:
                for rows in read("", []):
                    self._collection.delete([int(row[ID]) for row in rows if int(row[ID]) not in self._paths])

    def known_below(self, folder: bytes) -> dict[bytes, KnownFile]:
        """Return what is known of the files below an absolute path, by their path from there on."""
        found = ((path_below(path, folder), file) for path, file in self._known.items())
        return {path: file for path, file in found if path}

    def row_with_content(self, content_hash: bytes) -> PhotoRow | None:
        """See `FolderRows`."""
        for path in self._places.get(content_hash, ()):
            for photo in self._collection.get([self._known[path].id]):
                return _row_of(photo)
        return None

    def paths_with_content(self, content_hash: bytes) -> Sequence[bytes]:
        """See `FolderRows`."""
        return sorted(self._places.get(content_hash, ()))

    def change(
        self,
        folder: bytes,
        put: Sequence[PhotoRow],
        moved: Sequence[tuple[int, bytes, FileStamp]],
        removed: Sequence[int],
    ) -> None:
        """See `FolderRows.change`; paths are relative to `folder`."""
        self._check_writer()
        if not self._changed:
            self._put_state(complete=False)
            self._changed = True
        to = {id: (os.path.join(folder, path), stamp) for id, path, stamp in moved}
        photos = [replace(photo, path=to[photo.id][0], stamp=to[photo.id][1]) for photo in self._collection.get([*to])]
        photos += [self._photo_of(folder, row) for row in put]
        ids = {photo.id for photo in photos}
        # What gets or loses its vector has another id. Where a run is killed before the old one is removed, the next
        # run keeps one of the two.
        replaced = [file.id for photo in photos if (file := self._known.get(photo.path)) and file.id not in ids]
        self._collection.upsert(photos)
        self._collection.delete([*removed, *replaced])
        gone = {*removed, *replaced, *ids}
        for id in gone:
            self._forget(id)
        for photo in photos:
            self._remember(photo.path, KnownFile(photo.id, photo.stamp, photo.content_hash, photo.skipped is not None))

    def _begin(self, model_path: str, dim: int, kind: str | None) -> None:
        """Become the writer, and read what is known. Raises what `open_for_writing` does."""
        state = self._collection.state
        if not state.writer:
            raise PhotoIndexError(
                f"{self.place} is the copy of an index in a folder",
                hint=f"run `fc7 index` on that one, then `fc7 push --to {self.place}`; or name another collection",
            )
        if state.dim != dim:
            raise ModelMismatchError(f"The index in {self.place} has {state.dim} values of a photo, the model {dim}")
        if kind is not None:
            self.set_kind(kind)
        self._overtook = not state.complete
        self._collection.put_state(replace(state, writer=self._run, model_path=model_path))
        columns, doubled = [PATH, "size", MODIFIED, HASH], list[int]()
        for find in (self._collection.rows, self._collection.skipped_rows):
            for rows in find("", columns):
                for row in rows:
                    path, id = decoded_path(row[PATH]), int(row[ID])
                    if path in self._known:
                        doubled.append(id)
                    else:
                        stamp = FileStamp(int(row["size"]), int(row[MODIFIED]))
                        self._remember(path, KnownFile(id, stamp, hash_in(row), id < STATE_ID))
        self._collection.delete(doubled)

    def _claim_root(self, folder: bytes) -> None:
        roots = [decoded_path(root) for root in self._collection.state.roots]
        if not any(path_below(folder, root) is not None for root in roots):
            kept = [root for root in roots if path_below(root, folder) is None]
            self._put_state(roots=tuple(encoded(root) for root in sorted([*kept, folder])))

    def _photo_of(self, folder: bytes, row: PhotoRow) -> RemotePhoto:
        path = os.path.join(folder, row.path)
        known = self._known.get(path)
        id = self._new_id() if known is None else abs(known.id)
        dim = self._collection.state.dim
        return RemotePhoto(
            id=id if row.skipped is None else -id,
            path=path,
            stamp=row.stamp,
            content_hash=row.content_hash,
            width=row.width or 0,
            height=row.height or 0,
            classes=classes_of(row.labels),
            embedding=np.zeros(dim, np.float32)
            if row.embedding is None
            else unpack_embeddings([row.embedding], dim)[0],
            taken=row.taken or "",
            labels=row.labels,
            skipped=row.skipped,
        )

    def _new_id(self) -> int:
        if self._next_id >= self._last_reserved:
            self._check_writer(now=True)
            self._next_id = self._collection.state.last_id
            self._last_reserved = self._next_id + IDS_AT_ONCE
            self._put_state(last_id=self._last_reserved)
        self._next_id += 1
        return self._next_id

    def _put_state(self, **values: object) -> None:
        self._check_writer(now=True)
        self._collection.put_state(replace(self._collection.state, **values))  # type: ignore[arg-type]

    def _check_writer(self, *, now: bool = False) -> None:
        """Read the state again if that is some time ago, or `now`. Raises IndexLockedError where another run began."""
        if now or time.monotonic() - self._looked > LOOKED_EVERY:
            self._looked = time.monotonic()
            if self._collection.reread().writer != self._run:
                raise IndexLockedError(
                    f"another fc7 index or forget has begun to change {self.place}",
                    hint="what was stored is kept; run the same command again when the other has ended",
                )

    def _remember(self, path: bytes, file: KnownFile) -> None:
        self._known[path], self._paths[file.id] = file, path
        if file.content_hash is not None and not file.skipped:
            self._places[file.content_hash].add(path)

    def _forget(self, id: int) -> None:
        if (path := self._paths.pop(id, None)) is None:
            return
        file = self._known.pop(path)
        if file.content_hash is not None:
            self._places[file.content_hash].discard(path)


class FolderInMilvus:
    """The rows of a folder (absolute); see `FolderRows`, which it is. Thumbnails are not stored."""

    def __init__(self, writer: MilvusWriter, folder: bytes) -> None:
        self._writer, self._folder = writer, folder
        self.dim = writer.dim

    def known(self) -> Mapping[bytes, KnownFile]:
        """Return what is known of the files in the folder, by path."""
        return self._writer.known_below(self._folder)

    def row_with_content(self, content_hash: bytes) -> PhotoRow | None:
        """Find a photo with an embedding whose file had this content."""
        return self._writer.row_with_content(content_hash)

    def paths_with_content(self, content_hash: bytes) -> Sequence[bytes]:
        """List the absolute paths of all such photos."""
        return self._writer.paths_with_content(content_hash)

    def change(
        self,
        *,
        put: Sequence[PhotoRow] = (),
        moved: Sequence[tuple[int, bytes, FileStamp]] = (),
        removed: Sequence[int] = (),
        thumbnails: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        """See `FolderRows`."""
        self._writer.change(self._folder, put, moved, removed)


def _row_of(photo: RemotePhoto) -> PhotoRow:
    return PhotoRow(
        photo.path,
        photo.stamp,
        photo.content_hash,
        photo.width,
        photo.height,
        pack_embedding(photo.embedding),
        photo.labels,
        None,
        photo.taken,
    )
