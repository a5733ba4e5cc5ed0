"""Vectors by id, and those nearest to a query by inner product."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from index.vectors.approximate import ApproximateIndex
from index.vectors.faiss_library import MOST_ON_GPU, FaissDevice, import_faiss, threads_for
from index.vectors.file import Section, Stamp, VectorFileError, write_vector_file
from index.vectors.kinds import EXACT, Built, Quality
from index.vectors.sections import read_sections, sections_of

NOTHING = np.empty(0, dtype=np.int64)
REMOVED = -1


class VectorIndex:
    """Vectors of `dim` numbers, each under an id; `stamp` says which state of which catalogue they are.

    An exact index compares all of them. An approximate one has a `base` of some kind, and compares only those that were
    added since the base was filled. Not every kind can remove vectors, so removed ones stay in the base and are
    filtered out of what it finds.
    """

    def __init__(
        self,
        dim: int,
        *,
        stamp: Stamp | None = None,
        base: ApproximateIndex | None = None,
        base_ids: NDArray[np.int64] = NOTHING,
        built: Built | None = None,
        device: FaissDevice | None = None,
    ) -> None:
        faiss = import_faiss()
        self.dim = dim
        self.stamp = stamp or Stamp()
        self.built = built or Built()
        self._base = base
        self._base_ids = base_ids
        self._removed = int((base_ids == REMOVED).sum())
        self._largest = int(base_ids.max(initial=-1))
        self._recent = faiss.IndexIDMap(faiss.IndexFlatIP(dim))
        self._device = device or FaissDevice()
        self._recent_on_gpu: Any = None

    def __len__(self) -> int:
        return len(self._base_ids) - self._removed + self.recent

    @property
    def kind(self) -> str:
        """The kind of FAISS index, as a factory string."""
        return EXACT if self._base is None else self._base.kind

    @property
    def quality(self) -> Quality | None:
        """How well it finds what an exact search finds; None where it is exact."""
        return None if self._base is None else self.built.quality

    @property
    def max_nprobe(self) -> int:
        """The nprobe with which the base finds all that it can."""
        return 0 if self._base is None else self._base.max_nprobe

    @property
    def recent(self) -> int:
        """How many vectors are not in the base, and compared one by one."""
        return int(self._recent.ntotal)

    @property
    def removed(self) -> int:
        """How many vectors of the base were removed, and cost time in a search all the same."""
        return self._removed

    @property
    def ids(self) -> NDArray[np.int64]:
        """Ids (n,) in the order in which they are stored."""
        recent: NDArray[np.int64] = import_faiss().vector_to_array(self._recent.id_map)
        return np.concatenate([self._base_ids[self._base_ids != REMOVED], recent])

    def exact_vectors(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return ids (n,) and vectors (n, dim) of those that are not in the base."""
        return import_faiss().vector_to_array(self._recent.id_map), self._recent.index.reconstruct_n(0, self.recent)

    def add(self, ids: ArrayLike, embeddings: ArrayLike) -> None:
        """Add embeddings (n, dim) under ids (n,). Raises ValueError for an id that is there already."""
        new_ids = np.ascontiguousarray(ids, dtype=np.int64)
        vectors = np.ascontiguousarray(embeddings, dtype=np.float32)
        if new_ids.ndim != 1 or vectors.shape != (len(new_ids), self.dim):
            raise ValueError(f"{new_ids.shape} ids do not go with embeddings {vectors.shape} of {self.dim} numbers")
        # New photos have larger ids than all before, so usually there is no need to compare ids.
        known = len(new_ids) > 0 and new_ids.min() <= self._largest and np.isin(new_ids, self.ids).any()
        if known or len(np.unique(new_ids)) < len(new_ids):
            raise ValueError("an id can be added only once")
        self._recent.add_with_ids(vectors, new_ids)
        self._largest = int(new_ids.max(initial=self._largest))
        self._recent_on_gpu = None

    def remove(self, ids: ArrayLike) -> int:
        """Remove the vectors under ids (n,), as far as there are any, and return how many that were."""
        wanted = np.unique(np.asarray(ids, dtype=np.int64))
        if len(wanted) == 0:
            return 0
        places = np.flatnonzero(np.isin(self._base_ids, wanted[wanted != REMOVED]))
        if len(places):
            self._base_ids = self._base_ids.copy()
            self._base_ids[places] = REMOVED
            self._removed += len(places)
        # FAISS goes through all vectors even when there is nothing to remove.
        present = wanted[np.isin(wanted, import_faiss().vector_to_array(self._recent.id_map))]
        self._recent_on_gpu = None
        return len(places) + (int(self._recent.remove_ids(present)) if len(present) else 0)

    def search(
        self, queries: ArrayLike, k: int, *, nprobe: int | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Find scores (m, k') and ids (m, k') nearest to queries (m, dim), best first; k' is the smaller of k and n.

        With a base scores are NaN and ids are in no order: k from the base, searched with `nprobe` (by default the
        usual one), and k from the rest; -1 where there are fewer. Raises ValueError for other shapes and k < 1.
        """
        vectors = np.ascontiguousarray(queries, dtype=np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != self.dim or k < 1:
            raise ValueError(f"no search for {k} vectors of {self.dim} numbers with queries {vectors.shape}")
        scores, ids = self._search_recent(vectors, min(k, self.recent))
        if self._base is None or len(vectors) == 0:
            return scores, ids
        if nprobe is None and self.quality is not None:
            nprobe, _ = self.quality.usual()
        nprobe = self.max_nprobe if nprobe is None else min(nprobe, self.max_nprobe)
        ids = np.concatenate([self._search_base(vectors, k, nprobe), ids], axis=1)
        return np.full(ids.shape, np.nan, dtype=np.float32), ids

    def merge(self) -> None:
        """Add all vectors to the base, without training it again."""
        if self._base is not None and self.recent:
            ids, embeddings = self.exact_vectors()
            self._base = self._base.growable()
            self._base.add(embeddings)
            self._base_ids = np.concatenate([self._base_ids, ids])
            self._recent.reset()
            self._recent_on_gpu = None

    def save(self, path: Path) -> None:
        """Write the vectors and their stamp, whole or not at all. Raises OSError."""
        ids, embeddings = self.exact_vectors()
        base = None if self._base is None else Section(self.kind, self._base.serialize, self._base.guarded_bytes())
        sections = sections_of(self._base_ids, ids, [embeddings], base=base)
        write_vector_file(path, sections, dim=self.dim, stamp=self.stamp, built=self.built)

    @classmethod
    def load(cls, path: Path, *, device: FaissDevice | None = None, verify: bool = False) -> "VectorIndex":
        """Map what `save` wrote, and with `verify` check every byte of it.

        Raises VectorFileError when it is missing, damaged or of another format.
        """
        stored = read_sections(path, verify=verify)
        header, ids = stored.header, stored.base_ids
        try:
            base = None
            if stored.base.size:
                base = ApproximateIndex.from_buffer(stored.base, kind=stored.kind, device=device)
        except (RuntimeError, ValueError) as error:
            raise VectorFileError(f"{path}: {error}") from error
        if (len(base) if base is not None else 0) != len(ids) or (base is not None and base.dim != header.dim):
            raise VectorFileError(f"{path}: its sections do not belong together")
        vectors = cls(header.dim, stamp=header.stamp, base=base, base_ids=ids, built=header.built, device=device)
        vectors._recent.add_with_ids(stored.recent, stored.recent_ids)
        vectors._largest = int(stored.recent_ids.max(initial=vectors._largest))
        return vectors

    def _search_recent(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        if k == 0 or len(queries) == 0:
            return np.empty((len(queries), k), dtype=np.float32), np.empty((len(queries), k), dtype=np.int64)
        if self._recent_on_gpu is None:
            self._recent_on_gpu = self._device.to_gpu(self._recent.index)
        if self._recent_on_gpu is not None and k <= MOST_ON_GPU:
            scores, rows = self._recent_on_gpu.search(queries, k)
            return scores, import_faiss().vector_to_array(self._recent.id_map)[rows]
        with threads_for(len(queries) * self.recent * self.dim):
            scores, ids = self._recent.search(queries, k)
        return scores, ids

    def _search_base(self, queries: NDArray[np.float32], k: int, nprobe: int) -> NDArray[np.int64]:
        """Find ids (m, k' >= k) near queries (m, dim), -1 where there are fewer."""
        assert self._base is not None
        count = k
        while True:
            positions = self._base.search(queries, min(count, len(self._base_ids)), nprobe=nprobe)
            # A damaged file may lead to positions that do not exist.
            known = (positions >= 0) & (positions < len(self._base_ids))
            ids = np.where(known, self._base_ids[np.where(known, positions, 0)], REMOVED)
            crowded_out = known & (ids == REMOVED)
            if count >= len(self._base_ids) or not (crowded_out.any(axis=1) & ((ids >= 0).sum(axis=1) < k)).any():
                return ids
            count *= 4
