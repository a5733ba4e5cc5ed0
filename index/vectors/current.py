"""The vectors of the file `vectors.faiss` in memory, brought to the state of the catalogue."""

from contextlib import suppress
from pathlib import Path

from index.catalog.catalog import Catalog, CatalogState
from index.catalog.queries import count_embedded, count_touched_since, ids_touched_since, vectors_since
from index.vectors.building import build_exact
from index.vectors.faiss_index import VectorIndex
from index.vectors.faiss_library import FaissDevice
from index.vectors.file import Header, Stamp, VectorFileError, read_header
from index.vectors.kinds import EXACT_NUMBERS, SLACK

# A reader of a large catalogue takes in at most this share of all vectors for a search.
WORTH_CATCHING_UP = 0.1


class CurrentVectors:
    """Vectors that follow a catalogue: `unsaved` counts what was read from it and is not in the file."""

    def __init__(self, path: Path, catalog: Catalog, *, device: FaissDevice) -> None:
        self.path = path
        self.vectors: VectorIndex | None = None
        self.unsaved = 0
        self._catalog = catalog
        self._device = device
        self._file_read: tuple[int, int] | None = None

    def at(self, state: CatalogState) -> VectorIndex:
        """Return the vectors of a state, that of the snapshot around the call. Only what has changed is read."""
        if self.vectors is not None and self.vectors.stamp == Stamp.of(state):
            return self.vectors
        return self._update(state, self.load() if self.vectors is None else self.vectors)

    def at_if_cheap(self, state: CatalogState) -> VectorIndex | None:
        """As `at`, but None where a large catalogue would have to be read into memory for one search."""
        if self.vectors is None and (photos := count_embedded(self._catalog)) * state.dim > SLACK * EXACT_NUMBERS:
            header = self.header()
            if header is None or not can_catch_up(header.stamp, header.dim, state):
                return None
            if count_touched_since(self._catalog, header.stamp.generation) > WORTH_CATCHING_UP * photos:
                return None
            if (loaded := self.load()) is None:
                return None
            return self._update(state, loaded)
        return self.at(state)

    def load_verified(self, state: CatalogState) -> VectorIndex:
        """Check every byte of the file, and bring what it holds to `state` without rebuilding.

        Raises VectorFileError.
        """
        vectors = VectorIndex.load(self.path, verify=True)
        if not can_catch_up(vectors.stamp, vectors.dim, state):
            raise VectorFileError("it was not made from this catalogue")
        self._apply_changes(vectors, state)
        return vectors

    def header(self) -> Header | None:
        """Read the header of the file, without the vectors; None where it cannot be read."""
        with suppress(VectorFileError):
            return read_header(self.path)
        return None

    def load(self) -> VectorIndex | None:
        """Map the file; None where it is missing, damaged or of another format."""
        self._file_read = self._file_now()
        with suppress(VectorFileError):
            return VectorIndex.load(self.path, device=self._device)
        return None

    def file_is_the_one_loaded(self) -> bool:
        """Tell whether the file is still the one that `load` found, or still missing."""
        return self._file_now() == self._file_read

    def _file_now(self) -> tuple[int, int] | None:
        with suppress(OSError):
            status = self.path.stat()
            return status.st_ino, status.st_mtime_ns
        return None

    def _update(self, state: CatalogState, vectors: VectorIndex | None) -> VectorIndex:
        if vectors is None or not can_catch_up(vectors.stamp, vectors.dim, state):
            vectors = self._read_all(state)
        elif vectors.stamp != Stamp.of(state):
            self._apply_changes(vectors, state)
        # Two things stamps cannot tell: a catalogue that was restored from a copy, and removals that are no longer
        # listed because the file, but not these vectors, had taken them in. Ids are never reused, so counting finds it.
        if len(vectors) != count_embedded(self._catalog):
            vectors = self._read_all(state)
        self.vectors = vectors
        return vectors

    def _read_all(self, state: CatalogState) -> VectorIndex:
        # Exact, because training is for the writer: it takes too long for a search.
        vectors = build_exact(self._catalog, state, device=self._device)
        self.unsaved += len(vectors)
        return vectors

    def _apply_changes(self, vectors: VectorIndex, state: CatalogState) -> None:
        seen = vectors.stamp.generation
        # What changed is removed first, so that all of this can be repeated after an interruption.
        touched = ids_touched_since(self._catalog, seen)
        vectors.remove(touched)
        for ids, embeddings in vectors_since(self._catalog, seen, dim=state.dim):
            vectors.add(ids, embeddings)
        vectors.stamp = Stamp.of(state)
        self.unsaved += len(touched)


def can_catch_up(stamp: Stamp, dim: int, state: CatalogState) -> bool:
    """Tell whether vectors become those of `state` when what has changed since is applied to them."""
    return stamp.catalog == state.identity and dim == state.dim and stamp.generation <= state.generation
