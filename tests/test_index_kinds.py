"""Every kind of FAISS index finds what an exact search finds, loses nothing, and is rebuilt when it is outgrown."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from photo_samples import DIM, SampleFile, bring_up_to_date, embed, open_for_writing

from index.photo_index import PhotoIndex
from index.vectors import building
from index.vectors.faiss_index import VectorIndex
from index.vectors.file import VectorFileError, read_header
from index.vectors.kinds import AUTO, EXACT_NUMBERS, Quality, fits, kind_for
from index.vectors.parts import Embeddings

ROOT = Path("/photos")
QUERIES = np.stack([embed(b"query %d" % number) for number in range(20)])
# With removal of their own and without, with an nprobe and without.
KINDS = ["Flat", "IVF4,SQ8", "HNSW8", "SQ8"]
FEW_LISTS = "IVF8,SQ8"


def files_numbered(numbers: range) -> dict[bytes, SampleFile]:
    return {b"%04d.jpg" % number: SampleFile(b"content %d" % number) for number in numbers}


def filled(folder: Path, numbers: range, *, kind: str) -> None:
    with open_for_writing(folder) as index:
        index.set_kind(kind)
        bring_up_to_date(index, ROOT, files_numbered(numbers), batch_size=500)


def answers(folder: Path, k: int = 10, *, recall: float | None = None) -> list[list[str]]:
    with PhotoIndex.open(folder) as index:
        return [[result.path.stem for result in results] for results in index.search(QUERIES, k, recall=recall)]


def share_found(found: list[list[str]], exact: list[list[str]]) -> float:
    pairs = zip(found, exact, strict=True)
    return float(np.mean([len(set(row) & set(right)) / len(right) for row, right in pairs]))


@pytest.fixture(scope="module", params=KINDS)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A file of 300 vectors, of each kind."""
    folder = tmp_path_factory.mktemp("kind") / "index"
    filled(folder, range(300), kind=request.param)
    return request.param, folder / "vectors.faiss"


@pytest.mark.parametrize("kind", [FEW_LISTS, "SQ8", "HNSW8"])
def test_lists_that_are_filled_elsewhere_are_those_filled_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(building, "PART", 64)
    parts = 0

    def run(fill: Callable[[Embeddings], bytes], given: Iterable[Embeddings]) -> Iterator[bytes]:
        nonlocal parts
        for part in given:
            parts += 1
            yield fill(part)

    for name, chosen in (("here", None), ("elsewhere", run)):
        with open_for_writing(tmp_path / name) as index:
            index.fill_with(chosen)
            index.set_kind(kind)
            bring_up_to_date(index, ROOT, files_numbered(range(300)), batch_size=500)
    assert parts == (0 if kind == "HNSW8" else 5)
    here, elsewhere = (read_header(tmp_path / name / "vectors.faiss").built for name in ("here", "elsewhere"))
    assert here == elsewhere
    assert answers(tmp_path / "here") == answers(tmp_path / "elsewhere")


Changes = list[tuple[bool, int]]


@given(changes=st.lists(st.tuples(st.booleans(), st.integers(0, 20)), max_size=30), merge_at=st.integers(0, 30))
@settings(max_examples=20)
def test_after_any_changes_the_ids_are_those_of_an_exact_search(
    built: tuple[str, Path], changes: Changes, merge_at: int
) -> None:
    kind, path = built
    vectors = VectorIndex.load(path)
    assert vectors.kind == kind
    rng = np.random.default_rng(0)
    with PhotoIndex.open(path.parent) as index:
        oracle = {
            int(id): row
            for photos in index.photos.embeddings()
            for id, row in zip(photos.ids, photos.embeddings, strict=True)
        }
    for number, (adds, id) in enumerate(changes):
        # The low ids are in the base, the high ones are not: both are removed, and come back with other vectors.
        id = id if id < 10 else id + 1000
        assert vectors.remove([id]) == (oracle.pop(id, None) is not None)
        if adds:
            oracle[id] = rng.normal(size=DIM).astype(np.float32)
            vectors.add([id], oracle[id][None])
        if number == merge_at:
            vectors.merge()
    assert len(vectors) == len(oracle)
    assert sorted(vectors.ids.tolist()) == sorted(oracle)
    # Told to look everywhere for all there are, no kind may leave one out or bring back one that was removed.
    _, found = vectors.search(QUERIES[:3], len(oracle) + len(changes), nprobe=vectors.max_nprobe)
    if kind != "HNSW8":  # which has no way to look everywhere
        assert [set(row[row >= 0].tolist()) for row in found] == [set(oracle)] * 3
    assert all(set(row[row >= 0].tolist()) <= set(oracle) for row in found)
    assert all(len(np.unique(row[row >= 0])) == (row >= 0).sum() for row in found)


def test_ranked_by_the_catalogue_answers_are_those_of_an_exact_search(built: tuple[str, Path]) -> None:
    kind, path = built
    exact = answers(path.parent, recall=1)
    assert share_found(answers(path.parent), exact) >= 0.85
    with PhotoIndex.open(path.parent) as index:
        summary = index.summary()
        assert summary.kind == summary.chosen_kind == kind
        [[first]] = index.search(embed(b"content 7")[None], 1)
        assert first.path.stem == "0007"
        assert first.score == pytest.approx(1, abs=1e-5)
        assert len(index.search(QUERIES[:1], 1000)[0]) >= (300 if kind != "HNSW8" else 100)
        assert index.problems() == []


def test_a_saved_index_answers_as_before(built: tuple[str, Path], tmp_path: Path) -> None:
    vectors = VectorIndex.load(built[1])
    vectors.remove([3, 4])
    vectors.add([2000], QUERIES[:1])
    vectors.save(tmp_path / "v")
    loaded = VectorIndex.load(tmp_path / "v")
    assert (loaded.kind, loaded.built, loaded.stamp, len(loaded)) == (built[0], vectors.built, vectors.stamp, 299)
    assert loaded.search(QUERIES, 5)[1].tolist() == vectors.search(QUERIES, 5)[1].tolist()


def test_no_damage_makes_a_search_crash_or_err(built: tuple[str, Path], tmp_path: Path) -> None:
    whole = built[1].read_bytes()
    path = tmp_path / "v"
    rng = np.random.default_rng(0)
    noticed = 0
    for _ in range(60):
        damaged = bytearray(whole)
        damaged[int(rng.integers(len(whole)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        noticed += not load_or_none(path, verify=True)
        vectors = load_or_none(path)
        if vectors is not None:
            _, found = vectors.search(QUERIES, 50, nprobe=vectors.max_nprobe)
            assert set(found.ravel().tolist()) <= {-1, *vectors.ids.tolist()}
    assert noticed == 60
    for length in rng.integers(len(whole), size=20):
        path.write_bytes(whole[:length])
        assert load_or_none(path) is None


def load_or_none(path: Path, *, verify: bool = False) -> VectorIndex | None:
    try:
        return VectorIndex.load(path, verify=verify)
    except VectorFileError:
        return None


def test_a_kind_is_remembered_until_it_is_given_back(tmp_path: Path) -> None:
    filled(tmp_path, range(300), kind=FEW_LISTS)
    with open_for_writing(tmp_path) as index:
        bring_up_to_date(index, ROOT, files_numbered(range(310)))
    header = read_header(tmp_path / "vectors.faiss")
    assert (header.built.wanted, header.built.kind) == (FEW_LISTS, FEW_LISTS)
    filled(tmp_path, range(310), kind=AUTO)
    assert read_header(tmp_path / "vectors.faiss").built.kind == "Flat"


def test_too_few_photos_for_a_kind_are_compared_one_by_one(tmp_path: Path) -> None:
    filled(tmp_path, range(20), kind="IVF64,SQ8")
    with PhotoIndex.open(tmp_path) as index:
        summary = index.summary()
    assert (summary.kind, summary.chosen_kind, summary.quality) == ("Flat", "IVF64,SQ8", None)
    assert answers(tmp_path) == answers(tmp_path, recall=1)
    filled(tmp_path, range(200), kind="IVF64,SQ8")
    assert read_header(tmp_path / "vectors.faiss").built.kind == "IVF64,SQ8"


def test_what_is_removed_again_and_again_wears_an_index_out(tmp_path: Path) -> None:
    filled(tmp_path, range(300), kind=FEW_LISTS)
    filled(tmp_path, range(20, 320), kind=FEW_LISTS)
    assert VectorIndex.load(tmp_path / "vectors.faiss").removed == 20
    filled(tmp_path, range(40, 340), kind=FEW_LISTS)
    worn = VectorIndex.load(tmp_path / "vectors.faiss")
    assert (worn.removed, worn.recent, len(worn)) == (0, 0, 300)


@pytest.mark.slow
def test_a_large_file_is_not_written_for_a_small_change(tmp_path: Path) -> None:
    filled(tmp_path, range(1000), kind=FEW_LISTS)
    path = tmp_path / "vectors.faiss"
    before = path.stat().st_ino
    filled(tmp_path, range(1, 1003), kind=FEW_LISTS)
    assert path.stat().st_ino == before
    assert share_found(answers(tmp_path), answers(tmp_path, recall=1)) >= 0.9
    found = {name for row in answers(tmp_path, 2000) for name in row}
    assert found == {f"{number:04}" for number in range(1, 1003)}
    filled(tmp_path, range(1, 1100), kind=FEW_LISTS)
    assert path.stat().st_ino != before
    assert VectorIndex.load(path).recent == 0


@pytest.mark.slow
def test_a_collection_outgrows_its_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("index.vectors.kinds.EXACT_NUMBERS", 400 * DIM)
    kinds = []
    for end in (390, 410, 900, 2000, 900, 410, 390, 190):
        filled(tmp_path, range(end), kind=AUTO)
        kinds.append(read_header(tmp_path / "vectors.faiss").built.kind)
        assert share_found(answers(tmp_path), answers(tmp_path, recall=1)) >= 0.9
    # Smaller again, it is changed later than it was when it grew.
    assert kinds[:2] == ["Flat", kind_for(410, DIM)]
    assert kinds[3] == kind_for(2000, DIM) != kinds[1]
    assert kinds[4:] == [kinds[3], kinds[1], kinds[1], "Flat"]


@pytest.mark.parametrize(("vectors", "kind"), [(0, "Flat"), (39_000, "Flat"), (40_000, "IVF1024,SQ8")])
def test_the_kind_follows_the_number_of_vectors(vectors: int, kind: str) -> None:
    assert kind_for(vectors, 256) == kind
    assert fits(kind, vectors, 256)
    assert kind_for(1_000_000, 256) == "IVF4096,SQ8"
    assert kind_for(EXACT_NUMBERS, 1) == "Flat"


@pytest.mark.slow
def test_the_measured_recall_is_that_of_a_search(tmp_path: Path) -> None:
    filled(tmp_path, range(2000), kind="IVF64,SQ8")
    with PhotoIndex.open(tmp_path) as index:
        quality = index.summary().quality
        assert quality is not None
        assert [nprobe for nprobe, _ in quality.recalls] == sorted({nprobe for nprobe, _ in quality.recalls})
        photos = [next(iter(index.photos.embeddings()))][0].embeddings[:300]
        truth = [{result.path for result in row[1:]} for row in index.search(photos, 11, recall=1)]
        for wanted in (0.5, 0.8, 0.95):
            reached = quality.nprobe_for(wanted)
            assert reached is not None
            found = [{result.path for result in row[1:]} for row in index.search(photos, 11, recall=wanted)]
            measured = np.mean([len(one & other) / 10 for one, other in zip(found, truth, strict=True)])
            assert measured == pytest.approx(reached[1], abs=0.05)


def test_copies_do_not_make_a_recall_look_bad(tmp_path: Path) -> None:
    """Of many equal photos any ten are as good as any other ten: scores are compared, not ids."""
    files = {b"%04d.jpg" % number: SampleFile(b"content %d" % (number % 7)) for number in range(700)}
    with open_for_writing(tmp_path) as index:
        index.set_kind("IVF2,SQ8")
        bring_up_to_date(index, ROOT, files, batch_size=700)
        quality = index.summary().quality
        assert quality is not None
        assert quality.recalls[0] == (1, 1.0)


def test_a_recall_that_cannot_be_reached_is_reached_by_comparing_all(tmp_path: Path) -> None:
    filled(tmp_path, range(500), kind="HNSW2")
    warnings: list[str] = []
    with PhotoIndex.open(tmp_path, warn=warnings.append) as index:
        exact = index.search(QUERIES, 10, recall=1)
        assert warnings == []
        assert index.search(QUERIES, 10, recall=0.9999) == exact
        index.search(QUERIES, 10, recall=0.9999)
    [warning] = warnings
    assert "HNSW2 reaches a recall of 0." in warning


def test_nprobe_is_the_least_that_suffices() -> None:
    quality = Quality(2, ((1, 0.5), (2, 0.98), (4, 0.97), (8, 0.99)), 256)
    assert quality.usual() == quality.nprobe_for(0.6) == (2, 0.98)
    assert quality.nprobe_for(0.985) == quality.best == (8, 0.99)
    assert quality.nprobe_for(0.995) is None


def remove(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip_a_bit_of_the_lists(path: Path) -> None:
    damaged = bytearray(path.read_bytes())
    damaged[-50] ^= 4
    path.write_bytes(damaged)


@pytest.mark.parametrize("harm", [remove, truncate])
def test_no_search_reads_all_of_a_large_catalogue_into_memory(
    tmp_path: Path, harm: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("index.vectors.kinds.EXACT_NUMBERS", 200 * DIM)
    monkeypatch.setattr("index.vectors.cache.EXACT_NUMBERS", 200 * DIM)
    monkeypatch.setattr("index.vectors.current.EXACT_NUMBERS", 200 * DIM)
    filled(tmp_path, range(500), kind=AUTO)
    exact = answers(tmp_path, recall=1)
    path = tmp_path / "vectors.faiss"
    harm(path)
    warnings: list[str] = []
    with PhotoIndex.open(tmp_path, warn=warnings.append) as index:
        found = [[result.path.stem for result in results] for results in index.search(QUERIES, 10)]
        assert index.neighbours(index.photos.ids()[:5], 3)[1].min() > 0
    assert found == exact
    assert len(warnings) == 1
    assert "fc7 index" in warnings[0]
    filled(tmp_path, range(500), kind=AUTO)
    assert read_header(path).built.kind.startswith("IVF")


def test_check_finds_damage_that_a_search_does_not_look_for(tmp_path: Path) -> None:
    filled(tmp_path, range(300), kind=FEW_LISTS)
    flip_a_bit_of_the_lists(tmp_path / "vectors.faiss")
    assert share_found(answers(tmp_path), answers(tmp_path, recall=1)) >= 0.9
    with open_for_writing(tmp_path) as index:
        [problem] = index.problems()
        assert "checksum" in problem.what
        index.repair([problem])
        assert index.problems() == []
        assert index.summary().kind == FEW_LISTS


def test_an_open_reader_keeps_what_it_has_mapped(tmp_path: Path) -> None:
    filled(tmp_path, range(300), kind=FEW_LISTS)
    with PhotoIndex.open(tmp_path) as reader:
        before = reader.search(QUERIES, 5)
        with open_for_writing(tmp_path) as writer:
            writer.rebuild()
        assert reader.search(QUERIES, 5) == before
        filled(tmp_path, range(100, 400), kind=FEW_LISTS)
        names = {result.path.stem for results in reader.search(QUERIES, 1000) for result in results}
        assert names == {f"{number:04}" for number in range(100, 400)}
