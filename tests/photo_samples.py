"""Photos without pictures, for the tests of the index: a file is its content, and the content decides the embedding."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from index.index_writer import IndexWriter
from index.photo_index import PhotoIndex
from index.records import FileStamp, NewPhoto, Prediction, SyncCounts

DIM = 8


@dataclass(frozen=True)
class SampleFile:
    """A file; content that begins with `bad` is not a picture."""

    content: bytes
    mtime_ns: int = 1

    @property
    def stamp(self) -> FileStamp:
        return FileStamp(len(self.content), self.mtime_ns)


def hash_of(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def embed(content: bytes, dim: int = DIM) -> NDArray[np.float32]:
    """Make an embedding (dim,) of unit length that depends on nothing but the content."""
    generator = np.random.default_rng(int.from_bytes(hash_of(content), "little"))
    vector = generator.normal(size=dim)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def new_photo(path: bytes, file: SampleFile) -> NewPhoto:
    """Look at a file as the program would: embed it, or say why not."""
    if file.content.startswith(b"bad"):
        return NewPhoto(path, file.stamp, hash_of(file.content), skipped="not a picture")
    labels = (Prediction("a cat", "n02123045", 0.75), Prediction("ein Kätzchen", None, 0.25))
    return NewPhoto(path, file.stamp, hash_of(file.content), 40, 30, embed(file.content), labels)


def open_for_writing(folder: Path) -> IndexWriter:
    return IndexWriter.open_for_writing(folder, fingerprint="abc", model_name="sample", dim=DIM)


def bring_up_to_date(
    index: IndexWriter,
    root: Path,
    files: Mapping[bytes, SampleFile],
    *,
    batch_size: int = 3,
    stop_after: int | None = None,
    retry_skipped: bool = False,
) -> tuple[SyncCounts | None, list[bytes]]:
    """Play the part of the program above: returns the counts and the paths that were embedded, in order.

    With `stop_after` the run breaks off after so many batches, as when it is killed, and there are no counts.
    """
    found = {path: file.stamp for path, file in files.items()}
    sync = index.begin_sync(root, found, retry_skipped=retry_skipped)
    embedded: list[bytes] = []
    to_add: list[NewPhoto] = []
    batches = 0
    for path in sync.to_read:
        file = files[path]
        if sync.resolve(path, file.stamp, hash_of(file.content)):
            continue
        to_add.append(new_photo(path, file))
        embedded.append(path)
        if len(to_add) == batch_size:
            if batches == stop_after:
                return None, embedded
            sync.add(to_add)
            to_add, batches = [], batches + 1
    if stop_after is not None:
        return None, embedded
    sync.add(to_add)
    return sync.finish(), embedded


def contents_of(index: PhotoIndex) -> dict[Path, tuple[bytes | None, bytes | None, str | None]]:
    """Read the whole index: content hash, embedding and reason by path."""
    contents: dict[Path, tuple[bytes | None, bytes | None, str | None]] = {}
    paths = [path for photos in index.photos.embeddings() for path in photos.paths]
    for path in [*paths, *(skipped.path for skipped in index.photos.skipped())]:
        photo = index.photos.at(path)
        assert photo is not None
        embedding = None if photo.embedding is None else photo.embedding.tobytes()
        contents[path] = (photo.content_hash, embedding, photo.skipped)
    return contents


def embedding_of(index: PhotoIndex, path: Path) -> NDArray[np.float32] | None:
    """Return the embedding (dim,) that an index has of a photo, None where it has none."""
    photo = index.photos.at(path)
    return None if photo is None else photo.embedding
