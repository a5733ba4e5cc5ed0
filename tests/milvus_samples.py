"""What the tests of an index in Milvus share: places of Milvus Lite, which is quick enough for every run."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from index.catalog.catalog import CatalogState
from index.milvus.collection import MilvusCollection
from index.milvus.place import MilvusPlace
from index.milvus.state import HNSW, CollectionState

pytest.importorskip("pymilvus", reason="an index in Milvus needs the extra milvus")


def lite(folder: Path, name: str = "photos") -> MilvusPlace:
    """Return a file of Milvus Lite in a folder; it need not be there."""
    return MilvusPlace.parse(f"milvus+file://{folder / name}.db")


@contextmanager
def opened(place: MilvusPlace, dim: int, *, kind: str = HNSW) -> Iterator[MilvusCollection]:
    """Make a collection for photos of a model called sample."""
    state = CatalogState.fresh(model_name="sample", fingerprint="abc", dim=dim)
    collection = MilvusCollection.create(place, CollectionState.of(state, kind=kind))
    try:
        yield collection
    finally:
        collection.close()
