"""A search and a sync need no more of vectors than `VectorStore` has: another store gives the same answers."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from photo_samples import SampleFile, bring_up_to_date, embed, open_for_writing

from index.catalog.catalog import Catalog, CatalogState
from index.catalog.queries import vectors_since
from index.exact_search import best_photos, neighbours
from index.photo_index import PhotoIndex
from index.sync.rows import CatalogRows
from index.sync.run import Sync
from index.sync.verify import find_problems
from index.vectors.kinds import Built
from index.vectors.store import VectorStore

QUERIES = np.stack([embed(b"query %d" % number) for number in range(5)])


class RoughStore:
    """Vectors in numpy, rounded to 8 bits; `proposes` is whether it finds any candidates."""

    def __init__(self, catalog: Catalog, *, proposes: bool = True) -> None:
        self._catalog = catalog
        self._proposes = proposes
        self.updates = 0

    def candidates(
        self, state: CatalogState, queries: NDArray[np.float32], k: int, *, recall: float | None = None
    ) -> list[NDArray[np.int64]] | None:
        return list(self.nearest(state, queries, 3 * k)) if self._proposes else None

    def nearest(self, state: CatalogState, queries: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        ids, embeddings = zip(*vectors_since(self._catalog, -1, dim=state.dim), strict=True)
        rough = np.round(127 * np.concatenate(embeddings)).astype(np.int8)
        return np.concatenate(ids)[np.argsort(-(queries @ rough.T), axis=1)[:, : k + 1]]

    def update(self) -> None:
        self.updates += 1

    def rebuild(self, state: CatalogState) -> None:
        raise AssertionError("no search, sync or check asks for it")

    def save_if_far_behind(self) -> None:
        raise AssertionError("no search, sync or check asks for it")

    def describe(self) -> Built:
        raise AssertionError("no search, sync or check asks for it")

    def problems(self, state: CatalogState) -> Iterator[str]:
        yield "it is rough"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("index")
    with open_for_writing(place) as index:
        files = {b"%03d.jpg" % number: SampleFile(b"content %d" % number) for number in range(100)}
        bring_up_to_date(index, Path("/photos"), files)
    return place


@pytest.mark.parametrize("proposes", [True, False])
def test_answers_are_exact_whatever_the_store_rounds_or_leaves_to_the_catalogue(folder: Path, proposes: bool) -> None:
    with PhotoIndex.open(folder) as index:
        expected = index.search(QUERIES, 7)
        _, ids = index.neighbours(index.photos.ids(), 3)
        known = index.photos.ids()
    with closing(Catalog.open(folder / "catalog.db")) as catalog, catalog.snapshot():
        store: VectorStore = RoughStore(catalog, proposes=proposes)
        state = catalog.state()
        found = best_photos(catalog, store, state, QUERIES, 7, min_score=None, recall=None, among=None)
        assert found == expected
        # As far as rounding leaves the neighbours among so few candidates.
        _, nearest = neighbours(catalog, store, state, known, 6)
        assert (nearest[:, :3] == ids).mean() > 0.95


def test_a_sync_and_a_check_reach_the_store(folder: Path) -> None:
    with closing(Catalog.open_for_writing(folder / "catalog.db")) as catalog:
        store = RoughStore(catalog)
        Sync(
            CatalogRows(catalog, b"/more"),
            store,
            b"/more",
            {},
            retry_skipped=False,
            unlisted=(),
            empty=(),
            is_there=os.path.lexists,
        ).finish()
        assert store.updates == 1
        with catalog.snapshot():
            assert [problem.what for problem in find_problems(catalog, store)] == ["it is rough"]
