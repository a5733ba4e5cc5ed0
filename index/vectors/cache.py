"""The file `vectors.faiss` as a cache of the catalogue's embeddings: it can be updated or rebuilt at any time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from index.catalog.catalog import Catalog, CatalogState
from index.catalog.changes import prune_removed
from index.catalog.database import storage_errors
from index.catalog.queries import count_embedded, count_touched_since
from index.vectors.building import build, build_exact_file
from index.vectors.candidates import approximate_candidates, exact_candidates, nearest_candidates
from index.vectors.current import CurrentVectors, can_catch_up
from index.vectors.faiss_index import VectorIndex
from index.vectors.faiss_library import FaissDevice
from index.vectors.file import Header, Stamp, VectorFileError
from index.vectors.kinds import EXACT, EXACT_NUMBERS, SLACK, WORN, Built, fits, kind_for
from index.vectors.parts import Run
from index.vectors.sections import read_exact
from index.vectors.store import VectorStore
from index.vectors.verify import differences

# A reader that had to take in more than this share of all vectors writes the file for those after it.
WORTH_SAVING = 0.1
# A large file is not written again for less than this share: readers take that in by themselves in milliseconds.
WORTH_WRITING = 0.005


class VectorCache(VectorStore):
    """The vectors of a catalogue in FAISS: `current` in memory, and in a file that is mapped."""

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
        self._device = device or FaissDevice()
        self.current = CurrentVectors(path, catalog, device=self._device)
        self._path = path
        self._catalog = catalog
        self._warn = warn
        self._building = building
        self.run: Run | None = None
        """What sorts vectors into lists where this process does not."""

    def candidates(
        self, state: CatalogState, queries: NDArray[np.float32], k: int, *, recall: float | None = None
    ) -> list[NDArray[np.int64]] | None:
        """See `VectorStore`. An approximate index returns None for a recall of 1.

        With a warning it is also None for a recall that cannot be reached, and where the vectors would first have to be
        read from a large catalogue.
        """
        vectors = self.current.at_if_cheap(state)
        if vectors is None:
            reason = f"{self._path} is missing, damaged or far behind"
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
        return nearest_candidates(self.current.at(state), queries, k)

    def describe(self) -> Built:
        """Say what the file holds, as far as it can be read."""
        header = self.current.header()
        return Built() if header is None else header.built

    def rebuild(self, state: CatalogState) -> None:
        """Make the vectors and their file again from the catalogue. Raises IndexStorageError and UserError."""
        photos = count_embedded(self._catalog)
        kind = kind_for(photos, state.dim, chosen=state.kind)
        self.current.vectors = vectors = None
        if kind != EXACT:
            if self._building is not None:
                self._building(f"sorting {photos:,} photos into {kind}")
            self.current.vectors = vectors = build(self._catalog, state, kind, device=self._device, run=self.run)
        if vectors is not None:
            self._save(vectors)
        else:
            self._save_exact(state, Built(kind, photos))

    def update(self) -> None:
        """Bring the file up to date, for the writer of the index, outside of a snapshot. Raises IndexStorageError.

        It is rebuilt where the vectors have outgrown their kind or another kind was chosen.
        """
        with self._catalog.snapshot():
            state = self._catalog.state()
            photos = count_embedded(self._catalog)
            header = self._usable_header()
            if header is None or not can_catch_up(header.stamp, header.dim, state) or _outgrown(header, state, photos):
                self.rebuild(state)
            elif header.stamp != Stamp.of(state):
                if header.built.quality is not None or photos * state.dim > EXACT_NUMBERS:
                    touched = count_touched_since(self._catalog, header.stamp.generation)
                    if touched <= WORTH_WRITING * photos:
                        return
                if header.built.quality is None:
                    self._save_exact(state, header.built)
                else:
                    self._save_merged(state, header.built, photos)
        prune_removed(self._catalog, state.generation)

    def save_if_far_behind(self) -> None:
        """See `VectorStore`; where the folder cannot be written the file stays as it is."""
        current, vectors = self.current, self.current.vectors
        if vectors is None or len(vectors) * vectors.dim > SLACK * EXACT_NUMBERS:
            return
        if current.unsaved > WORTH_SAVING * len(vectors):
            # It is tried once, even if it fails.
            current.unsaved = 0
            with suppress(OSError):
                # The writer may have made a newer file since this reader looked, and of a better kind.
                if current.file_is_the_one_loaded():
                    vectors.save(self._path)

    def problems(self, state: CatalogState) -> Iterator[str]:
        """See `VectorStore`."""
        if count_embedded(self._catalog) == 0 and not self._path.exists():
            return
        try:
            vectors = self.current.load_verified(state)
        except VectorFileError as error:
            yield f"{self._path}: cannot be used ({error})"
            return
        yield from (f"{self._path}: {difference}" for difference in differences(vectors, self._catalog))

    def _tell(self, warning: str) -> None:
        if self._warn is not None:
            self._warn(warning)

    def _usable_header(self) -> Header | None:
        """Read the header, but None where the file could not be loaded by a reader."""
        if self.current.vectors is not None:
            return self.current.header()
        with suppress(VectorFileError):
            if (header := read_exact(self._path)) is not None:
                return header
            self.current.vectors = self.current.load()
            return None if self.current.vectors is None else self.current.header()
        return None

    def _save_merged(self, state: CatalogState, built: Built, photos: int) -> None:
        vectors = self.current.at(state)
        if vectors.built != built or vectors.removed > WORN * photos:
            self.rebuild(state)
        else:
            vectors.merge()
            self._save(vectors)

    def _save(self, vectors: VectorIndex) -> None:
        with self._writing():
            vectors.save(self._path)

    def _save_exact(self, state: CatalogState, built: Built) -> None:
        self.current.vectors = None
        with self._writing():
            build_exact_file(self._path, self._catalog, state, built=built)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with storage_errors(self._path.parent):
            # Left by processes that were killed while they wrote the file.
            for leftover in self._path.parent.glob(f".{self._path.name}.*.tmp"):
                leftover.unlink(missing_ok=True)
            yield
        self.current.unsaved = 0


def _outgrown(header: Header, state: CatalogState, photos: int) -> bool:
    built = header.built
    # A kind for which there were too few photos is tried again when there are twice as many.
    too_few = built.wanted != EXACT and built.quality is None and photos >= 2 * max(built.size, 1)
    return too_few or not fits(built.wanted, photos, state.dim, chosen=state.kind)
