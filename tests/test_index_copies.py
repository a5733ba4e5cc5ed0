"""What the index tells of the files of photos: which had the same bytes, which lie below a folder, what they are."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from photo_samples import SampleFile, bring_up_to_date, open_for_writing
from told import told

from index.errors import PhotoIndexError
from index.photo_index import PhotoIndex
from index.records import FileStamp

ROOT, OTHER = Path("/photos"), Path("/photos of others")
FILES = {
    b"a.jpg": SampleFile(b"one"),
    b"bad.jpg": SampleFile(b"bad"),
    b"sub/b.jpg": SampleFile(b"two", mtime_ns=7),
    b"sub/c.jpg": SampleFile(b"one"),
    b"sub2/d.jpg": SampleFile(b"three"),
}


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PhotoIndex]:
    with open_for_writing(tmp_path / "an index") as index:
        bring_up_to_date(index, ROOT, FILES)
        bring_up_to_date(index, OTHER, {b"e.jpg": SampleFile(b"one"), b"bad.jpg": SampleFile(b"bad")})
        yield index


def names(index: PhotoIndex, ids: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> list[str]:
    return sorted(file.path.name for file in index.photos.files(ids))


def test_photos_of_the_same_bytes_have_the_same_content(index: PhotoIndex) -> None:
    ids, first = index.copies.contents()
    assert ids.tolist() == index.photos.ids().tolist() == sorted(ids)
    assert all(number in ids for number in first)
    groups = {tuple(names(index, ids[first == number])) for number in first}
    assert groups == {("a.jpg", "c.jpg", "e.jpg"), ("b.jpg",), ("d.jpg",)}


def test_an_empty_index_has_no_contents(tmp_path: Path) -> None:
    with open_for_writing(tmp_path) as index:
        ids, first = index.copies.contents()
        assert (ids.tolist(), first.tolist(), index.photos.files(ids)) == ([], [], [])


@pytest.mark.parametrize(
    ("folder", "found"),
    [
        ("/photos", "abcd"),
        ("/photos/", "abcd"),
        ("/photos/sub", "bc"),
        ("/photos/sub/b.jpg", "b"),
        ("/photos of others", "e"),
        ("/", "abcde"),
    ],
)
def test_the_photos_below_a_folder(index: PhotoIndex, folder: str, found: str) -> None:
    ids = index.photos.ids_below(Path(folder))
    assert ids.tolist() == sorted(ids)
    assert names(index, ids) == [f"{letter}.jpg" for letter in found]


def test_a_folder_that_is_not_indexed_is_named_with_the_command_that_adds_it(index: PhotoIndex) -> None:
    with told(PhotoIndexError, match=r"/photos/su is not in .*`fc7 index /photos/su --index '.*/an index'`"):
        index.photos.ids_below(Path("/photos/su"))


def test_the_files_of_photos(index: PhotoIndex) -> None:
    [file] = index.photos.files(index.photos.ids_below(ROOT / "sub" / "b.jpg"))
    assert (file.path, file.stamp, file.width, file.height) == (ROOT / "sub" / "b.jpg", FileStamp(3, 7), 40, 30)
    assert index.photos.files(np.array([file.id, 999])) == [file]
