"""An index filled in parts, each by a thread, process or machine of its own, and merged."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from index.vectors.approximate import ApproximateIndex

Embeddings = Callable[[], Iterable[NDArray[np.float32]]]
"""Gives the embeddings (n, dim) of a part in batches, wherever it is called."""


class Run(Protocol):
    """The built-in `map`, or that of an executor of threads, of processes, or of a cluster: in the parts' order."""

    def __call__(self, fill: Callable[[Embeddings], bytes], parts: Iterable[Embeddings], /) -> Iterator[bytes]: ...


def fill_in_parts(trained: ApproximateIndex, parts: Iterable[Embeddings], *, run: Run = map) -> None:
    """Add the embeddings of all parts to a trained index, as if they had been added one after the other.

    So positions, and what is found, are those of an index in one piece. Each part travels as bytes, the empty index
    there and the filled one back: of IVFn,SQ8 one byte for each number and eight for each photo. Raises ValueError for
    a graph (HNSW), which cannot be merged.
    """
    empty = _to_bytes(trained)
    for filled in run(partial(_filled, trained.kind, empty), parts):
        trained.merge(_from_bytes(trained.kind, filled))


def _filled(kind: str, empty: bytes, part: Embeddings) -> bytes:
    index = _from_bytes(kind, empty)
    for embeddings in part():
        index.add(embeddings)
    return _to_bytes(index)


def _to_bytes(index: ApproximateIndex) -> bytes:
    pieces: list[bytes] = []
    index.serialize(pieces.append)
    return b"".join(pieces)


def _from_bytes(kind: str, data: bytes) -> ApproximateIndex:
    # Growable: what is mapped can be read only.
    return ApproximateIndex.from_buffer(np.frombuffer(data, np.uint8), kind=kind).growable()
