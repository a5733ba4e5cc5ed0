"""A collection at a glance: places are near where photos are alike, cells are free, and a few photos stand for all."""

import importlib.util
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from index.errors import OptionError
from index.photo_index import PhotoIndex
from index.records import Prediction
from retrieval.overview.grid import to_grid
from retrieval.overview.groups import Group, centres_of, common_labels, group_photos
from retrieval.overview.layout import _pca, _stretched, layout_of, spread_order

places = st.lists(st.tuples(st.floats(0, 1, width=32), st.floats(0, 1, width=32)), max_size=60).map(
    lambda found: np.array(found, np.float32).reshape(-1, 2)
)


def unit_vectors(count: int, dim: int, seed: int = 0) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).standard_normal((count, dim)) * np.linspace(2, 0.2, dim)
    unit: NDArray[np.float32] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


@pytest.fixture
def coloured(fc7: Callable[..., Result], make_photo: Callable[..., Path], tmp_path: Path) -> Path:
    """An index of four reds, three greens, two blues, and a copy of a red."""
    for colour, count in (("red", 4), ("green", 3), ("blue", 2)):
        for number in range(count):
            make_photo(f"photos/{colour}-{number}.png", colour, seed=number)
    (tmp_path / "photos" / "copy.png").write_bytes((tmp_path / "photos" / "red-0.png").read_bytes())
    assert fc7("index", tmp_path / "photos").exit_code == 0
    return tmp_path / "index"


def names_of(index: PhotoIndex, ids: NDArray[np.int64]) -> list[str]:
    return [file.path.name for file in index.photos.files(ids)]


def test_principal_components_are_those_of_a_singular_value_decomposition() -> None:
    vectors = unit_vectors(300, 12)
    batches = [(np.arange(start, min(start + 64, 300)), vectors[start : start + 64]) for start in range(0, 300, 64)]
    ids, found = _pca(lambda: iter(batches))
    centred = vectors - vectors.mean(axis=0, dtype=np.float64)
    left, sizes, _ = np.linalg.svd(centred.astype(np.float64), full_matrices=False)
    expected = left[:, :2] * sizes[:2]
    np.testing.assert_array_equal(ids, np.arange(300))
    signs = np.sign((found * expected).sum(axis=0))
    np.testing.assert_allclose(found * signs, expected, atol=1e-4)


@given(st.lists(st.floats(-1e3, 1e3, width=32), max_size=40))
def test_stretching_keeps_order_and_what_is_equal(values: list[float]) -> None:
    stretched = _stretched(np.array(values, np.float64))
    assert len(stretched) == len(values)
    for one, other in pairwise(values):
        between = stretched[values.index(other)] - stretched[values.index(one)]
        assert np.sign(between) == np.sign(other - one)
    if len(set(values)) > 1:
        assert (stretched.min(), stretched.max()) == (0, 1)
    else:
        assert set(stretched) <= {0.5}


@given(places)
def test_each_photo_has_a_cell_of_its_own(where: NDArray[np.float32]) -> None:
    grid = to_grid(where)
    assert len({tuple(cell) for cell in grid.cells.tolist()}) == len(where)
    if len(where):
        assert grid.cells.min(axis=0).tolist() == [0, 0]
        assert (grid.cells.max(axis=0) + 1).tolist() == [grid.columns, grid.rows]
    np.testing.assert_array_equal(to_grid(where).cells, grid.cells)


def test_the_grid_keeps_regions_where_they_are() -> None:
    random = np.random.default_rng(0)
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]])
    where = np.clip(corners.repeat(20, axis=0) * 0.8 + random.random((80, 2)) * 0.2, 0, 1).astype(np.float32)
    grid = to_grid(where)
    middle = np.array([grid.columns, grid.rows]) / 2 - 0.5
    right = (grid.cells > middle) == (corners.repeat(20, axis=0) == 1)
    assert right.mean() > 0.9  # a column or row in the middle belongs to both sides


@given(places, st.integers(0, 4))
def test_the_first_of_an_order_are_in_every_square(where: NDArray[np.float32], level: int) -> None:
    order = spread_order(where)
    assert sorted(order.tolist()) == list(range(len(where)))
    side = 2**level
    squares = [tuple(square) for square in np.minimum(where[order] * side, side - 1).astype(int).tolist()]
    count = len(set(squares))
    # Up to this grid each square has given one, so no square gives a second one before the last has given its first.
    assert len(set(squares[: sum(4**number for number in range(level + 1))])) == count


def test_centres_are_those_of_the_groups_that_there_are() -> None:
    axes = np.eye(8, dtype=np.float32)[:3]
    noise = 0.05 * np.random.default_rng(1).standard_normal((60, 8)).astype(np.float32)
    vectors = axes.repeat(20, axis=0) + noise
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    centres = centres_of(vectors, 3)
    np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 1, atol=1e-5)
    assert sorted((centres @ axes.T).argmax(axis=1).tolist()) == [0, 1, 2]
    assert (centres @ axes.T).max(axis=1).min() > 0.99
    assert len(centres_of(vectors[:1].repeat(5, axis=0), 3)) == 1


def test_a_few_groups_hold_every_photo_once_the_largest_first(coloured: Path) -> None:
    with PhotoIndex.open(coloured) as index:
        groups = group_photos(index, 3)
        everything = np.sort(np.concatenate([group.ids for group in groups]))
        np.testing.assert_array_equal(everything, index.photos.ids())
        sizes = [len(group.ids) for group in groups]
        assert sizes == sorted(sizes, reverse=True)
        assert len(groups) <= 3
        for group in groups:
            vectors = index.photos.vectors(group.ids)
            first = vectors[np.sort(group.ids) == group.ids[0]][0]
            assert (vectors @ first).mean() > 0.5


def test_copies_are_one_group_also_where_all_would_fit(coloured: Path) -> None:
    with PhotoIndex.open(coloured) as index:
        groups = group_photos(index, 100)
        [both] = [group for group in groups if "copy.png" in names_of(index, group.ids)]
        assert "red-0.png" in names_of(index, both.ids)


def test_a_group_is_named_by_what_its_photos_are(coloured: Path) -> None:
    with PhotoIndex.open(coloured) as index:
        groups = group_photos(index, 3)
        labels = common_labels(index, groups)
        for group, label in zip(groups, labels, strict=True):
            names = [name.split("-")[0].replace("copy.png", "red") for name in names_of(index, group.ids)]
            assert label.removesuffix("?") == max(set(names), key=names.count)


@pytest.mark.parametrize(("probabilities", "caption"), [((0.9, 0.3), "dog"), ((0.5, 0.4), "dog?"), ((0.2, 0.0), "")])
def test_a_guess_is_marked_and_a_wild_one_left_out(
    probabilities: tuple[float, ...], caption: str, monkeypatch: pytest.MonkeyPatch, coloured: Path
) -> None:
    with PhotoIndex.open(coloured) as index:
        ids = index.photos.ids()[:2]
        said = {int(id): (Prediction("dog", None, one),) for id, one in zip(ids, probabilities, strict=True)}
        monkeypatch.setattr(index.photos, "labels_by_id", said.items)
        assert common_labels(index, [Group(ids)]) == [caption]


def test_copies_have_one_place_and_likeness_is_nearness(coloured: Path) -> None:
    with PhotoIndex.open(coloured) as index:
        layout = layout_of(index)
        where = dict(zip([file.path.name for file in index.photos.files(layout.ids)], layout.places, strict=True))
    assert where["copy.png"].tolist() == where["red-0.png"].tolist()
    assert layout.places.min() == 0
    assert layout.places.max() == 1

    def apart(one: str, other: str) -> float:
        return float(np.linalg.norm(where[one] - where[other]))

    assert apart("red-0.png", "copy.png") < apart("red-0.png", "blue-0.png")
    assert int(layout.ids[0]) in layout
    assert int(layout.ids[-1]) + 1 not in layout


def test_umap_needs_some_photos(coloured: Path) -> None:
    if importlib.util.find_spec("umap") is None:
        pytest.skip("umap-learn is not installed")
    with PhotoIndex.open(coloured) as index, pytest.raises(OptionError, match="16 photos or more, and there are 10"):
        layout_of(index, "umap")
