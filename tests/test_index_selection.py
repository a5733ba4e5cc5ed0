"""Searching among some photos: those below folders, those with labels; compared with a plain walk over all of them."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from photo_samples import DIM, SampleFile, bring_up_to_date, embed, embedding_of, hash_of, open_for_writing
from told import told

from index.catalog.catalog import Catalog
from index.catalog.selection import Selection, vectors_query
from index.errors import PhotoIndexError
from index.photo_index import PhotoIndex
from index.records import NewPhoto, Prediction, SearchResult

ROOTS = {
    Path("/photos"): [b"%s/%02d.jpg" % (b"abc"[n % 3 : n % 3 + 1] * (1 + n % 2), n) for n in range(60)]
    # Names that lie just before and after "a/" in the order of bytes, and one that is no text.
    + [b"a.jpg", b"a/", b"a0/1.jpg", b"a0.jpg", b"a-/1.jpg", b"a/\xff\n/1.jpg", b"a/\xff/\xff.jpg"],
    Path("/other"): [b"a/1.jpg", b"b/1.jpg", b"photos/a/1.jpg"],
}
FOLDERS = [Path(name) for name in ("/photos", "/photos/a", "/photos/aa", "/photos/bb", "/photos/a0", "/other/a", "/")]
FOLDERS.append(Path("/photos/a") / os.fsdecode(b"\xff"))
CLASSES = ("n01", "n02", "n03", "own name")
QUERIES = np.stack([embed(b"query %d" % number) for number in range(3)])


def labels_of(path: bytes) -> tuple[Prediction, ...]:
    """Two or three labels with probabilities, that depend on nothing but the path."""
    random = np.random.default_rng(int.from_bytes(hash_of(path), "little"))
    chosen = random.permutation(4)[: random.integers(2, 4)]
    probabilities = random.dirichlet(np.ones(len(chosen)))
    ids = ["n01", "n02", "n03", None]
    return tuple(
        Prediction("own name" if ids[i] is None else f"name {i}", ids[i], float(p))
        for i, p in zip(chosen, probabilities, strict=True)
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labelled") / "index"
    with open_for_writing(folder) as index:
        for root, paths in ROOTS.items():
            files = {path: SampleFile(path) for path in paths if not path.endswith(b"/")}
            sync = index.begin_sync(root, {path: file.stamp for path, file in files.items()})
            sync.add(
                [
                    NewPhoto(path, file.stamp, hash_of(path), 4, 3, embed(path), labels_of(path))
                    for path, file in files.items()
                ]
            )
            sync.finish()
    return folder


@pytest.fixture(scope="module")
def index(folder: Path) -> Iterator[PhotoIndex]:
    with PhotoIndex.open(folder) as index:
        yield index


def all_photos() -> Iterator[tuple[Path, bytes]]:
    for root, paths in ROOTS.items():
        yield from ((root / os.fsdecode(path), path) for path in paths if not path.endswith(b"/"))


def probability_of(path: bytes, classes: tuple[str, ...]) -> float | None:
    found = [label.probability for label in labels_of(path) if (label.id or label.label) in classes]
    return round(sum(found), 6) if found else None


def is_selected(photo: Path, path: bytes, selection: Selection) -> bool:
    probability = probability_of(path, selection.classes)
    inside = not selection.folders or any(folder in photo.parents for folder in selection.folders)
    labelled = not selection.classes or (probability is not None and probability >= selection.min_probability)
    return inside and labelled


selections = st.builds(
    Selection,
    folders=st.lists(st.sampled_from(FOLDERS), max_size=3).map(tuple),
    classes=st.lists(st.sampled_from(CLASSES), max_size=3).map(tuple),
    min_probability=st.sampled_from([0.0, 0.3, 0.6, 0.9]),
)


@given(selection=selections, k=st.sampled_from([1, 3, 10, 100]))
@settings(max_examples=40)
def test_a_search_among_some_is_a_search_among_all_with_the_others_left_out(
    index: PhotoIndex, selection: Selection, k: int
) -> None:
    selected = {photo for photo, path in all_photos() if is_selected(photo, path, selection)}
    everything = index.search(QUERIES, 1000)
    assert index.search(QUERIES, k, among=selection) == [
        [result for result in results if result.path in selected][:k] for results in everything
    ]


@given(selection=selections.filter(lambda selection: selection.classes), k=st.sampled_from([1, 3, 10, 10**10]))
@settings(max_examples=40)
def test_the_most_probable_come_first(index: PhotoIndex, selection: Selection, k: int) -> None:
    expected = [
        SearchResult(photo, probability_of(path, selection.classes) or 0)
        for photo, path in all_photos()
        if is_selected(photo, path, selection)
    ]
    expected.sort(key=lambda result: (-result.score, result.path))
    assert index.most_probable(selection, k) == expected[:k]


def test_the_most_probable_are_the_same_in_several_batches(index: PhotoIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    selection = Selection(classes=("n01", "n02"))
    whole = [index.most_probable(selection, k) for k in (5, 6, 20, 10**10)]
    assert len(whole[-1]) > 40
    monkeypatch.setattr("index.catalog.selection.BATCH", 6)
    assert [index.most_probable(selection, k) for k in (5, 6, 20, 10**10)] == whole


@given(data=st.data(), k=st.integers(1, 12))
@settings(max_examples=15)
def test_copies_are_equally_good_and_go_by_path(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, k: int
) -> None:
    names = data.draw(st.permutations([b"%02d.jpg" % number for number in range(10)]))
    labels = (Prediction("one", "n01", 0.1), Prediction("two", "n02", 0.7), Prediction("three", "n03", 0.2))
    with open_for_writing(tmp_path_factory.mktemp("copies")) as index:
        stamp = SampleFile(b"").stamp
        sync = index.begin_sync(Path("/photos"), dict.fromkeys(names, stamp))
        sync.add([NewPhoto(name, stamp, None, 4, 3, embed(b"same"), labels) for name in names])
        sync.finish()
        selection = Selection(folders=(Path("/photos"),), classes=("n01", "n03", "n02"))
        listed, [found] = index.most_probable(selection, k), index.search(embed(b"same")[None], k, among=selection)
    assert [result.path.name for result in listed] == [f"{number:02}.jpg" for number in range(10)][:k]
    assert [result.path for result in found] == [result.path for result in listed]
    assert {result.score for result in listed} == {1.0}


def test_scores_are_a_product(index: PhotoIndex) -> None:
    selection = Selection(folders=(Path("/photos/a"),))
    for query, results in zip(QUERIES, index.search(QUERIES, 5, among=selection), strict=True):
        stored = [embedding_of(index, result.path) for result in results]
        scores = [float(np.dot(query.astype(np.float64), embedding)) for embedding in stored if embedding is not None]
        np.testing.assert_allclose([result.score for result in results], scores, rtol=0, atol=1e-6)


def test_results_below_the_least_score_are_left_out(index: PhotoIndex) -> None:
    selection = Selection(folders=(Path("/photos/a"),))
    [everything] = index.search(QUERIES[:1], 100, among=selection)
    assert index.search(QUERIES[:1], 100, among=selection, min_score=everything[3].score) == [everything[:4]]


def test_folders_that_are_not_known_are_told(index: PhotoIndex) -> None:
    for folder in (Path("/photos/nowhere"), Path("/photos/a/0"), Path("/elsewhere")):
        selection = Selection(folders=(Path("/photos"), folder), classes=("n01",))
        with told(PhotoIndexError, match=rf"^{folder} is not in the index in .*`fc7 info "):
            index.search(QUERIES, 3, among=selection)
        with told(PhotoIndexError, match=rf"^{folder} is not in the index"):
            index.most_probable(selection, 3)


def test_nothing_is_selected_by_a_class_that_no_photo_has(index: PhotoIndex) -> None:
    assert index.search(QUERIES, 3, among=Selection(classes=("n99",))) == [[]] * 3
    assert index.most_probable(Selection(classes=("n99",)), 3) == []


def test_nonsense_is_refused(index: PhotoIndex) -> None:
    selection = Selection(classes=("n01",))
    with pytest.raises(ValueError, match="best 0"):
        index.search(QUERIES, 0, among=selection)
    with pytest.raises(ValueError, match="best 0"):
        index.most_probable(selection, 0)
    with pytest.raises(ValueError, match=r"shape \(m, 8\)"):
        index.search(np.zeros((1, DIM + 1), np.float32), 1, among=selection)


def labels_in(folder: Path) -> tuple[list[tuple[str, int, float]], list[tuple[str, int, float]]]:
    """The table of the labels, and what it should hold by what is known of the photos."""
    with closing(Catalog.open(folder / "catalog.db")) as catalog, PhotoIndex.open(folder) as index:
        table = catalog.rows("SELECT class, photo_id, probability FROM labels ORDER BY class, photo_id")
    expected = []
    with PhotoIndex.open(folder) as index:
        for photos in index.photos.embeddings():
            for path in photos.paths:
                photo = index.photos.at(path)
                assert photo is not None
                expected += [(label.id or label.label, photo.id, label.probability) for label in photo.labels or ()]
    return table, sorted(expected)


def test_labels_keep_in_step_with_photos(tmp_path: Path) -> None:
    root = tmp_path / "photos"

    def check(count: int) -> None:
        table, expected = labels_in(tmp_path / "index")
        assert table == expected
        assert len(table) == 2 * count

    def sync(**contents: bytes) -> None:
        files = {f"{name}.jpg".encode(): SampleFile(content) for name, content in contents.items()}
        with open_for_writing(tmp_path / "index") as index:
            bring_up_to_date(index, root, files)

    sync(a=b"1", b=b"2", c=b"3", d=b"bad")
    check(3)
    sync(a=b"1", b=b"22", moved=b"3", d=b"good now", e=b"1")
    check(5)
    sync(a=b"bad now", b=b"22")
    check(1)
    with open_for_writing(tmp_path / "index") as index:
        index.forget([root])
    check(0)


@pytest.mark.parametrize("folders", [("/photos/a",), ("/photos/a", "/photos/bb", "/other/a"), ("/photos", "/other/a")])
@pytest.mark.parametrize("classes", [(), ("n01",), ("n01", "own name")])
def test_what_is_selected_is_found_without_reading_the_other_photos(
    folder: Path, folders: tuple[str, ...], classes: tuple[str, ...]
) -> None:
    selection = Selection(folders=tuple(map(Path, folders)), classes=classes, min_probability=0.1)
    with closing(Catalog.open(folder / "catalog.db")) as catalog:
        sql, values = vectors_query(catalog, selection)
        plan = [step for *_, step in catalog.rows(f"EXPLAIN QUERY PLAN {sql}", values)]
    assert [step for step in plan if step.startswith("SEARCH photos")]
    assert not [step for step in plan if step.startswith("SCAN photos")]
