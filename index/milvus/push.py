"""Copies an index in a folder to Milvus: what differs is sent, what is gone is removed. Run again, it goes on."""

import os
import shlex
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from index.catalog.catalog import Catalog
from index.catalog.queries import WITH_ROOT, count_embedded
from index.catalog.rows import unpack_embeddings
from index.catalog.schema import OWN
from index.errors import ModelMismatchError, PhotoIndexError
from index.milvus.calls import WRITING_PATIENCE
from index.milvus.collection import PAGE, MilvusCollection
from index.milvus.filters import ID, encoded
from index.milvus.place import MilvusPlace
from index.milvus.rows import DIGEST, RemotePhoto, classes_of
from index.milvus.state import HNSW, CollectionState, check_kind
from index.photo_index import CATALOG
from index.records import FileStamp


@dataclass(frozen=True, slots=True)
class PushReport:
    """How many photos were sent, were there as they are, and were removed; `photos` are there now.

    Not `indexed`: the server has not finished its index, and until then finds fewer of the best.
    """

    photos: int
    sent: int
    unchanged: int
    removed: int
    indexed: bool = True


def push(
    folder: Path,
    place: MilvusPlace,
    *,
    kind: str | None = None,
    replace_other: bool = False,
    progress: Callable[[int, int], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> PushReport:
    """Make a collection, which need not be there yet, the copy of the index in a folder; equal rows are not sent again.

    `kind` of index in Milvus, HNSW or Flat, is chosen when it is made. With `replace_other` a collection that is the
    copy of another index, or was made with another model or kind, is removed first. When all is sent it waits for the
    server's index, and calls `say` with how far that is. Raises PhotoIndexError and
    ModelMismatchError for one without that, OptionError for a kind that there is not, IndexNotFoundError, and what
    `Calls` does.
    """
    if kind is not None:
        check_kind(kind)
    with closing(Catalog.open(folder / CATALOG)) as catalog:
        first = CollectionState.of(catalog.state(), kind=kind or HNSW)
        collection = MilvusCollection.create(place, first, patience=WRITING_PATIENCE)
        try:
            if (problem := _other(collection.state, first, kind, place, folder)) is not None:
                if not replace_other:
                    raise problem
                collection.drop()
                collection.close()
                collection = MilvusCollection.create(place, first, patience=WRITING_PATIENCE)
            return _copied(catalog, collection, progress, say)
        finally:
            collection.close()


def _other(
    there: CollectionState, first: CollectionState, kind: str | None, place: MilvusPlace, folder: Path
) -> PhotoIndexError | None:
    """Return why a collection is no copy of this index, None if it is one."""
    chosen = [] if kind is None else ["--kind", kind]
    again = shlex.join(["fc7", "push", "--index", str(folder), "--to", str(place), *chosen, "--replace"])
    hint = f"name another collection, or run `{again}`, which removes what is there first"
    if (there.fingerprint, there.dim) != (first.fingerprint, first.dim):
        return ModelMismatchError(f"The index in {place} was made with another model, {there.model_name}", hint=hint)
    if there.writer:
        return PhotoIndexError(f"{place} was filled by fc7 index, and is the copy of no index in a folder", hint=hint)
    if there.identity != first.identity:
        return PhotoIndexError(f"{place} is the copy of another index than that in {folder}", hint=hint)
    if kind is not None and kind != there.kind:
        return PhotoIndexError(f"The index in {place} is of the kind {there.kind}, not {kind}", hint=hint)
    return None


def _copied(
    catalog: Catalog,
    collection: MilvusCollection,
    progress: Callable[[int, int], None] | None,
    say: Callable[[str], None] | None,
) -> PushReport:
    total = count_embedded(catalog)
    [(last_id,)] = catalog.rows("SELECT coalesce(max(id), 0) FROM photos")
    collection.put_state(replace(collection.state, complete=False, last_id=max(last_id, collection.state.last_id, 1)))
    sent = removed = done = after = 0
    for photos in photos_by_id(catalog):
        last = photos[-1].id
        there = {int(row[ID]): row[DIGEST] for rows in collection.rows("", [DIGEST], after, last) for row in rows}
        new = [photo for photo in photos if there.pop(photo.id, None) != photo.values()[DIGEST]]
        collection.upsert(new)
        collection.delete(list(there))
        sent, removed, done, after = sent + len(new), removed + len(there), done + len(photos), last
        if progress is not None:
            progress(done, max(done, total))
    for rows in collection.rows("", [], after):
        collection.delete([int(row[ID]) for row in rows])
        removed += len(rows)
    collection.flush()
    own = catalog.rows("SELECT name FROM own_labels ORDER BY name")
    collection.put_state(
        replace(
            collection.state,
            complete=True,
            photos=done,
            generation=collection.state.generation + bool(sent or removed),
            model_path=encoded(catalog.state().model_path),
            roots=tuple(encoded(root) for _, root in catalog.roots()),
            own_labels=tuple(encoded(name) for (name,) in own),
        )
    )
    indexed = collection.wait_until_indexed(say=say) if sent else True
    return PushReport(done, sent, done - sent, removed, indexed)


def photos_by_id(catalog: Catalog) -> Iterator[list[RemotePhoto]]:
    """Read all photos that have an embedding, by id, in lists. Raises IndexFormatError for a damaged embedding."""
    after, dim = 0, catalog.state().dim
    while True:
        with catalog.snapshot():
            rows = catalog.rows(
                "SELECT photos.id, roots.path, photos.path, size, mtime_ns, content_hash, width, height, labels, taken,"
                f" embedding {WITH_ROOT} WHERE photos.id > ? AND embedding IS NOT NULL ORDER BY photos.id LIMIT ?",
                (after, PAGE),
            )
            if not rows:
                return
            own = _own_labels(catalog, after, rows[-1][0])
        embeddings = unpack_embeddings([row[-1] for row in rows], dim)
        yield [
            RemotePhoto(
                id=id,
                path=os.path.join(root, path),
                stamp=FileStamp(size, mtime_ns),
                content_hash=content_hash,
                width=width or 0,
                height=height or 0,
                classes=classes_of(labels) | own.get(id, {}),
                embedding=embedding,
                taken=taken or "",
                labels=labels,
            )
            for (id, root, path, size, mtime_ns, content_hash, width, height, labels, taken, _), embedding in zip(
                rows, embeddings, strict=True
            )
        ]
        after = rows[-1][0]


def _own_labels(catalog: Catalog, after: int, last: int) -> dict[int, dict[str, float]]:
    """Read by id the probabilities of the user's own labels, by what the table of labels calls them."""
    found: defaultdict[int, dict[str, float]] = defaultdict(dict)
    for (name,) in catalog.rows("SELECT name FROM own_labels"):
        for id, probability in catalog.rows(
            "SELECT photo_id, probability FROM labels WHERE class = ? AND photo_id > ? AND photo_id <= ?",
            (OWN + name, after, last),
        ):
            found[id][OWN + name] = probability
    return found
