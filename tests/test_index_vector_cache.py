"""vectors.faiss is a cache: missing, damaged, stale or foreign, it is updated or rebuilt from the catalogue."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from photo_samples import SampleFile, bring_up_to_date, embed, open_for_writing

from index.catalog.catalog import Catalog
from index.photo_index import PhotoIndex
from index.records import SearchResult
from index.vectors.cache import VectorCache
from index.vectors.faiss_index import VectorIndex
from index.vectors.file import Stamp, read_header

ROOT = Path("/photos")
QUERIES = np.stack([embed(b"query %d" % number) for number in range(3)])


def files_numbered(*numbers: int) -> dict[bytes, SampleFile]:
    return {b"%03d.jpg" % number: SampleFile(b"content %d" % number) for number in numbers}


def fill(folder: Path, files: dict[bytes, SampleFile]) -> list[list[SearchResult]]:
    with open_for_writing(folder) as index:
        bring_up_to_date(index, ROOT, files, batch_size=50)
        return index.search(QUERIES, 1000)


def search(folder: Path) -> list[list[SearchResult]]:
    with PhotoIndex.open(folder) as index:
        return index.search(QUERIES, 1000)


def rows_read_by_catching_up(folder: Path) -> int:
    """Count the vectors that a reader takes from the catalogue rather than from the file."""
    with closing(Catalog.open(folder / "catalog.db")) as catalog:
        cache = VectorCache(folder / "vectors.faiss", catalog)
        with catalog.snapshot():
            cache.current.at(catalog.state())
        return cache.current.unsaved


def remove(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip_a_bit(path: Path) -> None:
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 4
    path.write_bytes(damaged)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def replace_by_another_catalogues(path: Path) -> None:
    vectors = VectorIndex(QUERIES.shape[1], stamp=Stamp("another", 1))
    vectors.add([1, 2], QUERIES[:2])
    vectors.save(path)


def replace_by_one_from_the_future(path: Path) -> None:
    vectors = VectorIndex.load(path)
    vectors.stamp = Stamp(vectors.stamp.catalog, vectors.stamp.generation + 1)
    vectors.remove([1])
    vectors.save(path)


def lose_a_vector(path: Path) -> None:
    vectors = VectorIndex.load(path)
    vectors.remove([1])
    vectors.save(path)


@pytest.mark.parametrize(
    "harm",
    [
        remove,
        truncate,
        flip_a_bit,
        empty,
        replace_by_another_catalogues,
        replace_by_one_from_the_future,
        lose_a_vector,
    ],
)
def test_harm_to_the_file_is_made_good(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    answers = fill(tmp_path, files_numbered(*range(30)))
    harm(tmp_path / "vectors.faiss")
    assert rows_read_by_catching_up(tmp_path) == 30
    assert search(tmp_path) == answers
    # The reader has saved the next one the work.
    assert rows_read_by_catching_up(tmp_path) == 0
    assert search(tmp_path) == answers


def test_catching_up_reads_only_what_changed(tmp_path: Path) -> None:
    fill(tmp_path, files_numbered(*range(50)))
    shutil.copy(tmp_path / "vectors.faiss", tmp_path / "old")
    changed = {**files_numbered(*range(51)), b"004.jpg": SampleFile(b"changed", 2)}
    answers = fill(tmp_path, changed)
    shutil.copy(tmp_path / "old", tmp_path / "vectors.faiss")
    # One changed, one new.
    assert rows_read_by_catching_up(tmp_path) == 2
    assert search(tmp_path) == answers


def test_a_reader_leaves_small_changes_to_the_writer(tmp_path: Path) -> None:
    fill(tmp_path, files_numbered(*range(50)))
    old = (tmp_path / "vectors.faiss").read_bytes()
    fill(tmp_path, files_numbered(*range(52)))
    (tmp_path / "vectors.faiss").write_bytes(old)
    assert len(search(tmp_path)[0]) == 52
    assert (tmp_path / "vectors.faiss").read_bytes() == old


def test_a_sync_that_changes_nothing_does_not_touch_the_file(tmp_path: Path) -> None:
    files = files_numbered(*range(5))
    fill(tmp_path, files)
    before = (tmp_path / "vectors.faiss").stat()
    moved = {b"moved/" + path: file for path, file in files.items()}
    for found in (files, moved):
        with open_for_writing(tmp_path) as index:
            bring_up_to_date(index, ROOT, found)
        assert (tmp_path / "vectors.faiss").stat().st_ino == before.st_ino


def test_the_writer_brings_a_lost_file_back_though_nothing_changed(tmp_path: Path) -> None:
    files = files_numbered(*range(5))
    answers = fill(tmp_path, files)
    (tmp_path / "vectors.faiss").unlink()
    with open_for_writing(tmp_path) as index:
        bring_up_to_date(index, ROOT, files)
    assert read_header(tmp_path / "vectors.faiss").stamp.generation == 1
    assert search(tmp_path) == answers


def test_rebuild_replaces_the_file(tmp_path: Path) -> None:
    answers = fill(tmp_path, files_numbered(*range(5)))
    lose_a_vector(tmp_path / "vectors.faiss")
    with open_for_writing(tmp_path) as index:
        index.rebuild()
    assert len(VectorIndex.load(tmp_path / "vectors.faiss")) == 5
    assert search(tmp_path) == answers


def test_vectors_are_the_same_added_or_rebuilt(tmp_path: Path) -> None:
    fill(tmp_path, files_numbered(*range(20)))
    [bits] = {tuple(VectorIndex.load(tmp_path / "vectors.faiss").search(QUERIES, 20)[0].ravel().tolist())}
    with open_for_writing(tmp_path) as index:
        index.rebuild()
    assert tuple(VectorIndex.load(tmp_path / "vectors.faiss").search(QUERIES, 20)[0].ravel().tolist()) == bits


def test_what_killed_writers_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / ".vectors.faiss.12345.tmp"
    left.write_bytes(b"half")
    fill(tmp_path, files_numbered(1))
    assert not left.exists()


WITHOUT_SEARCH = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from photo_samples import SampleFile, bring_up_to_date, open_for_writing
for count in (50, 50, 60):
    with open_for_writing(Path(sys.argv[1])) as index:
        files = {b"%03d.jpg" % number: SampleFile(b"content %d" % number) for number in range(count)}
        bring_up_to_date(index, Path("/photos"), files)
assert "faiss" not in sys.modules
"""


def test_a_small_index_is_written_without_loading_faiss(tmp_path: Path) -> None:
    tests = Path(__file__).parent
    command = [sys.executable, "-c", WITHOUT_SEARCH, str(tmp_path), str(tests), str(tests.parent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert rows_read_by_catching_up(tmp_path) == 0
    assert len(search(tmp_path)[0]) == 60


def test_a_large_file_is_not_written_for_a_small_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("index.vectors.cache.EXACT_NUMBERS", 100 * QUERIES.shape[1])
    path = tmp_path / "vectors.faiss"
    fill(tmp_path, files_numbered(*range(600)))
    before = path.stat().st_ino
    answers = fill(tmp_path, files_numbered(*range(1, 602)))
    assert path.stat().st_ino == before
    assert search(tmp_path) == answers
    assert len(answers[0]) == 601
    answers = fill(tmp_path, files_numbered(*range(1, 620)))
    assert path.stat().st_ino != before
    assert rows_read_by_catching_up(tmp_path) == 0
    assert search(tmp_path) == answers


def test_a_reader_leaves_what_the_writer_has_made_meanwhile(tmp_path: Path) -> None:
    fill(tmp_path, files_numbered(*range(60)))
    (tmp_path / "vectors.faiss").unlink()
    with closing(Catalog.open(tmp_path / "catalog.db")) as catalog:
        reader = VectorCache(tmp_path / "vectors.faiss", catalog)
        with catalog.snapshot():
            reader.current.at(catalog.state())
        with open_for_writing(tmp_path) as index:
            index.set_kind("IVF2,SQ8")
            bring_up_to_date(index, ROOT, files_numbered(*range(61)))
        made = (tmp_path / "vectors.faiss").read_bytes()
        reader.save_if_far_behind()
    assert (tmp_path / "vectors.faiss").read_bytes() == made
    assert reader.current.unsaved == 0
