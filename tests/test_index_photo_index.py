"""Catalogue and vectors together: answers, other processes, other models."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from photo_samples import (
    DIM,
    SampleFile,
    bring_up_to_date,
    contents_of,
    embed,
    embedding_of,
    hash_of,
    new_photo,
    open_for_writing,
)
from told import told

from index.catalog.selection import Selection
from index.errors import IndexFormatError, IndexLockedError, IndexNotFoundError, ModelMismatchError
from index.index_writer import IndexWriter
from index.photo_index import PhotoIndex
from index.records import FileStamp, NewPhoto, Prediction, SearchResult

ROOT = Path("/photos")
QUERIES = np.stack([embed(b"query %d" % number) for number in range(70)])


def fill(folder: Path, number: int) -> dict[bytes, SampleFile]:
    files = {b"%03d.jpg" % name: SampleFile(b"content %d" % name) for name in range(number)}
    with open_for_writing(folder) as index:
        bring_up_to_date(index, ROOT, files, batch_size=50)
    return files


def names(results: list[SearchResult]) -> list[str]:
    return [result.path.stem for result in results]


@pytest.fixture(scope="module")
def two_hundred(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two hundred") / "index"
    fill(folder, 200)
    return folder


@pytest.mark.parametrize("k", [1, 10, 500])
def test_search_is_a_product_and_a_sort(two_hundred: Path, k: int) -> None:
    with PhotoIndex.open(two_hundred) as index:
        [photos] = index.photos.embeddings()
        answers = index.search(QUERIES, k)
    product = QUERIES.astype(np.float64) @ photos.embeddings.astype(np.float64).T
    for scores, results in zip(product, answers, strict=True):
        best = np.argsort(-scores)[:k]
        assert [result.path for result in results] == [photos.paths[row] for row in best]
        np.testing.assert_allclose([result.score for result in results], scores[best], rtol=0, atol=1e-6)


def test_an_answer_does_not_depend_on_the_other_queries(two_hundred: Path) -> None:
    with PhotoIndex.open(two_hundred) as index:
        assert index.search(QUERIES, 5) == [index.search(query[None], 5)[0] for query in QUERIES]


def test_a_stored_photo_finds_itself_first(two_hundred: Path) -> None:
    with PhotoIndex.open(two_hundred) as index:
        for photos in index.photos.embeddings():
            for path, embedding in zip(photos.paths, photos.embeddings, strict=True):
                [[first]] = index.search(embedding[None], 1, min_score=1)
                assert first == SearchResult(path, 1.0)
                name = int(path.stem)
                assert index.search(embed(b"content %d" % name)[None], 1)[0][0].path == path


@given(copies=st.integers(1, 40), k=st.integers(1, 50))
@settings(max_examples=10)
def test_equal_scores_are_ordered_by_path(tmp_path_factory: pytest.TempPathFactory, copies: int, k: int) -> None:
    folder = tmp_path_factory.mktemp("copies")
    files = {b"%02d.jpg" % name: SampleFile(b"same") for name in range(copies)} | {b"0.jpg": SampleFile(b"another")}
    with open_for_writing(folder) as index:
        sync = index.begin_sync(ROOT, {path: file.stamp for path, file in files.items()})
        # Stored in an order that is not that of their paths.
        sync.add([new_photo(path, files[path]) for path in sorted(files, key=hash_of)])
        [results] = index.search(embed(b"same")[None], k)
    assert names(results) == [*(f"{name:02}" for name in range(copies)), "0"][:k]


def test_results_below_the_least_score_are_left_out(two_hundred: Path) -> None:
    with PhotoIndex.open(two_hundred) as index:
        [everything] = index.search(QUERIES[:1], 200)
        least = everything[20].score
        assert index.search(QUERIES[:1], 200, min_score=least) == [everything[:21]]
        assert index.search(QUERIES[:1], 5, min_score=2) == [[]]


@pytest.mark.parametrize("k", [1, 7, 500])
def test_neighbours_of_stored_photos_are_a_product_and_a_sort(two_hundred: Path, k: int) -> None:
    with PhotoIndex.open(two_hundred) as index:
        [photos] = index.photos.embeddings()
        ids = index.photos.ids()
        asked = np.array([ids[3], 10**9, ids[150], ids[3]])
        scores, nearest = index.neighbours(asked, k)
    assert ids.tolist() == sorted(photos.ids.tolist())
    assert scores.shape == nearest.shape == (4, k)
    product = photos.embeddings.astype(np.float64) @ photos.embeddings.astype(np.float64).T
    np.fill_diagonal(product, -np.inf)
    for row in (0, 2, 3):
        own = product[np.flatnonzero(photos.ids == asked[row])[0]]
        best = np.argsort(-own)[: min(k, 199)]
        assert nearest[row, :199].tolist() == photos.ids[best].tolist()
        np.testing.assert_allclose(scores[row, :199], own[best], rtol=0, atol=1e-6)
        assert set(nearest[row, 199:]) <= {-1}
    assert set(nearest[1]) == {-1}
    assert set(scores[1]) == {-np.inf}


def test_no_photos_have_no_neighbours(tmp_path: Path) -> None:
    with open_for_writing(tmp_path) as index:
        scores, nearest = index.neighbours(index.photos.ids(), 3)
        assert scores.shape == nearest.shape == (0, 3)
        assert index.neighbours(np.array([7]), 2)[1].tolist() == [[-1, -1]]
        with pytest.raises(ValueError, match="nearest 0"):
            index.neighbours(index.photos.ids(), 0)


def test_an_empty_index_finds_nothing(tmp_path: Path) -> None:
    open_for_writing(tmp_path).close()
    with PhotoIndex.open(tmp_path) as index:
        assert index.search(QUERIES, 3) == [[]] * len(QUERIES)
        assert index.search(QUERIES[:0], 3) == []
        assert (list(index.photos.embeddings()), index.photos.skipped(), index.roots()) == ([], [], [])


def test_nonsense_is_refused(two_hundred: Path) -> None:
    with PhotoIndex.open(two_hundred) as index:
        with pytest.raises(ValueError, match="best 0"):
            index.search(QUERIES, 0)
        with pytest.raises(ValueError, match=r"shape \(m, 8\), not \(1, 9\)"):
            index.search(np.zeros((1, DIM + 1), dtype=np.float32), 1)


@pytest.mark.parametrize(
    ("queries", "reason"),
    [
        (QUERIES[0], r"shape \(m, 8\), not \(8,\); one query is a row"),
        (QUERIES[None], r"not \(1, \d+, 8\)"),
        (np.zeros((0,), np.float32), r"not \(0,\)"),
        (np.full((2, DIM), np.nan, np.float32), "query 0 has no direction"),
        (np.array([QUERIES[0], [np.inf] * DIM], np.float32), "query 1 has no direction"),
        (np.zeros((1, DIM), np.float32), "query 0 has no direction"),
    ],
)
@pytest.mark.parametrize("kind", ["Flat", "IVF2,SQ8"])
def test_what_is_no_query_is_refused(tmp_path: Path, queries: NDArray[np.float32], reason: str, kind: str) -> None:
    with open_for_writing(tmp_path) as index:
        index.set_kind(kind)
        bring_up_to_date(index, ROOT, {b"%d.jpg" % number: SampleFile(b"%d" % number) for number in range(100)})
        with pytest.raises(ValueError, match=reason):
            index.search(queries, 3)
        with pytest.raises(ValueError, match=reason):
            index.search(queries, 3, among=Selection(folders=(ROOT,)))


def test_only_the_direction_of_a_query_counts(two_hundred: Path) -> None:
    with PhotoIndex.open(two_hundred) as index:
        expected = index.search(QUERIES, 5)
        for scale in (7, 1e-30, 1e30):
            assert index.search((QUERIES.astype(np.float64) * scale), 5) == expected  # type: ignore[arg-type]
        assert all(abs(found.score) <= 1 for results in expected for found in results)


def test_a_reader_has_no_means_to_write() -> None:
    assert set(vars(IndexWriter)) >= {"begin_sync", "forget", "rebuild", "repair", "set_kind"}
    assert not {"begin_sync", "forget", "rebuild", "repair", "set_kind"} & set(dir(PhotoIndex))


def test_what_is_known_of_a_photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    strange = b"sub/\xff\n.jpg"
    with open_for_writing(tmp_path / "index") as index:
        bring_up_to_date(index, tmp_path / "photos", {strange: SampleFile(b"1", 7), b"b.jpg": SampleFile(b"bad")})
        path = tmp_path / "photos" / os.fsdecode(strange)
        photo = index.photos.at(path)
        assert photo is not None
        assert (photo.path, photo.stamp, photo.skipped) == (path, FileStamp(1, 7), None)
        assert photo.labels is not None
        assert [(label.label, label.id, label.probability) for label in photo.labels] == [
            ("a cat", "n02123045", 0.75),
            ("ein Kätzchen", None, 0.25),
        ]
        embedding = embedding_of(index, path)
        assert embedding is not None
        np.testing.assert_allclose(embedding, embed(b"1"), rtol=0, atol=1e-3)
        assert np.linalg.norm(embedding) == pytest.approx(1, abs=1e-6)
        assert embedding_of(index, tmp_path / "photos/b.jpg") is None
        assert embedding_of(index, Path("/elsewhere.jpg")) is None
        monkeypatch.chdir(tmp_path / "index")
        assert index.photos.at(Path("../photos") / os.fsdecode(strange)) is not None
        assert index.roots() == [tmp_path / "photos"]


def test_the_summary(tmp_path: Path) -> None:
    with open_for_writing(tmp_path) as index:
        bring_up_to_date(
            index, ROOT, {b"a.jpg": SampleFile(b"1"), b"b.jpg": SampleFile(b"2"), b"c": SampleFile(b"bad")}
        )
        summary = index.summary()
    assert (summary.photos, summary.skipped, summary.roots, summary.dim) == (2, 1, (ROOT,), DIM)
    assert (summary.model_name, summary.fingerprint, summary.kind, summary.generation) == ("sample", "abc", "Flat", 1)
    assert abs(datetime.now(UTC) - summary.created) < timedelta(minutes=5)
    assert summary.bytes_on_disk > DIM * 2 * 4


def test_there_must_be_an_index(tmp_path: Path) -> None:
    with told(IndexNotFoundError, match="fc7 index FOLDER"):
        PhotoIndex.open(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with open_for_writing(tmp_path), told(IndexLockedError, match=f"process {os.getpid()}"):
        open_for_writing(tmp_path)
    open_for_writing(tmp_path).close()


def test_a_writer_that_cannot_open_the_catalogue_gives_the_lock_back(tmp_path: Path) -> None:
    (tmp_path / "catalog.db").write_bytes(b"not a database" * 1000)
    for _ in range(2):
        with pytest.raises(IndexFormatError):
            open_for_writing(tmp_path)


def test_an_open_reader_sees_every_change(tmp_path: Path) -> None:
    with open_for_writing(tmp_path) as writer, PhotoIndex.open(tmp_path) as reader:

        def check(**contents: bytes) -> None:
            files = {f"{name}.jpg".encode(): SampleFile(content) for name, content in contents.items()}
            bring_up_to_date(writer, ROOT, files, batch_size=1)
            good = [name for name, content in contents.items() if not content.startswith(b"bad")]
            assert sorted(names(reader.search(QUERIES[:1], 99)[0])) == good
            for name in good:
                assert reader.search(embed(contents[name])[None], 1)[0][0].score == pytest.approx(1, abs=1e-5)
            assert contents_of(reader) == contents_of(writer)

        check()
        check(a=b"1", b=b"2")
        check(a=b"1", b=b"2", c=b"3")
        check(b=b"2", c=b"3")
        check(b=b"22", c=b"3")
        check(c=b"3", d=b"22")
        check(c=b"bad 3", d=b"22")
        check()
        check(a=b"1")


def test_a_reader_sees_what_was_committed_and_nothing_else(tmp_path: Path) -> None:
    files = {b"%d.jpg" % name: SampleFile(b"%d" % name) for name in range(9)}
    with open_for_writing(tmp_path) as writer, PhotoIndex.open(tmp_path) as reader:
        for batches in (1, 2, 3):
            bring_up_to_date(writer, ROOT, files, batch_size=2, stop_after=1)
            assert len(reader.search(QUERIES[:1], 99)[0]) == 2 * batches


def test_another_model_is_refused_with_the_command_that_helps(tmp_path: Path) -> None:
    with open_for_writing(tmp_path / "an index") as index:
        bring_up_to_date(index, Path("/my photos"), {b"a.jpg": SampleFile(b"1")})
    said = r"another model, sample; .*-m, .*`fc7 index --rebuild '/my photos' -m MODEL --index '.*/an index'`"
    with told(ModelMismatchError, match=said):
        PhotoIndex.open(tmp_path / "an index", fingerprint="other")
    for _ in range(2):
        with told(ModelMismatchError, match=said):
            IndexWriter.open_for_writing(tmp_path / "an index", fingerprint="other", model_name="other", dim=3)
    with PhotoIndex.open(tmp_path / "an index", fingerprint="abc") as index:
        assert index.summary().photos == 1


def test_names_that_are_no_valid_text(tmp_path: Path) -> None:
    photo = NewPhoto(b"1.jpg", FileStamp(1, 1), b"1" * 16, 4, 3, embed(b"1"), (Prediction("caf\udce9", None, 0.75),))
    with IndexWriter.open_for_writing(tmp_path, fingerprint="abc", model_name="\udce9.onnx", dim=DIM) as index:
        sync = index.begin_sync(ROOT, {b"1.jpg": FileStamp(1, 1)})
        sync.add([photo])
        sync.finish()
        assert index.summary().model_name == "\\udce9.onnx"
        [found] = index.most_probable(Selection(classes=("caf\udce9",)), 3)
        assert (found.path, found.score) == (ROOT / "1.jpg", 0.75)
        stored = index.photos.at(ROOT / "1.jpg")
        assert stored is not None
        assert stored.labels == photo.labels
