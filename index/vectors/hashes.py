"""Searches hashes, which are alike where few of their bits differ, by the binary indexes of FAISS."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.vectors.faiss_library import import_faiss

# Up to this many hashes are compared with each query; more are put into lists, of which a query looks at some.
COMPARED_WITH_ALL = 1_000_000
LISTS_SEARCHED = 32
TRAINED_ON = 32


def nearest_hashes(
    stored: NDArray[np.uint8], queries: NDArray[np.uint8], k: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Find for hashes (m, bytes) the k among (n, bytes) with the fewest other bits: how many (m, k), and rows (m, k).

    Rows are -1 where there are fewer than k.
    """
    bits = 8 * stored.shape[1]
    index: Any = import_faiss().IndexBinaryFlat(bits)
    if len(stored) > COMPARED_WITH_ALL:
        index = _lists(index, bits, stored)
    index.add(np.ascontiguousarray(stored))
    distances, rows = index.search(np.ascontiguousarray(queries), k)
    return distances, rows


def _lists(quantizer: Any, bits: int, stored: NDArray[np.uint8]) -> Any:
    lists = int(4 * len(stored) ** 0.5)
    index = import_faiss().IndexBinaryIVF(quantizer, bits, lists)
    index.nprobe = LISTS_SEARCHED
    drawn = np.random.default_rng(0).choice(len(stored), min(len(stored), TRAINED_ON * lists), replace=False)
    index.train(stored[np.sort(drawn)])
    return index
