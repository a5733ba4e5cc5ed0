"""The file `vectors.faiss` as a cache over the catalogue: caught up, rebuilt and replaced, never relied on."""

from contextlib import suppress
from pathlib import Path

from index.catalog import Catalog, CatalogState
from index.database import storage_errors
from index.queries import count_photos, ids_touched_since, vectors_since
from index.vector_file import Stamp, VectorFileError, read_stamp
from index.vectors import VectorIndex

# A reader that had to take in more than this share of all vectors saves those after it the work.
WORTH_SAVING = 0.1


class VectorCache:
    """The vectors of a catalogue, in memory and in a file; `unsaved` counts what the file does not know of."""

    def __init__(self, path: Path, catalog: Catalog) -> None:
        self.path = path
        self.catalog = catalog
        self._vectors: VectorIndex | None = None
        self.unsaved = 0

    def current(self, state: CatalogState) -> VectorIndex:
        """Bring the vectors in memory to `state`, that of the snapshot around the call, reading only what changed."""
        vectors = self._load() if self._vectors is None else self._vectors
        if vectors is not None and vectors is self._vectors and vectors.stamp == _stamp(state):
            return vectors
        if vectors is None or not _leads_to(vectors, state):
            vectors = self._rebuilt(state)
        elif vectors.stamp != _stamp(state):
            self._catch_up(vectors, state)
        # What stamps cannot tell: a catalogue put back from a copy, or removals that are no longer listed because the
        # file had caught up with them, but not these vectors. Ids are never reused, so that counting finds it.
        if len(vectors) != count_photos(self.catalog)[0]:
            vectors = self._rebuilt(state)
        self._vectors = vectors
        return vectors

    def rebuild(self, state: CatalogState) -> None:
        """Make the vectors and their file anew from the catalogue. Raises IndexStorageError."""
        self._vectors = self._rebuilt(state)
        self._save(self._vectors)

    def update_file(self) -> None:
        """Bring the file up to date, for the writer of the index, outside of a snapshot. Raises IndexStorageError."""
        with self.catalog.snapshot():
            state = self.catalog.state()
            if not self._file_has(_stamp(state)):
                self._save(self.current(state))
        self.catalog.prune_removed(state.generation)

    def caught_up(self, state: CatalogState) -> VectorIndex:
        """Read the file and bring what it holds to `state`, but never make it anew. Raises VectorFileError."""
        vectors = VectorIndex.load(self.path)
        if not _leads_to(vectors, state):
            raise VectorFileError("it was not made from this catalogue")
        self._catch_up(vectors, state)
        return vectors

    def offer_file(self) -> None:
        """Replace the file if that spares later readers much of the work; for a reader, who may not be able to."""
        if self._vectors is not None and self.unsaved > WORTH_SAVING * len(self._vectors):
            # Once is enough, also where it fails.
            self.unsaved = 0
            with suppress(OSError):
                self._vectors.save(self.path)

    def _file_has(self, stamp: Stamp) -> bool:
        try:
            return read_stamp(self.path) == stamp
        except VectorFileError:
            return False

    def _load(self) -> VectorIndex | None:
        with suppress(VectorFileError):
            return VectorIndex.load(self.path)
        return None

    def _rebuilt(self, state: CatalogState) -> VectorIndex:
        vectors = VectorIndex(state.dim, stamp=Stamp(state.identity))
        self._catch_up(vectors, state)
        return vectors

    def _catch_up(self, vectors: VectorIndex, state: CatalogState) -> None:
        seen = vectors.stamp.generation
        # Removed first, so that it can be done again after an interruption.
        touched = ids_touched_since(self.catalog, seen)
        vectors.remove(touched)
        for ids, embeddings in vectors_since(self.catalog, seen, dim=state.dim):
            vectors.add(ids, embeddings)
        vectors.stamp = _stamp(state)
        self.unsaved += len(touched)

    def _save(self, vectors: VectorIndex) -> None:
        with storage_errors(self.path.parent):
            # What processes killed while they wrote the file have left behind.
            for leftover in self.path.parent.glob(f".{self.path.name}.*.tmp"):
                leftover.unlink(missing_ok=True)
            vectors.save(self.path)
        self.unsaved = 0


def _stamp(state: CatalogState) -> Stamp:
    return Stamp(state.identity, state.generation)


def _leads_to(vectors: VectorIndex, state: CatalogState) -> bool:
    stamp = vectors.stamp
    same_catalog = stamp.catalog == state.identity and vectors.dim == state.dim
    return same_catalog and stamp.generation <= state.generation
