"""The file `vectors.faiss` as a cache over the catalogue: caught up, rebuilt and replaced, never relied on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from index.catalog.catalog import Catalog, CatalogState
from index.catalog.database import storage_errors
from index.catalog.queries import count_embedded, count_touched_since, ids_touched_since, vectors_since
from index.vectors.building import build, gather, stamp_of, write_exact
from index.vectors.faiss_index import VectorIndex, read_exact
from index.vectors.faiss_library import FaissDevice
from index.vectors.file import Built, Header, Stamp, VectorFileError, read_header
from index.vectors.kinds import AUTO, EXACT, EXACT_NUMBERS, SLACK, WORN, fits, kind_for

# A reader that had to take in more than this share of all vectors saves those after it the work.
WORTH_SAVING = 0.1
# A large file is not written again for less than this share: readers take that in by themselves in milliseconds.
WORTH_WRITING = 0.005


class VectorCache:
    """The vectors of a catalogue, in memory and in a file; `unsaved` counts what the file does not know of."""

    def __init__(
        self,
        path: Path,
        catalog: Catalog,
        *,
        device: FaissDevice | None = None,
        building: Callable[[str], None] | None = None,
    ) -> None:
        """Keep the vectors of `catalog` in the file `path`; `building` is told before a build that takes long."""
        self.path = path
        self.catalog = catalog
        self._device = device or FaissDevice()
        self._building = building
        self._vectors: VectorIndex | None = None
        self._file_read: tuple[int, int] | None = None
        self.unsaved = 0

    def current(self, state: CatalogState) -> VectorIndex:
        """Bring the vectors in memory to `state`, that of the snapshot around the call, reading only what changed."""
        if self._vectors is not None and self._vectors.stamp == stamp_of(state):
            return self._vectors
        return self._brought_to(state, self._load() if self._vectors is None else self._vectors)

    def _brought_to(self, state: CatalogState, vectors: VectorIndex | None) -> VectorIndex:
        if vectors is None or not _leads_to(vectors.stamp, vectors.dim, state):
            vectors = self._rebuilt(state)
        elif vectors.stamp != stamp_of(state):
            self._catch_up(vectors, state)
        # What stamps cannot tell: a catalogue put back from a copy, or removals that are no longer listed because the
        # file had caught up with them, but not these vectors. Ids are never reused, so that counting finds it.
        if len(vectors) != count_embedded(self.catalog):
            vectors = self._rebuilt(state)
        self._vectors = vectors
        return vectors

    def at_hand(self, state: CatalogState) -> VectorIndex | None:
        """As `current`, but None where that would be to read a large catalogue into memory for the sake of a search."""
        if self._vectors is None and (photos := count_embedded(self.catalog)) * state.dim > SLACK * EXACT_NUMBERS:
            header = self._header()
            if header is None or not _leads_to(header.stamp, header.dim, state):
                return None
            if count_touched_since(self.catalog, header.stamp.generation) > WORTH_SAVING * photos:
                return None
            if (loaded := self._load()) is None:
                return None
            return self._brought_to(state, loaded)
        return self.current(state)

    def built(self) -> Built:
        """Read what is in the file, as far as it can be read."""
        header = self._header()
        return Built() if header is None else header.built

    def rebuild(self, state: CatalogState) -> None:
        """Make the vectors and their file anew from the catalogue. Raises IndexStorageError and UserError."""
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
            self._write_exact(state, Built(kind, photos))

    def update_file(self) -> None:
        """Bring the file up to date, for the writer of the index, outside of a snapshot. Raises IndexStorageError.

        Vectors that have outgrown their kind, or are to be of another, are made anew.
        """
        with self.catalog.snapshot():
            state = self.catalog.state()
            photos = count_embedded(self.catalog)
            header = self._sound_header()
            if header is None or not _leads_to(header.stamp, header.dim, state) or _outgrown(header, state, photos):
                self.rebuild(state)
            elif header.stamp != stamp_of(state):
                if header.built.quality is not None or photos * state.dim > EXACT_NUMBERS:
                    touched = count_touched_since(self.catalog, header.stamp.generation)
                    if touched <= WORTH_WRITING * photos:
                        return
                if header.built.quality is None:
                    self._write_exact(state, header.built)
                else:
                    self._put_into_lists(state, header.built, photos)
        self.catalog.prune_removed(state.generation)

    def _put_into_lists(self, state: CatalogState, built: Built, photos: int) -> None:
        vectors = self.current(state)
        if vectors.built != built or vectors.removed > WORN * photos:
            self.rebuild(state)
        else:
            vectors.merge()
            self._save(vectors)

    def caught_up(self, state: CatalogState) -> VectorIndex:
        """Read all of the file and bring what it holds to `state`, but never make it anew. Raises VectorFileError."""
        vectors = VectorIndex.load(self.path, verify=True)
        if not _leads_to(vectors.stamp, vectors.dim, state):
            raise VectorFileError("it was not made from this catalogue")
        self._catch_up(vectors, state)
        return vectors

    def offer_file(self) -> None:
        """Replace the file if that spares later readers much of the work; for a reader, who may not be able to."""
        vectors = self._vectors
        if vectors is None or len(vectors) * vectors.dim > SLACK * EXACT_NUMBERS:
            return
        if self.unsaved > WORTH_SAVING * len(vectors):
            # Once is enough, also where it fails.
            self.unsaved = 0
            with suppress(OSError):
                # The writer may have made a newer one since this reader looked, and of a better kind.
                if self._file_now() == self._file_read:
                    vectors.save(self.path)

    def _header(self) -> Header | None:
        with suppress(VectorFileError):
            return read_header(self.path)
        return None

    def _sound_header(self) -> Header | None:
        """Read the header of a file that readers can use: one that looks whole and cannot be loaded is no use."""
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

    def _rebuilt(self, state: CatalogState) -> VectorIndex:
        """Read all vectors, to be compared one by one: training is for those who write, and not for a search."""
        vectors = gather(self.catalog, state, device=self._device)
        self.unsaved += len(vectors)
        return vectors

    def _catch_up(self, vectors: VectorIndex, state: CatalogState) -> None:
        seen = vectors.stamp.generation
        # Removed first, so that it can be done again after an interruption.
        touched = ids_touched_since(self.catalog, seen)
        vectors.remove(touched)
        for ids, embeddings in vectors_since(self.catalog, seen, dim=state.dim):
            vectors.add(ids, embeddings)
        vectors.stamp = stamp_of(state)
        self.unsaved += len(touched)

    def _save(self, vectors: VectorIndex) -> None:
        with self._writing():
            vectors.save(self.path)

    def _write_exact(self, state: CatalogState, built: Built) -> None:
        self._vectors = None
        with self._writing():
            write_exact(self.path, self.catalog, state, built=built)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with storage_errors(self.path.parent):
            # What processes killed while they wrote the file have left behind.
            for leftover in self.path.parent.glob(f".{self.path.name}.*.tmp"):
                leftover.unlink(missing_ok=True)
            yield
        self.unsaved = 0


def _leads_to(stamp: Stamp, dim: int, state: CatalogState) -> bool:
    return stamp.catalog == state.identity and dim == state.dim and stamp.generation <= state.generation


def _outgrown(header: Header, state: CatalogState, photos: int) -> bool:
    built = header.built
    if state.kind == AUTO:
        return not fits(built.wanted, photos, state.dim)
    # Of a kind that there were too few for it is tried again when there are twice as many.
    too_few = built.wanted != EXACT and built.quality is None and photos >= 2 * max(built.size, 1)
    return built.wanted != state.kind or too_few
