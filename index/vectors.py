"""Vectors by id, and those nearest to a query by inner product: all that is left to FAISS."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from index.errors import MissingPackageError
from index.vector_file import Stamp, VectorFileError, read_vector_file, write_vector_file

# Some milliseconds of one thread.
WORTH_THREADS = 20_000_000


class VectorIndex:
    """Vectors of `dim` numbers, each under an id; `stamp` says which state of which catalogue they are."""

    kind = "flat"

    def __init__(self, dim: int, *, stamp: Stamp | None = None) -> None:
        faiss = _import_faiss()
        self.dim = dim
        self.stamp = stamp or Stamp()
        self._index = faiss.IndexIDMap(faiss.IndexFlatIP(dim))

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def ids(self) -> NDArray[np.int64]:
        """Ids (n,) in the order in which they are stored."""
        ids: NDArray[np.int64] = _import_faiss().vector_to_array(self._index.id_map)
        return ids

    def contents(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return all ids (n,) and vectors (n, dim)."""
        return self.ids, self._index.index.reconstruct_n(0, len(self))

    def add(self, ids: ArrayLike, embeddings: ArrayLike) -> None:
        """Add embeddings (n, dim) under ids (n,). Raises ValueError for an id that is there already."""
        new_ids = np.ascontiguousarray(ids, dtype=np.int64)
        vectors = np.ascontiguousarray(embeddings, dtype=np.float32)
        if new_ids.ndim != 1 or vectors.shape != (len(new_ids), self.dim):
            raise ValueError(f"{new_ids.shape} ids do not go with embeddings {vectors.shape} of {self.dim} numbers")
        if len(np.unique(new_ids)) < len(new_ids) or np.isin(new_ids, self.ids).any():
            raise ValueError("an id can be added only once")
        self._index.add_with_ids(vectors, new_ids)

    def remove(self, ids: ArrayLike) -> int:
        """Remove the vectors under ids (n,), those that are there, and return how many were."""
        wanted = np.unique(np.asarray(ids, dtype=np.int64))
        # FAISS walks over all vectors even when there is nothing to remove.
        present = wanted[np.isin(wanted, self.ids)]
        return int(self._index.remove_ids(present)) if len(present) else 0

    def search(self, queries: ArrayLike, k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Find scores (m, k') and ids (m, k') nearest to queries (m, dim), best first; k' is the smaller of k and n."""
        vectors = np.ascontiguousarray(queries, dtype=np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != self.dim or k < 1:
            raise ValueError(f"no search for {k} vectors of {self.dim} numbers with queries {vectors.shape}")
        k = min(k, len(self))
        if k == 0 or len(vectors) == 0:
            return np.empty((len(vectors), k), dtype=np.float32), np.empty((len(vectors), k), dtype=np.int64)
        with _threads_for(len(vectors) * len(self) * self.dim):
            scores, ids = self._index.search(vectors, k)
        return scores, ids

    def save(self, path: Path) -> None:
        """Write the vectors and their stamp, whole or not at all. Raises OSError."""
        write_vector_file(path, _import_faiss().serialize_index(self._index), stamp=self.stamp)

    @classmethod
    def load(cls, path: Path) -> "VectorIndex":
        """Read what `save` wrote. Raises VectorFileError when it is missing, damaged or of another format."""
        faiss = _import_faiss()
        stamp, payload = read_vector_file(path)
        try:
            index = faiss.deserialize_index(payload)
        except RuntimeError as error:
            raise VectorFileError(f"{path}: {error}") from error
        if not isinstance(index, faiss.IndexIDMap):
            raise VectorFileError(f"{path}: another kind of index, {type(index).__name__}")
        vectors = cls.__new__(cls)
        vectors.dim, vectors.stamp, vectors._index = int(index.d), stamp, index
        return vectors


def require_faiss() -> None:
    """Raise MissingPackageError where FAISS is not installed, without loading it."""
    if importlib.util.find_spec("faiss") is None:
        raise MissingPackageError(
            "Searching needs FAISS, which is not installed: run `pip install 'fc7[cpu]'`, "
            "or `pip install 'fc7[gpu]'` on a machine with an NVIDIA GPU."
        )


@contextmanager
def _threads_for(multiplications: int) -> Iterator[None]:
    """Let FAISS use one thread where that is done before others have been woken, which takes long on a busy machine."""
    faiss = _import_faiss()
    threads = faiss.omp_get_max_threads()
    if multiplications < WORTH_THREADS:
        faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)


def _import_faiss() -> Any:
    require_faiss()
    import faiss

    return faiss
