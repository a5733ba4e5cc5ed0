"""A shard: photos with their embeddings as a Parquet file, which any program that knows Parquet can read.

| column | type | |
|---|---|---|
| id | int64 | of root and path: the same in every run |
| root, path | binary | the folder, absolute or a URL, and the path in it, as the file system has them |
| size, mtime_ns | int64 | of the file, in bytes and nanoseconds |
| content_hash | binary | BLAKE2b of the file, 16 bytes |
| width, height | int32 | of the upright picture, in pixels |
| embedding | fixed-size list of float32 | as the model gave it, of unit length |
| labels | string | JSON: [[label, WordNet id, probability], …], the most probable first |
| skipped | string | why there is no embedding |
| later | bool | whether it should be tried again, though the file does not change: a drive that was not there |
| missing | string | which part of the picture is missing |
| taken | string | when it was taken, ISO 8601, by the clock of its camera; empty where its file does not say |
| thumbnail | binary | a grey JPEG of 128×128 that copies are recognised by |

The metadata of the schema tell model, fingerprint and root. A page has a checksum.
"""

import json
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np

from index.catalog.rows import has_direction, pack_labels, pack_taken, unpack_labels, unpack_taken
from index.errors import IndexFormatError, ModelMismatchError, ShardError
from index.records import FileStamp, NewPhoto
from retrieval.photos.object_storage import reason_of
from retrieval.pipeline.stages import EmbeddedBatch
from retrieval.shards.place import ShardPlace

FORMAT = 1
SUFFIX = ".parquet"
_KEY = b"fc7"
_STAMPS = ("path", "size", "mtime_ns", "later")


@dataclass(frozen=True, slots=True)
class ShardHeader:
    """What all rows of a shard have in common: the model, its fingerprint and dimension, and the folder."""

    model_name: str
    fingerprint: str
    dim: int
    root: bytes


def photo_id(root: bytes, path: bytes) -> int:
    """Return the id of a photo, from 0 to 2⁶³ - 1, which depends on nothing but its folder and its path there.

    Of a billion photos two have the same id with a probability of 5 %, of 100 million with 0.05 %.
    """
    digest = blake2b(root + b"\0" + path, digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def write_shard(place: ShardPlace, name: str, header: ShardHeader, batch: EmbeddedBatch) -> None:
    """Write photos as a shard, whole or not at all. Raises ShardError."""
    import pyarrow
    import pyarrow.parquet

    photos = batch.photos
    count, later = len(photos), len(batch.later)
    paths = [*(photo.path for photo in photos), *(path for path, _ in batch.later)]
    nothing = [None] * later
    embeddings = np.zeros((len(paths), header.dim), np.float32)
    has = np.zeros(len(paths), np.bool_)
    for row, photo in enumerate(photos):
        if photo.embedding is not None:
            embeddings[row], has[row] = photo.embedding, True

    def of_each(get: Callable[[NewPhoto], object], kind: Any) -> Any:
        return pyarrow.array([*map(get, photos), *nothing], kind)

    columns = {
        "id": pyarrow.array([photo_id(header.root, path) for path in paths], pyarrow.int64()),
        "root": pyarrow.array([header.root] * len(paths), pyarrow.binary()),
        "path": pyarrow.array(paths, pyarrow.binary()),
        "size": of_each(lambda photo: photo.stamp.size, pyarrow.int64()),
        "mtime_ns": of_each(lambda photo: photo.stamp.mtime_ns, pyarrow.int64()),
        "content_hash": of_each(lambda photo: photo.content_hash, pyarrow.binary()),
        "width": of_each(lambda photo: photo.width, pyarrow.int32()),
        "height": of_each(lambda photo: photo.height, pyarrow.int32()),
        "embedding": pyarrow.FixedSizeListArray.from_arrays(
            pyarrow.array(embeddings.reshape(-1)), header.dim, mask=pyarrow.array(~has)
        ),
        "labels": of_each(lambda photo: pack_labels(photo.labels), pyarrow.string()),
        "skipped": pyarrow.array(
            [
                _text(reason)
                for reason in [*(photo.skipped for photo in photos), *(reason for _, reason in batch.later)]
            ],
            pyarrow.string(),
        ),
        "later": pyarrow.array([False] * count + [True] * later, pyarrow.bool_()),
        "missing": of_each(lambda photo: _text(photo.missing), pyarrow.string()),
        "taken": of_each(lambda photo: pack_taken(photo.taken), pyarrow.string()),
        "thumbnail": of_each(lambda photo: photo.thumbnail, pyarrow.binary()),
    }
    told = {"format": FORMAT, "model": header.model_name, "fingerprint": header.fingerprint, "dim": header.dim}
    metadata = {_KEY: json.dumps(told | {"root": os.fsdecode(header.root)})}
    table = pyarrow.table(columns).replace_schema_metadata(metadata)
    sink = pyarrow.BufferOutputStream()
    # Thumbnails are compressed already, and embeddings do not get smaller.
    pyarrow.parquet.write_table(
        table, sink, compression="none", use_dictionary=["root"], write_page_checksum=True, write_statistics=False
    )
    place.write(name, sink.getvalue())


def read_shard(
    place: ShardPlace, name: str, header: ShardHeader, *, only: Collection[tuple[bytes, FileStamp]] | None = None
) -> EmbeddedBatch:
    """Read a shard, or of it those photos that are `only` wanted, which have been looked at.

    Raises ShardError for one that is damaged or has another root, and ModelMismatchError for one of another model.
    """
    found = _opened(place, name, header)
    if found.root != header.root:
        raise ShardError(f"{_shown(place, name)} is of another folder, {os.fsdecode(found.root)}")
    try:
        table = found.file.read()
        embeddings = np.asarray(table["embedding"].combine_chunks().flatten(), np.float32).reshape(-1, header.dim)
        rows = iter(embeddings)
        photos, later = [], []
        for row in table.drop_columns(["id", "root", "embedding"]).to_pylist():
            if row["later"]:
                later.append((row["path"], row["skipped"]))
                continue
            embedding = next(rows) if row["skipped"] is None else None
            if embedding is not None and not has_direction(embedding):
                raise ValueError("an embedding is not finite, or zero")
            stamp = FileStamp(row["size"], row["mtime_ns"])
            if only is not None and (row["path"], stamp) not in only:
                continue
            photos.append(
                NewPhoto(
                    row["path"],
                    stamp,
                    row["content_hash"],
                    row["width"],
                    row["height"],
                    embedding,
                    unpack_labels(row["labels"]),
                    row["skipped"],
                    row["missing"],
                    row["thumbnail"],
                    taken=unpack_taken(row["taken"]),
                )
            )
        if next(rows, None) is not None:
            raise ValueError("there are more embeddings than photos")
    except _damage() as error:
        raise _damaged(place, name, error) from error
    return EmbeddedBatch(tuple(photos), () if only is not None else tuple(later))


def shard_stamps(place: ShardPlace, name: str, header: ShardHeader) -> list[tuple[bytes, FileStamp]]:
    """Return the paths that a shard answers for good, with their stamps; none where it is of another folder.

    Raises ShardError and ModelMismatchError, as `read_shard`.
    """
    found = _opened(place, name, header)
    if found.root != header.root:
        return []
    try:
        columns = found.file.read(columns=list(_STAMPS)).to_pydict()
        rows = zip(*(columns[name] for name in _STAMPS), strict=True)
        return [(path, FileStamp(size, mtime_ns)) for path, size, mtime_ns, later in rows if not later]
    except _damage() as error:
        raise _damaged(place, name, error) from error


@dataclass(frozen=True, slots=True)
class _Opened:
    file: Any
    root: bytes


def _opened(place: ShardPlace, name: str, header: ShardHeader) -> _Opened:
    import pyarrow.parquet

    source = place.open(name)
    try:
        file = pyarrow.parquet.ParquetFile(source, page_checksum_verification=True)
        told = json.loads((file.schema_arrow.metadata or {})[_KEY])
        root = os.fsencode(told["root"])
        if told["format"] != FORMAT:
            raise ShardError(
                f"{_shown(place, name)} was written by a newer fc7 (format {told['format']})",
                hint="run `pip install --upgrade fc7`, or choose another folder with --shards",
            )
        if told["fingerprint"] != header.fingerprint or told["dim"] != header.dim:
            raise ModelMismatchError(
                f"{_shown(place, name)} was made with another model ({told['model']})",
                hint="choose another folder with --shards, or that model with -m",
            )
    except _damage() as error:
        raise _damaged(place, name, error) from error
    return _Opened(file, root)


def _damage() -> tuple[type[Exception], ...]:
    import pyarrow

    return (OSError, pyarrow.ArrowException, KeyError, TypeError, ValueError, IndexFormatError)


def _damaged(place: ShardPlace, name: str, error: BaseException) -> ShardError:
    return ShardError(
        f"{_shown(place, name)} is damaged, or no shard of fc7 ({reason_of(error)})", hint="remove it; no photo is lost"
    )


def _shown(place: ShardPlace, name: str) -> str:
    return f"{place.shown.rstrip('/')}/{name}"


def _text(reason: str | None) -> str | None:
    """Return a reason as a Parquet string can hold it: it may name a file whose name is no text."""
    return None if reason is None else reason.encode("utf-8", "backslashreplace").decode()
