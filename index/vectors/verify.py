"""Whether vectors are those that the catalogue has."""

from collections.abc import Iterator

import numpy as np

from index.catalog.catalog import Catalog
from index.catalog.queries import vectors_since
from index.vectors.faiss_index import VectorIndex

TOLERANCE = 1e-6
"""By how much a number of a vector may differ from that in the catalogue."""


def differences(vectors: VectorIndex, catalog: Catalog) -> Iterator[str]:
    """Say what of the catalogue's embeddings is missing, different or too much in vectors of the same state.

    Vectors in an approximate index are not kept exactly, so only their ids are compared. The checksum of the file
    tells whether they are damaged.
    """
    held_ids, order = vectors.ids, np.argsort(vectors.ids)
    exact_ids, exact = vectors.exact_vectors()
    exact_order = np.argsort(exact_ids)
    missing = different = known = 0
    for ids, embeddings in vectors_since(catalog, -1, dim=vectors.dim):
        places = np.searchsorted(held_ids, ids, sorter=order)
        rows = order[np.minimum(places, len(order) - 1)] if len(order) else places
        present = held_ids[rows] == ids if len(order) else np.zeros(len(ids), dtype=bool)
        missing += int((~present).sum())
        known += int(present.sum())
        kept = np.isin(ids, exact_ids)
        held = exact[exact_order[np.searchsorted(exact_ids, ids[kept], sorter=exact_order)]]
        difference = np.abs(held - embeddings[kept]).max(axis=1, initial=0)
        different += int((~(difference <= TOLERANCE)).sum())
    if missing:
        yield f"lacks the vectors of {missing:,} photos"
    if surplus := len(vectors) - known:
        yield f"holds {surplus:,} vectors of no photo in the catalogue"
    if different:
        yield f"holds other vectors than the catalogue for {different:,} photos"
