"""What goes into an index and what comes out of it."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from index.vectors.kinds import Quality


@dataclass(frozen=True, slots=True)
class FileStamp:
    """The size of a file in bytes and its modification time: while both stay the same, it counts as unchanged."""

    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Prediction:
    """A label with its probability, its WordNet id where there is one, and its group where the model has several."""

    label: str
    id: str | None
    probability: float
    group: str = ""


OWN_GROUP = "own"
"""The group of labels of the user's own, beside those of a model's classes."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """A photo that was found; the higher the score the better, 1 is the best.

    Two are equal if path and score are. What says more is set by `retrieval/searching/copies.py`.
    """

    path: Path
    score: float
    missing: bool = False
    """Whether its file was not there when it was found."""
    content_hash: bytes | None = field(default=None, compare=False, repr=False)
    copy_of: Path | None = field(default=None, compare=False)
    """The result before it, or the photo that was asked with, whose file has the same bytes."""
    is_query: bool = field(default=False, compare=False)
    """Whether it is the file of the photo that was asked with."""
    copies: int = field(default=0, compare=False)
    """How many other indexed files have the same bytes, where copies are one result."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """How many photos an indexed folder has, how many of them others have too, and where it seems to be now."""

    photos: int
    found: int
    now: Path | None


@dataclass(frozen=True, slots=True)
class OwnLabel:
    """A label of the user's own: `photos` have it, `examples` taught it, `counterexamples` are not of it."""

    name: str
    photos: int
    examples: int
    counterexamples: int
    created: datetime


@dataclass(frozen=True, slots=True)
class SkippedPhoto:
    """A file that could not be used, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class IncompletePhoto:
    """A photo that was used though a part of its file is missing, and which."""

    path: Path
    missing: str


@dataclass(frozen=True, slots=True)
class IndexProblem:
    """A problem of an index; `photo` is the path of the photo whose row is damaged, None if it is not about one row."""

    what: str
    photo: Path | None = None


@dataclass(frozen=True, slots=True, eq=False)
class NewPhoto:
    """A photo to be stored in the catalogue, with either an embedding (dim,) or the reason why it was skipped.

    `path` is relative to the folder of the sync, as bytes (`os.fsencode`). Width and height are of the upright picture,
    in pixels. Only the direction of the embedding is kept; `missing`, what is missing of its picture, is not stored.
    The thumbnail is what copies are recognised by, a JPEG; `taken` is when it was taken, by the clock of its camera.
    Raises ValueError for both or neither.
    """

    path: bytes
    stamp: FileStamp
    content_hash: bytes | None
    width: int | None = None
    height: int | None = None
    embedding: NDArray[np.float32] | None = None
    labels: tuple[Prediction, ...] | None = None
    skipped: str | None = None
    missing: str | None = None
    thumbnail: bytes | None = None
    taken: datetime | None = None

    def __post_init__(self) -> None:
        if (self.embedding is None) == (self.skipped is None):
            raise ValueError(f"{self.path!r} needs an embedding or a reason why it was skipped, one of the two")


@dataclass(frozen=True, slots=True, eq=False)
class StoredPhoto:
    """A photo as the catalogue has it, with an embedding (dim,) of unit length or the reason why it was skipped."""

    id: int
    path: Path
    stamp: FileStamp
    content_hash: bytes | None
    width: int | None
    height: int | None
    embedding: NDArray[np.float32] | None
    labels: tuple[Prediction, ...] | None
    skipped: str | None


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """The file of a photo that has an embedding, as it was when indexed; its size upright, in pixels.

    `taken` is when it was taken, by the clock of the camera; None where its file does not say, or nobody has looked.
    """

    id: int
    path: Path
    stamp: FileStamp
    content_hash: bytes | None
    width: int
    height: int
    taken: datetime | None = None


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedPhotos:
    """Photos with their embeddings: ids (n,), n absolute paths, embeddings (n, dim) of unit length."""

    ids: NDArray[np.int64]
    paths: list[Path]
    embeddings: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SyncCounts:
    """What a sync did, in photos. All except `removed` add up to the number of photos found in the folder.

    `still_skipped` were skipped before and have not changed since.
    """

    new: int = 0
    changed: int = 0
    moved: int = 0
    copied: int = 0
    removed: int = 0
    unchanged: int = 0
    skipped: int = 0
    still_skipped: int = 0


@dataclass(frozen=True, slots=True)
class IndexSummary:
    """The state of an index; `photos` have an embedding, `skipped` have none.

    `kind` is the kind of FAISS index, `chosen_kind` the one that was asked for, or auto. `quality` is None for an exact
    index. `exclude` are the patterns of what is left out of its folders.
    """

    photos: int
    skipped: int
    roots: tuple[Path, ...]
    model_name: str
    fingerprint: str
    dim: int
    kind: str
    chosen_kind: str
    quality: Quality | None
    built_on: str
    bytes_on_disk: int
    created: datetime
    generation: int
    exclude: tuple[str, ...] = ()

    @property
    def state(self) -> tuple[object, ...]:
        """What is another after each change of photos or their embeddings, and after a rebuild."""
        return self.generation, self.photos, self.created, self.fingerprint
