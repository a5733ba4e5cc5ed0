"""Photos as the catalogue stores them: embeddings as float16, labels as JSON."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from index.errors import IndexFormatError
from index.records import FileStamp, NewPhoto, Prediction


@dataclass(frozen=True, slots=True)
class PhotoRow:
    """A row of the table `photos`, without its ids; `path` is relative to the root."""

    path: bytes
    stamp: FileStamp
    content_hash: bytes | None
    width: int | None
    height: int | None
    embedding: bytes | None
    labels: str | None
    skipped: str | None
    taken: str | None = None
    """As `pack_taken` encodes it; None where nobody has looked."""

    @classmethod
    def from_photo(cls, photo: NewPhoto, path: bytes) -> "PhotoRow":
        """Encode a photo under a path of the catalogue. Raises ValueError for an embedding without a direction."""
        return cls(
            path,
            photo.stamp,
            photo.content_hash,
            photo.width,
            photo.height,
            None if photo.embedding is None else pack_embedding(photo.embedding),
            pack_labels(photo.labels),
            photo.skipped,
            pack_taken(photo.taken),
        )

    def columns(self) -> tuple[bytes | int | str | None, ...]:
        """List the values in the order of the table."""
        stamp = self.stamp
        return (
            self.path,
            stamp.size,
            stamp.mtime_ns,
            self.content_hash,
            self.width,
            self.height,
            self.embedding,
            self.labels,
            self.skipped,
            self.taken,
        )


def has_direction(embedding: NDArray[np.float32]) -> bool:
    """Tell whether an embedding (dim,) is finite and not zero."""
    length = np.linalg.norm(embedding.astype(np.float64))
    return bool(np.isfinite(length) and length > 0)


def pack_embedding(embedding: NDArray[np.float32]) -> bytes:
    """Encode the direction of an embedding (dim,). Raises ValueError where it has none: zero, NaN, infinity."""
    if not has_direction(embedding):
        raise ValueError("an embedding must be finite and not zero")
    return (embedding / np.linalg.norm(embedding.astype(np.float64))).astype("<f2").tobytes()


def unpack_embeddings(stored: Sequence[bytes], dim: int) -> NDArray[np.float32]:
    """Decode n embeddings to (n, dim), scaled to unit length again so that each is nearest to itself.

    Raises IndexFormatError where one does not have `dim` values, or no direction.
    """
    try:
        if set(map(len, stored)) - {2 * dim}:
            raise ValueError(f"not all have {dim} values")
        embeddings = np.frombuffer(b"".join(stored), dtype="<f2").reshape(len(stored), dim).astype(np.float32)
        lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
        if not (np.isfinite(lengths) & (lengths > 0)).all():
            raise ValueError("not all are finite and not zero")
    except (TypeError, ValueError) as error:
        raise IndexFormatError(
            "an embedding in the index is damaged", hint="repair it with `fc7 check --repair`"
        ) from error
    embeddings /= lengths
    return embeddings


def pack_labels(labels: Sequence[Prediction] | None) -> str | None:
    """Encode predictions, in ASCII: the name of a class need not be valid text."""
    if labels is None:
        return None
    return json.dumps([[label.label, label.id, float(label.probability)] for label in labels])


def unpack_labels(stored: str | None) -> tuple[Prediction, ...] | None:
    """Decode predictions. Raises IndexFormatError where they are damaged."""
    if stored is None:
        return None
    try:
        return tuple(Prediction(str(label), id, float(score)) for label, id, score in json.loads(stored))
    except (TypeError, ValueError) as error:
        raise IndexFormatError("labels in the index are damaged", hint="repair it with `fc7 check --repair`") from error


def pack_taken(taken: datetime | None) -> str:
    """Encode when a photo was taken, so that texts are in the order of time; "" where its file does not say."""
    return "" if taken is None else taken.isoformat(timespec="seconds")


def unpack_taken(stored: str | None) -> datetime | None:
    """Decode when a photo was taken, None also where it is not known. Raises IndexFormatError where it is damaged."""
    try:
        return datetime.fromisoformat(stored) if stored else None
    except ValueError as error:
        raise IndexFormatError("a date in the index is damaged", hint="repair it with `fc7 check --repair`") from error
