"""Building an index of all vectors of a catalogue, and measuring how well an approximate one finds them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from index.catalog.catalog import Catalog, CatalogState
from index.catalog.queries import count_embedded, embedded_ids, embeddings_by_id, embeddings_with_ids, vectors_since
from index.vectors.approximate import ApproximateIndex, UntrainableError
from index.vectors.faiss_index import VectorIndex
from index.vectors.faiss_library import FaissDevice
from index.vectors.file import Stamp
from index.vectors.kinds import Built, Quality
from index.vectors.parts import Run, fill_in_parts
from index.vectors.sections import save_exact
from index.vectors.store import ROUNDING

# The neighbours of this many photos are searched for both ways. A recall of 0.97 then has a standard error of 0.4 %.
SAMPLED = 256
NEIGHBOURS = 10
# Vectors that are added at once; more are faster, and take more memory.
AT_ONCE = 8192
# Vectors of a part that is filled elsewhere: it takes the trained index along, of 33 MB for 100 million photos.
PART = 1 << 18
# Vectors that are compared with the sample at once.
COMPARED = 1024
RERANK_FACTORS = (2, 4, 8, 16)
# The gain in recall for which more candidates, or a larger nprobe, are worth their time.
MIN_GAIN = 0.002


def build(
    catalog: Catalog, state: CatalogState, kind: str, *, device: FaissDevice, run: Run | None = None
) -> VectorIndex | None:
    """Build an index of a kind other than Flat, in a snapshot of the caller; None if there are too few vectors for it.

    All are read once, a batch at a time. With `run` they are sorted into lists by other processes or machines, as in
    `fill_in_parts`, and otherwise here. Raises OptionError for a kind that FAISS does not have.
    """
    ids = embedded_ids(catalog)
    base = ApproximateIndex.untrained(kind, state.dim, device=device)
    if len(ids) <= NEIGHBOURS:
        return None  # nothing to measure
    drawn = np.random.default_rng(len(ids)).permutation(ids)[: base.training_size]
    known, embeddings = embeddings_with_ids(catalog, drawn, dim=state.dim)
    try:
        base.train(embeddings)
    except UntrainableError:
        return None
    rows = np.searchsorted(known, np.sort(drawn[:SAMPLED]))
    sample, queries = known[rows], embeddings[rows]
    del embeddings
    base_ids, quality = _fill(base, catalog, sample, queries, run if base.mergeable else None)
    built = Built(kind, len(ids), quality, device.used)
    return VectorIndex(state.dim, stamp=Stamp.of(state), base=base, base_ids=base_ids, built=built, device=device)


def build_exact(catalog: Catalog, state: CatalogState, *, device: FaissDevice) -> VectorIndex:
    """Read all vectors into an exact index in memory."""
    built = Built(size=count_embedded(catalog))
    vectors = VectorIndex(state.dim, stamp=Stamp.of(state), built=built, device=device)
    for ids, embeddings in vectors_since(catalog, -1, dim=state.dim):
        vectors.add(ids, embeddings)
    return vectors


def build_exact_file(path: Path, catalog: Catalog, state: CatalogState, *, built: Built) -> None:
    """Write all vectors as an exact index, without ever holding all of them in memory. Raises OSError."""
    batches = (embeddings for _, embeddings in embeddings_by_id(catalog, dim=state.dim))
    save_exact(path, embedded_ids(catalog), batches, dim=state.dim, stamp=Stamp.of(state), built=built)


def _fill(
    base: ApproximateIndex,
    catalog: Catalog,
    sample: NDArray[np.int64],
    queries: NDArray[np.float32],
    run: Run | None,
) -> tuple[NDArray[np.int64], Quality]:
    """Add all vectors. Return their ids (n,), and how well those of `sample` (s,), `queries` (s, dim), are found."""
    ids = [np.empty(0, dtype=np.int64)]
    count = NEIGHBOURS + 1  # one more tells whether others are as near as the last
    scores = np.full((len(sample), count), -np.inf, dtype=np.float32)
    nearest = np.full(scores.shape, -1, dtype=np.int64)

    def read(size: int) -> Iterator[NDArray[np.float32]]:
        nonlocal scores, nearest
        for batch, embeddings in vectors_since(catalog, -1, dim=base.dim, size=size):
            ids.append(batch)
            for start in range(0, len(batch), COMPARED):
                part = slice(start, start + COMPARED)
                scores = np.concatenate([scores, queries @ embeddings[part].T], axis=1)
                numbers = np.broadcast_to(batch[part], (len(sample), len(batch[part])))
                nearest = np.concatenate([nearest, numbers], axis=1)
                scores[nearest == sample[:, None]] = -np.inf  # itself
                best = np.argpartition(scores, -count, axis=1)[:, -count:]
                scores, nearest = np.take_along_axis(scores, best, axis=1), np.take_along_axis(nearest, best, axis=1)
            yield embeddings

    if run is None:
        for embeddings in read(AT_ONCE):
            base.add(embeddings)
    else:
        fill_in_parts(base, (partial(_pieces, embeddings) for embeddings in read(PART)), run=run)
    base.finish()
    order = np.argsort(-scores, axis=1)
    scores, nearest = np.take_along_axis(scores, order, axis=1), np.take_along_axis(nearest, order, axis=1)
    asked = _Asked(sample, queries, nearest[:, :NEIGHBOURS], scores[:, NEIGHBOURS - 1], scores[:, NEIGHBOURS])
    all_ids = np.concatenate(ids)
    return all_ids, measure_recall(base, catalog, all_ids, asked)


def _pieces(embeddings: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(embeddings), AT_ONCE):
        yield embeddings[start : start + AT_ONCE]


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """Photos whose neighbours are known: ids (s,), queries (s, dim), nearest others (s, 10).

    `last` (s,) is the score of the last of these, `next` (s,) that of the one after it.
    """

    ids: NDArray[np.int64]
    queries: NDArray[np.float32]
    nearest: NDArray[np.int64]
    last: NDArray[np.float32]
    next: NDArray[np.float32]


def measure_recall(base: ApproximateIndex, catalog: Catalog, ids: NDArray[np.int64], asked: _Asked) -> Quality:
    """Measure recall@10 by nprobe.

    Candidates are ranked by exact vectors, so a neighbour is found if it is among the candidates. Where others are as
    near as the last, as copies are, any of them is as good: their scores count, not their ids.
    """
    recalls: dict[int, list[float]] = {}
    for nprobe in base.nprobes():
        found = base.search(asked.queries, min(RERANK_FACTORS[-1] * NEIGHBOURS + 1, len(ids)), nprobe=nprobe)
        others = np.where(found >= 0, ids[found], -1)
        hits = ((others[:, :, None] == asked.nearest[:, None, :]) & (others[:, :, None] >= 0)).any(axis=2)
        for row in np.flatnonzero(np.isfinite(asked.next) & (asked.next >= asked.last - ROUNDING)):
            hits[row] = _near_enough(catalog, asked, int(row), others[row])
        # The photo itself, which is not among its nearest others, takes one place more.
        counts = (hits[:, : factor * NEIGHBOURS + 1].sum(axis=1) for factor in RERANK_FACTORS)
        recalls[nprobe] = [float(np.minimum(count, NEIGHBOURS).mean()) / NEIGHBOURS for count in counts]
        if recalls[nprobe][-1] >= 1 - MIN_GAIN / 2:
            break
    last = recalls[max(recalls)]
    chosen = next(place for place, recall in enumerate(last) if recall >= last[-1] - MIN_GAIN)
    quality = tuple((nprobe, row[chosen]) for nprobe, row in recalls.items())
    return Quality(RERANK_FACTORS[chosen], quality, len(asked.ids))


def _near_enough(catalog: Catalog, asked: _Asked, row: int, others: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which of the ids (n,) are as near to a photo as the last of its neighbours is, by their exact vectors."""
    query = asked.queries[row]
    known, embeddings = embeddings_with_ids(catalog, np.unique(others), dim=len(query))
    near = known[embeddings @ query >= asked.last[row] - ROUNDING]
    hits: NDArray[np.bool_] = np.isin(others, near) & (others != asked.ids[row])
    return hits
