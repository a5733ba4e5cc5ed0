"""What every index promises, whatever keeps it, against a dictionary and NumPy: after any changes, any search."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Protocol

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from milvus_samples import lite, opened
from numpy.typing import NDArray
from photo_samples import DIM, SampleFile, embed, hash_of, open_for_writing

from index.catalog.rows import pack_embedding, pack_taken, unpack_embeddings
from index.catalog.selection import Selection
from index.errors import ModelMismatchError, OptionError, PhotoIndexError
from index.milvus.calls import Calls
from index.milvus.milvus_index import MilvusIndex
from index.milvus.milvus_writer import MilvusWriter
from index.milvus.place import MilvusPlace
from index.milvus.push import push
from index.milvus.rows import RemotePhoto
from index.milvus.state import FLAT, HNSW
from index.photo_index import PhotoIndex
from index.records import IndexedFile, NewPhoto, Prediction, SearchResult
from index.searchable import FillableIndex, SearchableIndex

ROOT = Path("/photos")
PATHS = [b"a.jpg", b"a/1.jpg", b"a/2.jpg", b"a0.jpg", b"b/a/1.jpg", b"c'/1.jpg", "ä/日.jpg".encode()]
PATHS.append(b'b/"%_\\\n\xff.jpg')
FOLDERS = [Path(name) for name in ("/", "/photos", "/photos/a", "/photos/b", "/photos/c'")]
CONTENTS = [b"content %d" % number for number in range(5)]  # few, so that there are copies, which are equally near
CLASSES = ("n01", "n02", "own name")
TIMES = [datetime(2024, 1, 1, 12, number) for number in range(11)]
Files = Mapping[bytes, SampleFile]

files = st.dictionaries(
    st.sampled_from(PATHS),
    # The time tells the contents apart, which have one size: a file with another content has another stamp.
    st.builds(
        lambda number, time: SampleFile(CONTENTS[number], 1 + number + 5 * time), st.integers(0, 4), st.integers(0, 1)
    ),
    max_size=8,
)
selections = st.builds(
    Selection,
    st.lists(st.sampled_from(FOLDERS[:2]), max_size=2).map(tuple),
    st.lists(st.sampled_from(CLASSES), max_size=2, unique=True).map(tuple),
    st.sampled_from([0.0, 0.2, 0.5]),
    st.none() | st.integers(1, 10).map(lambda number: TIMES[number]),
    st.none() | st.integers(1, 10).map(lambda number: TIMES[number]),
)
steps = st.lists(st.tuples(files, selections, st.integers(1, 9), st.none() | st.floats(-1, 1)), min_size=1, max_size=3)


class Store(Protocol):
    """What is tested: `become` makes it hold these files, and returns it opened for searching."""

    def become(self, files: Files) -> SearchableIndex: ...


def taken_of(file: SampleFile) -> datetime | None:
    """When it was taken; of some it is not known."""
    number = CONTENTS.index(file.content)
    return TIMES[2 * number] if number % 3 else None


def labels_of(content: bytes) -> tuple[Prediction, ...]:
    random = np.random.default_rng(int.from_bytes(hash_of(content), "little"))
    shares = random.dirichlet(np.ones(len(CLASSES)))
    ids = {"n01": "n01", "n02": "n02"}
    return tuple(
        Prediction(f"name of {name}" if name in ids else name, ids.get(name), float(share))
        for name, share in zip(CLASSES, shares, strict=True)
        if share > 0.1
    )


def stored(content: bytes) -> NDArray[np.float32]:
    """The embedding of a content, as the catalogue keeps it."""
    vector: NDArray[np.float32] = unpack_embeddings([pack_embedding(embed(content))], DIM)[0]
    return vector


class LocalStore:
    """An index in a folder: SQLite and FAISS."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def opened(self) -> FillableIndex:
        return open_for_writing(self.folder)

    def write(self, files: Files) -> None:
        with self.opened() as index:
            sync = index.begin_sync(ROOT, {path: file.stamp for path, file in files.items()})
            sync.add(
                [
                    NewPhoto(
                        path,
                        file.stamp,
                        hash_of(content),
                        4,
                        3,
                        embed(content),
                        labels_of(content),
                        taken=taken_of(file),
                    )
                    for path in sync.to_read
                    for file, content in [(files[path], files[path].content)]
                    if not sync.resolve(path, file.stamp, hash_of(content))
                ]
            )
            sync.finish()

    def become(self, files: Files) -> SearchableIndex:
        self.write(files)
        return PhotoIndex.open(self.folder, fingerprint="abc")


class FilledStore(LocalStore):
    """An index in Milvus that is filled from folders."""

    def __init__(self, place: MilvusPlace) -> None:
        super().__init__(Path())
        self.place = place

    def opened(self) -> FillableIndex:
        return MilvusWriter.open_for_writing(self.place, fingerprint="abc", model_name="sample", dim=DIM)

    def become(self, files: Files) -> SearchableIndex:
        self.write(files)
        return MilvusIndex.open(self.place, fingerprint="abc")


class PushedStore(LocalStore):
    """The copy of an index in a folder, in Milvus."""

    def __init__(self, folder: Path, place: MilvusPlace, kind: str) -> None:
        super().__init__(folder)
        self.place, self.kind = place, kind

    def become(self, files: Files) -> SearchableIndex:
        self.write(files)
        report = push(self.folder, self.place, kind=self.kind)
        assert report.photos == len(files) == report.sent + report.unchanged
        again = push(self.folder, self.place)
        assert (again.photos, again.sent, again.removed) == (len(files), 0, 0)
        return MilvusIndex.open(self.place, fingerprint="abc")


class MilvusStore:
    """Milvus alone, filled by upserts and deletions, under ids that stay those of their paths."""

    def __init__(self, place: MilvusPlace) -> None:
        self.place = place
        self.known: Files = {}

    def become(self, files: Files) -> SearchableIndex:
        ids = {path: 1 + number for number, path in enumerate(PATHS)}
        with opened(self.place, DIM) as collection:
            collection.upsert([self.photo(ids[path], path, files[path]) for path in files])
            collection.delete([ids[path] for path in self.known if path not in files])
            collection.put_state(replace(collection.state, complete=True, photos=len(files)))
            assert [photo.id for photo in collection.get(list(ids.values()))] == sorted(ids[path] for path in files)
        self.known = files
        return MilvusIndex.open(self.place, fingerprint="abc")

    def photo(self, id: int, path: bytes, file: SampleFile) -> RemotePhoto:
        classes = {label.id or label.label: label.probability for label in labels_of(file.content)}
        place = os.path.join(os.fsencode(ROOT), path)
        return RemotePhoto(
            id,
            place,
            file.stamp,
            hash_of(file.content),
            4,
            3,
            classes,
            stored(file.content),
            pack_taken(taken_of(file)),
        )


@pytest.fixture(
    scope="module",
    params=[
        *("local", "milvus"),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("filled", "pushed-HNSW", "pushed-Flat")),
    ],
)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    work = tmp_path_factory.mktemp("store")
    name, _, kind = request.param.partition("-")
    with ExitStack() as resources:
        if name == "filled":
            resources.enter_context(closing(Calls(lite(work))))  # kept open, as below
        elif name != "local":
            # Kept open, because a file of Milvus Lite takes long to open.
            resources.enter_context(opened(lite(work), DIM, kind=kind or HNSW))
        if name == "pushed":
            push_first(work, kind)
        stores: dict[str, Callable[[], Store]] = {
            "local": lambda: LocalStore(work / "index"),
            "milvus": lambda: MilvusStore(lite(work)),
            "filled": lambda: FilledStore(lite(work)),
            "pushed": lambda: PushedStore(work / "index", lite(work), kind),
        }
        yield stores[name]()


def push_first(work: Path, kind: str) -> None:
    """Replace what `opened` made for another catalogue."""
    LocalStore(work / "index").write({})
    with pytest.raises(PhotoIndexError, match="copy of another index"):
        push(work / "index", lite(work), kind=kind)
    push(work / "index", lite(work), kind=kind, replace_other=True)


def expected_results(
    held: Files, query: NDArray[np.float32], k: int, min_score: float | None, among: Selection
) -> list[SearchResult]:
    """What NumPy finds in a dictionary."""
    found = []
    for path, file in held.items():
        score = float(np.round(np.sum(stored(file.content) * query, dtype=np.float64), 6))
        if is_selected(path, file, among) and (min_score is None or score >= min_score):
            found.append(SearchResult(full(path), score))
    return sorted(found, key=lambda result: (-result.score, result.path))[:k]


def full(path: bytes) -> Path:
    return ROOT / os.fsdecode(path)


def probability(file: SampleFile, among: Selection) -> float | None:
    shares = {label.id or label.label: label.probability for label in labels_of(file.content)}
    named = [shares[name] for name in among.classes if name in shares]
    return round(sum(named), 6) if named else None


def is_selected(path: bytes, file: SampleFile, among: Selection) -> bool:
    if among.folders and not any(full(path).is_relative_to(folder) for folder in among.folders):
        return False
    taken = taken_of(file)
    if (among.since or among.before) and taken is None:
        return False
    if taken is not None and ((among.since and taken < among.since) or (among.before and taken >= among.before)):
        return False
    share = probability(file, among)
    return not among.classes or (share is not None and share >= among.min_probability)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_any_changes_then_any_search(store: Store, steps: list[tuple[Files, Selection, int, float | None]]) -> None:
    store.become({}).close()
    for held, among, k, min_score in steps:
        with store.become(held) as index:
            assert index.summary().photos == len(held)
            assert index.problems() == []
            queries = np.stack([embed(b"query %d" % number) for number in range(2)] + [embed(CONTENTS[0])])
            lengths = np.linalg.norm(queries.astype(np.float64), axis=1, keepdims=True)
            units = (queries / lengths).astype(np.float32)
            wanted = [expected_results(held, query, k, min_score, among) for query in units]
            if any(not index.photos.knows(folder) for folder in among.folders):
                with pytest.raises(PhotoIndexError, match="is not in the index"):
                    index.search(queries, k, among=among)
                continue
            assert index.search(queries, k, min_score=min_score, among=among) == wanted
            if among.classes:
                probable = [
                    SearchResult(full(path), probability(file, among) or 0.0)
                    for path, file in held.items()
                    if is_selected(path, file, among)
                ]
                best = sorted(probable, key=lambda result: (-result.score, result.path))[:k]
                assert index.most_probable(among, k) == best
            check_photos(index, held)


def check_photos(index: SearchableIndex, held: Files) -> None:
    """Compare what is read of photos by their paths and contents."""
    for path in PATHS:
        photo = index.photos.at(full(path))
        assert (photo is None) == (path not in held)
        if photo is not None:
            file = held[path]
            assert (photo.path, photo.stamp, photo.content_hash) == (full(path), file.stamp, hash_of(file.content))
            assert (photo.width, photo.height) == (4, 3)
            np.testing.assert_array_equal(photo.embedding, stored(file.content))
    for folder in FOLDERS[2:]:
        assert index.photos.knows(folder) == any(full(path).is_relative_to(folder) for path in held)
    contents = [file.content for file in held.values()]
    counts = {hash_of(content): contents.count(content) for content in set(contents)}
    assert index.photos.count_contents([hash_of(content) for content in CONTENTS]) == counts
    check_ids(index, held)
    assert sorted(index.photos.random_paths(20, Random(0))) == sorted(map(full, held))


def check_ids(index: SearchableIndex, held: Files) -> None:
    """Compare what is read of photos by their ids: files, vectors, contents, neighbours."""
    ids = index.photos.ids()
    found = index.photos.files(ids)
    assert [file.id for file in found] == ids.tolist() == sorted(ids.tolist())
    assert {file.path: (file.stamp, file.taken) for file in found} == {
        full(path): (file.stamp, taken_of(file)) for path, file in held.items()
    }
    assert sorted(index.photos.files_at([full(path) for path in PATHS]), key=lambda file: file.id) == found
    pages, after = list[IndexedFile](), 0
    while page := index.photos.files_after(after, 3):
        pages += page
        after = page[-1].id
    assert pages == found
    contents = [held[os.fsencode(file.path.relative_to(ROOT))].content for file in found]
    vectors = np.stack([stored(content) for content in contents]) if contents else np.empty((0, DIM), np.float32)
    np.testing.assert_array_equal(index.photos.vectors(ids), vectors)
    first = [ids[contents.index(content)] for content in contents]
    assert [part.tolist() for part in index.copies.contents()] == [ids.tolist(), first]
    inside = [file.id for file in found if file.path.is_relative_to(FOLDERS[2])]
    if index.photos.knows(FOLDERS[2]):
        assert index.photos.ids_below(FOLDERS[2]).tolist() == inside
    scores, nearest = index.neighbours(ids, 3)
    for row, (id, vector) in enumerate(zip(ids, vectors, strict=True)):
        exact = np.round(np.sum(vectors * vector, axis=1, dtype=np.float64), 6)
        others = np.sort(exact[ids != id])[::-1][:3]
        np.testing.assert_allclose(scores[row, : len(others)], others, atol=2e-6)
        assert np.isneginf(scores[row, len(others) :]).all()
        assert (nearest[row, len(others) :] == -1).all()


def test_more_copies_than_results_are_ordered_by_path(store: Store) -> None:
    held = {path: SampleFile(CONTENTS[0]) for path in PATHS}
    with store.become(held) as index:
        [found] = index.search(stored(CONTENTS[0])[None], 3)
    assert [result.path for result in found] == sorted(map(full, PATHS))[:3]
    assert {result.score for result in found} == {1.0}


def test_what_cannot_be_asked_is_refused(store: Store) -> None:
    with store.become({PATHS[0]: SampleFile(CONTENTS[0])}) as index:
        for queries, k in ((np.zeros((1, DIM), np.float32), 1), (np.ones((1, DIM + 1), np.float32), 1)):
            with pytest.raises(ValueError, match=r"query|queries"):
                index.search(queries, k)
        with pytest.raises(ValueError, match="best 0"):
            index.search(np.ones((1, DIM), np.float32), 0)
        with pytest.raises(PhotoIndexError, match="is a photo"):
            index.search(np.ones((1, DIM), np.float32), 1, among=Selection(folders=(full(PATHS[0]),)))


def test_milvus_alone_refuses(tmp_path: Path) -> None:
    place = lite(tmp_path)
    with opened(place, DIM) as collection:
        with pytest.raises(ValueError, match=f"{DIM} values"):
            collection.upsert([MilvusStore(place).photo(0, b"x.jpg", SampleFile(CONTENTS[0]))])
        with pytest.raises(ModelMismatchError, match="another model, sample"):
            MilvusIndex.open(place, fingerprint="other")
        with closing(MilvusIndex.open(place)) as index:
            with pytest.raises(OptionError, match="promises no share"):
                index.search(np.ones((1, DIM), np.float32), 1, recall=0.9)
            with pytest.raises(OptionError, match="fewer than 16,384"):
                index.search(np.ones((1, DIM), np.float32), 20_000)
    flat = lite(tmp_path, "flat")
    with opened(flat, DIM, kind=FLAT), closing(MilvusIndex.open(flat)) as index:
        assert index.search(np.ones((1, DIM), np.float32), 1, recall=1) == [[]]
