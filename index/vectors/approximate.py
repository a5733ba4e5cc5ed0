"""A FAISS index over vectors by position: trained and filled once, then mapped from a file."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.vectors.faiss_library import MOST_ON_GPU, FaissDevice, import_faiss, threads_for
from index.vectors.kinds import is_kind

# More vectors make better lists, and training takes longer.
TRAINING_PER_LIST = 40
TRAINING_AT_LEAST = 20_000


class UntrainableError(Exception):
    """There are too few vectors for this kind. Its owner searches exactly, so no user sees this."""


class ApproximateIndex:
    """Vectors by their position, 0 to n - 1, in a FAISS index of a kind, which is a factory string."""

    def __init__(
        self, index: Any, *, kind: str, buffer: NDArray[np.uint8] | None = None, device: FaissDevice | None = None
    ) -> None:
        """Use `untrained` or `from_buffer`; `buffer` is the memory that the FAISS index uses but does not own."""
        self.kind = kind
        self.dim = int(index.d)
        self._index = index
        self._buffer = buffer
        self._device = device or FaissDevice()
        self._on_gpu: Any = None
        self.lists = int(index.nlist) if hasattr(index, "nlist") else 0
        self._is_graph = hasattr(index, "hnsw")

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @classmethod
    def untrained(cls, kind: str, dim: int, *, device: FaissDevice | None = None) -> "ApproximateIndex":
        """Make an empty index of a kind, as `kind_for` says it."""
        faiss = import_faiss()
        return cls(faiss.index_factory(dim, kind, faiss.METRIC_INNER_PRODUCT), kind=kind, device=device)

    @property
    def mergeable(self) -> bool:
        """Whether it can be filled in parts: a graph cannot, nor what is on a GPU."""
        return not self._is_graph and self._on_gpu is None

    @property
    def training_size(self) -> int:
        """How many vectors are enough for training."""
        return max(TRAINING_AT_LEAST, TRAINING_PER_LIST * self.lists)

    def train(self, embeddings: NDArray[np.float32]) -> None:
        """Learn from embeddings (n, dim); afterwards vectors can be added. Raises UntrainableError."""
        if self.lists:
            self._index.cp.min_points_per_centroid = 1  # or FAISS writes a warning to stderr
        on_gpu = self._device.to_gpu(self._index)
        index = self._index if on_gpu is None else on_gpu
        try:
            index.train(np.ascontiguousarray(embeddings))
        except RuntimeError as error:
            raise UntrainableError(_reason(error)) from error
        self._on_gpu = on_gpu

    def add(self, embeddings: NDArray[np.float32]) -> None:
        """Append embeddings (n, dim)."""
        (self._index if self._on_gpu is None else self._on_gpu).add(np.ascontiguousarray(embeddings))

    def merge(self, other: "ApproximateIndex") -> None:
        """Take over the vectors of an index that was trained with this one, after its own; the other is empty then.

        Raises ValueError for a graph, which cannot be merged, and for an index that was trained by itself.
        """
        if self._is_graph:
            raise ValueError(f"{self.kind} cannot be merged")
        try:
            self._index.check_compatible_for_merge(other._index)
            # Lists keep the position of each vector; what has no lists has them in order.
            self._index.merge_from(other._index, len(self) if self.lists else 0)
        except RuntimeError as error:
            raise ValueError(_reason(error)) from error

    def finish(self) -> None:
        """Bring it back from the GPU that it was filled on, once all vectors are added."""
        if self._on_gpu is not None:
            self._index = self._device.to_cpu(self._on_gpu)

    def search(self, queries: NDArray[np.float32], k: int, *, nprobe: int) -> NDArray[np.int64]:
        """Find positions (m, k) near queries (m, dim), best first; -1 where fewer were found with this nprobe."""
        if self._on_gpu is None:
            self._on_gpu = self._device.to_gpu(self._index)
        on_gpu = self._on_gpu is not None and max(k, nprobe) <= MOST_ON_GPU
        index = self._on_gpu if on_gpu else self._index
        faiss = import_faiss()
        # For this call only: set on the index, they would change the searches of other threads.
        parameters = None
        if self.lists:
            parameters = faiss.SearchParametersIVF(nprobe=nprobe)
        elif self._is_graph:
            parameters = faiss.SearchParametersHNSW(efSearch=nprobe)
        visited = len(self) * min(1.0, nprobe / self.lists) + self.lists if self.lists else len(self)
        with threads_for(int(len(queries) * visited * self.dim)):
            _, positions = index.search(np.ascontiguousarray(queries), k, params=parameters)
        found: NDArray[np.int64] = positions
        return found

    def nprobes(self) -> list[int]:
        """List the values of nprobe worth measuring, least first."""
        most = self.max_nprobe
        steps = {step for n in range(most.bit_length()) for step in (2**n, 3 * 2**n // 2) if step < most}
        return [*sorted(steps), most]

    @property
    def max_nprobe(self) -> int:
        """The nprobe with which a search visits all lists; for a graph, the largest efSearch that is tried."""
        return self.lists or (1024 if self._is_graph else 0)

    def serialize(self, write: Callable[[bytes], object]) -> None:
        """Write what `from_buffer` reads, piece by piece."""
        faiss = import_faiss()
        faiss.write_index(self._index, faiss.PyCallbackIOWriter(write))

    def guarded_bytes(self) -> int:
        """Count the serialized bytes in which damage could crash FAISS; those after them hold vectors only."""
        size = 0

        def count(data: bytes) -> None:
            nonlocal size
            size += len(data)

        self.serialize(count)
        return size - (len(self) * (int(self._index.code_size) + 8) if self.lists else 0)

    @classmethod
    def from_buffer(
        cls, data: NDArray[np.uint8], *, kind: str, device: FaissDevice | None = None
    ) -> "ApproximateIndex":
        """Use what `serialize` wrote, without copying it. Raises RuntimeError, also for what is no kind any more."""
        if not is_kind(kind):
            raise RuntimeError(f"it is of the kind {kind}, which this fc7 does not have")
        faiss = import_faiss()
        reader = faiss.ZeroCopyIOReader(faiss.swig_ptr(data), data.size)
        return cls(faiss.read_index(reader), kind=kind, buffer=data, device=device)

    def growable(self) -> "ApproximateIndex":
        """Return an index that can be added to: itself, or a copy where it uses a buffer."""
        if self._buffer is None:
            return self
        data, place = self._buffer, 0

        def read(size: int) -> bytes:
            nonlocal place
            place += size
            return data[place - size : place].tobytes()

        faiss = import_faiss()
        return ApproximateIndex(faiss.read_index(faiss.PyCallbackIOReader(read)), kind=self.kind, device=self._device)


def _reason(error: BaseException) -> str:
    """Return the message of FAISS, without the place in its source and the condition that did not hold."""
    text = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
    return re.sub(r"^Error in .*? at \S+:\d+: (Error: '.*?' failed: )?", "", text)
