"""A FAISS index of any kind over vectors by position: trained and filled once, then mapped from a file."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.errors import OptionError
from index.vectors.centres import Centres, learn_centres
from index.vectors.faiss_library import MOST_ON_GPU, FaissDevice, import_faiss, threads_for
from index.vectors.kinds import AUTO, EXACT

# More vectors make better lists, and training takes longer.
TRAINING_PER_LIST = 40
TRAINING_AT_LEAST = 20_000
# Ranges of numbers and codes are learned from this many vectors, however many lists there are.
TRAINING_CODES = 16_384
# What a search can be told: how many lists to visit, or how wide to walk through a graph. Other kinds have neither.
SEARCH_PARAMETERS = ("nprobe", "efSearch")
# FAISS accepts these factory strings, but adding vectors then fails, ends the process or never returns.
UNUSABLE = {
    r"(?<!\d)0+(?!\d)": "nothing in it can be 0",
    r"HNSW1(?!\d)": "a graph has 2 links or more",
    r"NSG|HNSW\d*_\d+\+PQ": "nothing can be added to it later",
    r"\([^)]*IVF|Refine\([^)]*fs": "its parts do not go together",
    r"IDMap": "ids are kept by fc7",
}
"""Why a factory string is refused in which a pattern is found."""


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
        self._parameter = _search_parameter_of(index)
        self._centres: Centres | None = None
        ivf = import_faiss().try_extract_index_ivf(index)
        self.lists = int(ivf.nlist) if ivf is not None else 0

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @classmethod
    def untrained(cls, kind: str, dim: int, *, device: FaissDevice | None = None) -> "ApproximateIndex":
        """Make an empty index of a kind, a FAISS factory string. Raises OptionError for one that cannot be used."""
        reason = next((reason for pattern, reason in UNUSABLE.items() if re.search(pattern, kind)), None)
        if reason is None:
            faiss = import_faiss()
            try:
                index = faiss.index_factory(dim, kind, faiss.METRIC_INNER_PRODUCT)
            except (RuntimeError, MemoryError) as error:
                reason = _reason(error)
            else:
                return cls(index, kind=kind, device=device)
        raise OptionError(
            f"FAISS has no index of kind {kind!r} for vectors of {dim} values ({reason})",
            hint="name another, IVF1024,SQ8 for instance, or --kind auto",
        )

    @property
    def training_size(self) -> int:
        """How many vectors are enough for training."""
        return max(TRAINING_AT_LEAST, TRAINING_PER_LIST * self.lists)

    def train(self, embeddings: NDArray[np.float32]) -> None:
        """Learn from embeddings (n, dim); afterwards vectors can be added. Raises UntrainableError."""
        faiss = import_faiss()
        ivf = faiss.try_extract_index_ivf(self._index)
        if ivf is not None:
            ivf.cp.min_points_per_centroid = 1  # or FAISS writes a warning to stderr
        on_gpu = self._device.to_gpu(self._index)
        index = self._index if on_gpu is None else on_gpu
        if on_gpu is None and self._has_centres and len(embeddings) >= self.lists:
            # FAISS would compare all vectors with all centres.
            index.quantizer.add(learn_centres(embeddings, self.lists))
            if len(embeddings) > TRAINING_CODES:  # or a copy of all would take memory for nothing
                embeddings = embeddings[np.random.default_rng(0).choice(len(embeddings), TRAINING_CODES, replace=False)]
        try:
            index.train(np.ascontiguousarray(embeddings))
        except RuntimeError as error:
            raise UntrainableError(_reason(error)) from error
        self._on_gpu = on_gpu

    def add(self, embeddings: NDArray[np.float32]) -> None:
        """Append embeddings (n, dim)."""
        faiss = import_faiss()
        index = self._index if self._on_gpu is None else self._on_gpu
        vectors = np.ascontiguousarray(embeddings)
        if self._on_gpu is None and self._has_centres and self._ends_with_lists:
            if self._centres is None:
                self._centres = Centres(index.quantizer.reconstruct_n(0, self.lists))
            lists = self._centres.nearest(vectors)
            index.add_core(len(vectors), faiss.swig_ptr(vectors), None, faiss.swig_ptr(lists))
        else:
            index.add(vectors)

    def finish(self) -> None:
        """Free what only training and the first filling need, once all vectors are added."""
        self._centres = None
        if self._on_gpu is not None:
            self._index = self._device.to_cpu(self._on_gpu)

    def search(self, queries: NDArray[np.float32], k: int, *, nprobe: int) -> NDArray[np.int64]:
        """Find positions (m, k) near queries (m, dim), best first; -1 where fewer were found with this nprobe."""
        if self._on_gpu is None:
            self._on_gpu = self._device.to_gpu(self._index)
        on_gpu = self._on_gpu is not None and max(k, nprobe) <= MOST_ON_GPU
        index = self._on_gpu if on_gpu else self._index
        if self._parameter is not None:
            space = import_faiss().GpuParameterSpace() if on_gpu else import_faiss().ParameterSpace()
            space.set_index_parameter(index, self._parameter, nprobe)
        visited = len(self) * min(1.0, nprobe / self.lists) + self.lists if self.lists else len(self)
        with threads_for(int(len(queries) * visited * self.dim)):
            _, positions = index.search(np.ascontiguousarray(queries), k)
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
        return 0 if self._parameter is None else self.lists or 1024

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
        return size - (len(self) * (int(self._index.code_size) + 8) if self._ends_with_lists else 0)

    @classmethod
    def from_buffer(
        cls, data: NDArray[np.uint8], *, kind: str, device: FaissDevice | None = None
    ) -> "ApproximateIndex":
        """Use what `serialize` wrote, without copying it. Raises RuntimeError."""
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

    @property
    def _has_centres(self) -> bool:
        """Whether it consists of inverted lists, each with a centre, and nothing else."""
        faiss = import_faiss()
        return isinstance(self._index, faiss.IndexIVF) and isinstance(
            faiss.downcast_index(self._index.quantizer), faiss.IndexFlat
        )

    @property
    def _ends_with_lists(self) -> bool:
        """Whether it is serialized with the lists last, a code and a position for each vector."""
        faiss = import_faiss()
        return type(self._index) in (faiss.IndexIVFFlat, faiss.IndexIVFScalarQuantizer)


def check_kind(kind: str, dim: int) -> None:
    """Raise OptionError for a kind that cannot be used for vectors of `dim` values."""
    if kind not in (AUTO, EXACT):
        ApproximateIndex.untrained(kind, dim)


def _search_parameter_of(index: Any) -> str | None:
    space = import_faiss().ParameterSpace()
    for parameter in SEARCH_PARAMETERS:
        try:
            space.set_index_parameter(index, parameter, 1)
        except RuntimeError:
            continue
        return parameter
    return None


def _reason(error: BaseException) -> str:
    """Return the message of FAISS, without the place in its source and the condition that did not hold."""
    text = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
    return re.sub(r"^Error in .*? at \S+:\d+: (Error: '.*?' failed: )?", "", text)
