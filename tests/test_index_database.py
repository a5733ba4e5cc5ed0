"""A full disk, a folder that cannot be written, a file that is in use: clear errors, and nothing is lost."""

import resource
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import faiss
import numpy as np
import pytest
from permissions import as_an_ordinary_user
from photo_samples import SampleFile, bring_up_to_date, contents_of, embed, new_photo, open_for_writing
from told import told

from index.catalog.catalog import Catalog
from index.catalog.changes import change_photos
from index.catalog.database import open_database, storage_errors
from index.catalog.rows import PhotoRow
from index.errors import IndexLockedError, IndexStorageError, UserError
from index.photo_index import PhotoIndex

ROOT = Path("/photos")
FILES = {b"%02d.jpg" % name: SampleFile(b"content %d" % name) for name in range(20)}

assert faiss.__version__, "loaded by now: as another user the tests may not be able to"


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """Let no file grow beyond `size` bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o555)
    try:
        with as_an_ordinary_user():
            yield
    finally:
        folder.chmod(0o755)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of twenty photos that any user can reach, which is not so of pytest's."""
    with tempfile.TemporaryDirectory(prefix="fc7-") as home:
        Path(home).chmod(0o755)
        with open_for_writing(Path(home) / "index") as index:
            bring_up_to_date(index, ROOT, FILES)
        yield Path(home) / "index"


def row(name: int) -> PhotoRow:
    path = b"new %d.jpg" % name
    return PhotoRow.from_photo(new_photo(path, SampleFile(b"new content %d" % name)), path)


def test_a_full_disk_undoes_the_batch_and_nothing_more(folder: Path) -> None:
    with closing(open_database(folder / "catalog.db", writable=True)) as connection:
        catalog = Catalog(folder / "catalog.db", connection)
        [(pages,)] = catalog.rows("PRAGMA page_count")
        catalog.rows(f"PRAGMA max_page_count = {pages + 2}")
        before = catalog.state()
        with told(IndexStorageError, match="no space left") as caught:
            change_photos(catalog, 1, put=[row(name) for name in range(500)])
        assert str(folder) in str(caught.value)
        assert catalog.state() == before
        catalog.rows(f"PRAGMA max_page_count = {pages + 1000}")
        change_photos(catalog, 1, put=[row(name) for name in range(500)])
    with PhotoIndex.open(folder) as index:
        assert index.summary().photos == 520


def test_a_catalogue_that_cannot_grow_is_told_and_kept(folder: Path) -> None:
    more = FILES | {b"%04d.jpg" % name: SampleFile(b"more %d" % name) for name in range(400)}
    with open_for_writing(folder) as index:
        with files_limited_to(16384), told(IndexStorageError, match=r"the index in .*/index") as caught:
            bring_up_to_date(index, ROOT, more, batch_size=100)
        assert "what was stored before is kept" in str(caught.value)
    with open_for_writing(folder) as index:
        assert set(FILES) <= {path.name.encode() for path in contents_of(index)}
        counts, _ = bring_up_to_date(index, ROOT, more, batch_size=100)
        assert counts is not None
        assert counts.new + counts.unchanged == 420


def test_vectors_that_cannot_be_written_are_told_and_made_later(folder: Path) -> None:
    before = (folder / "vectors.faiss").read_bytes()
    with open_for_writing(folder) as index:
        with files_limited_to(100), told(IndexStorageError, match="no space left"):
            index.rebuild()
        assert (folder / "vectors.faiss").read_bytes() == before
        assert sorted(path.name for path in folder.glob("*vectors*")) == ["vectors.faiss"]
        assert len(index.search(embed(b"content 3")[None], 99)[0]) == 20
        index.rebuild()


def test_a_reader_that_cannot_write_answers_from_memory(folder: Path) -> None:
    with PhotoIndex.open(folder) as index:
        expected = index.search(embed(b"content 3")[None], 99)
    (folder / "vectors.faiss").unlink()
    with read_only(folder), PhotoIndex.open(folder, fingerprint="abc") as index:
        assert index.search(embed(b"content 3")[None], 99) == expected
        assert index.search(embed(b"content 3")[None], 99) == expected
        assert index.summary().photos == 20
    assert sorted(path.name for path in folder.iterdir()) == ["catalog.db", "catalog.lock"]


def test_a_writer_that_cannot_write_says_so(folder: Path) -> None:
    with read_only(folder), told(IndexStorageError, match=r"index in .*/index cannot be .*permissions"):
        open_for_writing(folder)


def test_a_place_that_cannot_hold_a_folder_is_told(folder: Path) -> None:
    (folder.parent / "a file").touch()
    for place in (folder.parent / "a file", folder.parent / "a file" / "index"):
        with told(IndexStorageError, match="--index"):
            open_for_writing(place)


def test_a_catalogue_that_may_not_be_read_is_told(folder: Path) -> None:
    (folder / "catalog.db").chmod(0)
    with as_an_ordinary_user(), told(IndexStorageError, match="check the permissions"):
        PhotoIndex.open(folder)


def test_what_a_killed_writer_left_is_not_read_without_being_put_in_order(folder: Path) -> None:
    copy = folder.with_name("copy")
    with open_for_writing(folder) as index:
        bring_up_to_date(index, ROOT, FILES | {b"new.jpg": SampleFile(b"new")}, stop_after=0)
        sync = index.begin_sync(ROOT, {b"new.jpg": SampleFile(b"new").stamp})
        sync.add([new_photo(b"new.jpg", SampleFile(b"new"))])
        # The log holds what the catalogue lacks.
        copy.mkdir()
        for name in ("catalog.db", "catalog.db-wal"):
            shutil.copy(folder / name, copy)
    with read_only(copy), told(IndexStorageError, match="cannot be read or written"):
        PhotoIndex.open(copy)
    with PhotoIndex.open(copy) as index:
        assert index.summary().photos == 21


def test_readers_leave_no_trace(folder: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    with PhotoIndex.open(folder) as index:
        index.search(np.stack([embed(b"content 3")]), 3)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_database_in_use_is_told() -> None:
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    with told(IndexLockedError, match="in use by another program"), storage_errors(Path("/index")):
        raise error


def test_a_reader_that_went_away_during_a_warning_is_no_fault_of_the_index(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(_: str) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("index.vectors.current.EXACT_NUMBERS", 1)
    (folder / "vectors.faiss").unlink()
    with PhotoIndex.open(folder, warn=gone) as index, pytest.raises(BrokenPipeError):
        index.search(embed(b"content 3")[None], 3)


def test_a_mistake_of_ours_keeps_its_traceback(folder: Path) -> None:
    with closing(Catalog.open(folder / "catalog.db")) as catalog, pytest.raises(sqlite3.OperationalError) as caught:
        catalog.rows("SELECT nonsense FROM photos")
    assert not isinstance(caught.value, UserError)


def test_a_full_disk_does_not_keep_anyone_from_reading(folder: Path) -> None:
    with PhotoIndex.open(folder) as index:
        expected = index.search(embed(b"content 3")[None], 99)
    with files_limited_to(100), PhotoIndex.open(folder) as index:
        assert index.search(embed(b"content 3")[None], 99) == expected
    with open_for_writing(folder) as index:
        bring_up_to_date(index, ROOT, FILES | {b"new.jpg": SampleFile(b"new")})
        assert index.summary().photos == 21


def test_what_a_writer_left_behind_is_not_overlooked_on_a_full_disk(folder: Path) -> None:
    """The file alone would be an older state."""
    (folder / "catalog.db-wal").write_bytes(bytes(64))
    with files_limited_to(100), told(IndexStorageError, match="full"), PhotoIndex.open(folder):
        pass
