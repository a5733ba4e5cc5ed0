"""FAISS, loaded when it is first needed, and the device that it runs on."""

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from index.errors import MissingPackageError

# One thread needs some milliseconds for this many multiplications.
WORTH_THREADS = 20_000_000
# FAISS on a GPU can be asked for this many neighbours, and this many lists, at most.
MOST_ON_GPU = 2048


def require_faiss() -> None:
    """Raise MissingPackageError where FAISS is not installed, without loading it."""
    if importlib.util.find_spec("faiss") is None:
        raise MissingPackageError(
            "Searching needs FAISS, which is not installed: run `pip install 'fc7[cpu]'`, "
            "or `pip install 'fc7[gpu]'` on a machine with an NVIDIA GPU."
        )


def import_faiss() -> Any:
    """Load FAISS. Raises MissingPackageError."""
    require_faiss()
    import faiss

    return faiss


def faiss_gpus() -> int:
    """Count the GPUs that FAISS can use: none where it was built without, or there are none."""
    faiss = import_faiss()
    return int(faiss.get_num_gpus()) if hasattr(faiss, "StandardGpuResources") else 0


@contextmanager
def threads_for(multiplications: int) -> Iterator[None]:
    """Let FAISS use one thread for little work: on a busy machine it takes longer to wake other threads."""
    faiss = import_faiss()
    threads = faiss.omp_get_max_threads()
    if multiplications < WORTH_THREADS:
        faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)


class FaissDevice:
    """Where FAISS runs: the CPU, or with `cuda` the first GPU. `warn` is called if that cannot be done."""

    def __init__(self, device: str = "cpu", *, warn: Callable[[str], None] | None = None) -> None:
        self.wants_gpu = device == "cuda"
        self._warn = warn
        self._resources: Any = None

    @property
    def used(self) -> str:
        """Where FAISS has run so far."""
        return "GPU" if self._resources is not None and self.wants_gpu else "CPU"

    def to_gpu(self, index: Any) -> Any | None:
        """Copy a FAISS index to the GPU; None where it stays on the CPU."""
        if not self.wants_gpu:
            return None
        if not faiss_gpus():
            self._stay_on_cpu("FAISS finds no GPU here")
            return None
        faiss = import_faiss()
        try:
            if self._resources is None:
                self._resources = faiss.StandardGpuResources()
            return faiss.index_cpu_to_gpu(self._resources, 0, index)
        except RuntimeError as error:
            self._stay_on_cpu(f"FAISS cannot have this index on the GPU ({str(error).strip().splitlines()[-1]})")
            return None

    def to_cpu(self, index: Any) -> Any:
        """Copy a FAISS index back from the GPU."""
        return import_faiss().index_gpu_to_cpu(index)

    def _stay_on_cpu(self, reason: str) -> None:
        self.wants_gpu = False
        if self._warn is not None:
            self._warn(f"{reason}: the vectors are searched on the CPU.")
