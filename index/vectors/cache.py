"""The file `vectors.faiss` as a cache of the catalogue's embeddings: it can be updated or rebuilt at any time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from index.catalog.catalog import Catalog, CatalogState
from index.catalog.changes import prune_removed
from index.catalog.database import storage_errors
from index.catalog.queries import count_embedded, count_touched_since, ids_touched_since, vectors_since
from index.vectors.building import build, build_exact, build_exact_file
from index.vectors.candidates import approximate_candidates, exact_candidates, nearest_candidates
from index.vectors.faiss_index import VectorIndex, read_exact
from index.vectors.faiss_library import FaissDevice
from index.vectors.file import Header, Stamp, VectorFileError, read_header
from index.vectors.kinds import AUTO, EXACT, EXACT_NUMBERS, SLACK, WORN, Built, fits, kind_for
from index.vectors.store import VectorStore
from index.vectors.verify import differences

# A reader that had to take in more than this share of all vectors writes the file for those after it.
WORTH_SAVING = 0.1
# A large file is not written again for less than this share: readers take that in by themselves in milliseconds.
WORTH_WRITING = 0.005


class VectorCache(VectorStore):
    """The vectors of a catalogue in FAISS, in memory and in a file; `unsaved` counts those that the file lacks."""

    def __init__(
        self,
        path: Path,
        catalog: Catalog,
        *,
        device: FaissDevice | None = None,
        warn: Callable[[str], None] | None = None,
        building: Callable[[str], None] | None = None,
    ) -> None:
        """Keep the vectors of `catalog` in the file `path`.

        `warn` is called with the reason why all photos have to be compared, `building` before a build that takes long.
        """
        self.path = path
        self.catalog = catalog
        self._device = device or FaissDevice()
        self._warn = warn
        self._building = building
        self._vectors: VectorIndex | None = None
        self._file_read: tuple[int, int] | None = None
        self.unsaved = 0

    def candidates(
        self, state: CatalogState, queries: NDArray[np.float32], k: int, *, recall: float | None = None
    ) -> list[NDArray[np.int64]] | None:
        """See `VectorStore`; None for a recall of 1 where the index is approximate, and, with a warning, where the
        recall cannot be reached or the vectors would first have to be read from a large catalogue."""
        vectors = self._current_if_cheap(state)
        if vectors is None:
            reason = f"{self.path} is missing, damaged or far behind"
            self._tell(f"{reason}: all photos are compared, one by one; run `fc7 index`.")
            return None
        quality = vectors.quality
        if quality is None:
            return exact_candidates(vectors, queries, k)
        if recall is None:
            return approximate_candidates(vectors, queries, k, quality=quality, nprobe=quality.usual()[0])
        if recall >= 1:
            return None
        if (reached := quality.nprobe_for(recall)) is not None:
            return approximate_candidates(vectors, queries, k, quality=quality, nprobe=reached[0])
        reason = f"{vectors.kind} reaches a recall of {quality.best[1]:.3f}, not {recall:g}"
        self._tell(f"{reason}: all photos are compared, one by one.")
        return None

    def nearest(self, state: CatalogState, queries: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """See `VectorStore`."""
        return nearest_candidates(self.current(state), queries, k)

    def current(self, state: CatalogState) -> VectorIndex:
        """Return the vectors in memory, brought to `state` by reading only what has changed."""
        if self._vectors is not None and self._vectors.stamp == Stamp.of(state):
            return self._vectors
        return self._update_in_memory(state, self._load() if self._vectors is None else self._vectors)

    def describe(self) -> Built:
        """Say what the file holds, as far as it can be read."""
        header = self._header()
        return Built() if header is None else header.built

    def rebuild(self, state: CatalogState) -> None:
        """Make the vectors and their file again from the catalogue. Raises IndexStorageError and UserError."""
        photos = count_embedded(self.catalog)
        kind = state.kind if state.kind != AUTO else kind_for(photos, state.dim)
        self._vectors = None
        if kind != EXACT:
            if self._building is not None:
                self._building(f"sorting {photos:,} photos into {kind}")
            self._vectors = build(self.catalog, state, kind, device=self._device)
        if self._vectors is not None:
            self._save(self._vectors)
        else:
            self._save_exact(state, Built(kind, photos))

    def update(self) -> None:
        """Bring the file up to date, for the writer of the index, outside of a snapshot. Raises IndexStorageError.

        It is rebuilt where the vectors have outgrown their kind or another kind was chosen.
        """
        with self.catalog.snapshot():
            state = self.catalog.state()
            photos = count_embedded(self.catalog)
            header = self._usable_header()
            if header is None or not _can_catch_up(header.stamp, header.dim, state) or _outgrown(header, state, photos):
                self.rebuild(state)
            elif header.stamp != Stamp.of(state):
                if header.built.quality is not None or photos * state.dim > EXACT_NUMBERS:
                    touched = count_touched_since(self.catalog, header.stamp.generation)
                    if touched <= WORTH_WRITING * photos:
                        return
                if header.built.quality is None:
                    self._save_exact(state, header.built)
                else:
                    self._save_merged(state, header.built, photos)
        prune_removed(self.catalog, state.generation)

    def save_if_far_behind(self) -> None:
        """See `VectorStore`; where the folder cannot be written the file stays as it is."""
        vectors = self._vectors
        if vectors is None or len(vectors) * vectors.dim > SLACK * EXACT_NUMBERS:
            return
        if self.unsaved > WORTH_SAVING * len(vectors):
            # It is tried once, even if it fails.
            self.unsaved = 0
            with suppress(OSError):
                # The writer may have made a newer file since this reader looked, and of a better kind.
                if self._file_now() == self._file_read:
                    vectors.save(self.path)

    def problems(self, state: CatalogState) -> Iterator[str]:
        """See `VectorStore`."""
        if count_embedded(self.catalog) == 0 and not self.path.exists():
            return
        try:
            vectors = self.load_verified(state)
        except VectorFileError as error:
            yield f"{self.path}: cannot be used ({error})"
            return
        yield from (f"{self.path}: {difference}" for difference in differences(vectors, self.catalog))

    def load_verified(self, state: CatalogState) -> VectorIndex:
        """Check every byte of the file, and bring what it holds to `state` without rebuilding.

        Raises VectorFileError.
        """
        vectors = VectorIndex.load(self.path, verify=True)
        if not _can_catch_up(vectors.stamp, vectors.dim, state):
            raise VectorFileError("it was not made from this catalogue")
        self._apply_changes(vectors, state)
        return vectors

    def _tell(self, warning: str) -> None:
        if self._warn is not None:
            self._warn(warning)

    def _current_if_cheap(self, state: CatalogState) -> VectorIndex | None:
        """As `current`, but None where a large catalogue would have to be read into memory for one search."""
        if self._vectors is None and (photos := count_embedded(self.catalog)) * state.dim > SLACK * EXACT_NUMBERS:
            header = self._header()
            if header is None or not _can_catch_up(header.stamp, header.dim, state):
                return None
            if count_touched_since(self.catalog, header.stamp.generation) > WORTH_SAVING * photos:
                return None
            if (loaded := self._load()) is None:
                return None
            return self._update_in_memory(state, loaded)
        return self.current(state)

    def _update_in_memory(self, state: CatalogState, vectors: VectorIndex | None) -> VectorIndex:
        if vectors is None or not _can_catch_up(vectors.stamp, vectors.dim, state):
            vectors = self._read_all(state)
        elif vectors.stamp != Stamp.of(state):
            self._apply_changes(vectors, state)
        # Two things stamps cannot tell: a catalogue that was restored from a copy, and removals that are no longer
        # listed because the file, but not these vectors, had taken them in. Ids are never reused, so counting finds it.
        if len(vectors) != count_embedded(self.catalog):
            vectors = self._read_all(state)
        self._vectors = vectors
        return vectors

    def _read_all(self, state: CatalogState) -> VectorIndex:
        # Exact, because training is for the writer: it takes too long for a search.
        vectors = build_exact(self.catalog, state, device=self._device)
        self.unsaved += len(vectors)
        return vectors

    def _apply_changes(self, vectors: VectorIndex, state: CatalogState) -> None:
        seen = vectors.stamp.generation
        # What changed is removed first, so that all of this can be repeated after an interruption.
        touched = ids_touched_since(self.catalog, seen)
        vectors.remove(touched)
        for ids, embeddings in vectors_since(self.catalog, seen, dim=state.dim):
            vectors.add(ids, embeddings)
        vectors.stamp = Stamp.of(state)
        self.unsaved += len(touched)

    def _header(self) -> Header | None:
        with suppress(VectorFileError):
            return read_header(self.path)
        return None

    def _usable_header(self) -> Header | None:
        """Read the header, but None where the file could not be loaded by a reader."""
        if self._vectors is not None:
            return self._header()
        with suppress(VectorFileError):
            if (header := read_exact(self.path)) is not None:
                return header
            self._vectors = self._load()
            return None if self._vectors is None else self._header()
        return None

    def _load(self) -> VectorIndex | None:
        self._file_read = self._file_now()
        with suppress(VectorFileError):
            return VectorIndex.load(self.path, device=self._device)
        return None

    def _file_now(self) -> tuple[int, int] | None:
        with suppress(OSError):
            status = self.path.stat()
            return status.st_ino, status.st_mtime_ns
        return None

    def _save_merged(self, state: CatalogState, built: Built, photos: int) -> None:
        vectors = self.current(state)
        if vectors.built != built or vectors.removed > WORN * photos:
            self.rebuild(state)
        else:
            vectors.merge()
            self._save(vectors)

    def _save(self, vectors: VectorIndex) -> None:
        with self._writing():
            vectors.save(self.path)

    def _save_exact(self, state: CatalogState, built: Built) -> None:
        self._vectors = None
        with self._writing():
            build_exact_file(self.path, self.catalog, state, built=built)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with storage_errors(self.path.parent):
            # Left by processes that were killed while they wrote the file.
            for leftover in self.path.parent.glob(f".{self.path.name}.*.tmp"):
                leftover.unlink(missing_ok=True)
            yield
        self.unsaved = 0


def _can_catch_up(stamp: Stamp, dim: int, state: CatalogState) -> bool:
    """Tell whether vectors become those of `state` by what has changed since."""
    return stamp.catalog == state.identity and dim == state.dim and stamp.generation <= state.generation


def _outgrown(header: Header, state: CatalogState, photos: int) -> bool:
    built = header.built
    if state.kind == AUTO:
        return not fits(built.wanted, photos, state.dim)
    # A kind for which there were too few photos is tried again when there are twice as many.
    too_few = built.wanted != EXACT and built.quality is None and photos >= 2 * max(built.size, 1)
    return built.wanted != state.kind or too_few
