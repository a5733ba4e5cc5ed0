"""Photos and folders leave the index, and the list of what was removed does not grow."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from photo_samples import SampleFile, bring_up_to_date, contents_of, embed, open_for_writing

from index.errors import IndexNotFoundError, PhotoIndexError
from index.index_writer import IndexWriter
from index.photo_index import PhotoIndex

QUERY = embed(b"query")[None]
FILES = {
    b"a.jpg": SampleFile(b"1"),
    b"sub/b.jpg": SampleFile(b"2"),
    b"sub/bad.jpg": SampleFile(b"bad"),
    b"sub2/c.jpg": SampleFile(b"3"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An index of two roots that lie in one folder, and one elsewhere."""
    with open_for_writing(tmp_path / "index") as index:
        for root in ("/photos/one", "/photos/two", "/more"):
            bring_up_to_date(index, Path(root), FILES)
    return tmp_path / "index"


def left(folder: Path) -> list[str]:
    with PhotoIndex.open(folder) as index:
        found = sorted(str(path) for path in contents_of(index))
        assert len(index.search(QUERY, 99)[0]) == sum("bad" not in path for path in found)
        return found


def removed(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "catalog.db")) as connection:
        [(count,)] = connection.execute("SELECT count(*) FROM removed")
        return int(count)


@pytest.mark.parametrize(
    ("path", "count", "roots"),
    [
        ("/more/a.jpg", 1, 3),
        ("/more/sub/bad.jpg", 1, 3),
        ("/more/sub", 2, 3),
        ("/more", 4, 2),
        ("/photos/two", 4, 2),
        ("/photos", 8, 1),
        ("/", 12, 0),
    ],
)
def test_what_lies_at_or_below_a_path_is_forgotten(folder: Path, path: str, count: int, roots: int) -> None:
    before = left(folder)
    with IndexWriter.open_to_edit(folder) as index:
        assert index.forget([Path(path)]) == [count]
        assert len(index.roots()) == roots
    assert left(folder) == [name for name in before if name != path and not name.startswith(path.rstrip("/") + "/")]


def test_nothing_is_forgotten_if_a_path_is_unknown(folder: Path) -> None:
    before = left(folder)
    with IndexWriter.open_to_edit(folder) as index:
        for unknown in ("/more/su", "/mor", "/more/a.jpg/x", "/more2"):
            with pytest.raises(PhotoIndexError, match=f"{unknown} is not in the index"):
                index.forget([Path("/more/a.jpg"), Path(unknown)])
    assert left(folder) == before


def test_an_index_is_needed(tmp_path: Path) -> None:
    with pytest.raises(IndexNotFoundError):
        IndexWriter.open_to_edit(tmp_path / "none")


def test_removals_are_listed_only_until_the_vectors_are_up_to_date(folder: Path) -> None:
    with PhotoIndex.open(folder) as reader, open_for_writing(folder) as index:
        assert len(reader.search(QUERY, 99)[0]) == 9
        bring_up_to_date(index, Path("/more"), {})
        assert removed(folder) == 0
        # A reader of before can no longer read what was removed, and must find out all the same.
        assert len(reader.search(QUERY, 99)[0]) == 6


def test_vectors_put_back_from_a_copy_are_noticed(folder: Path) -> None:
    copy = (folder / "vectors.faiss").read_bytes()
    with IndexWriter.open_to_edit(folder) as index:
        index.forget([Path("/more/a.jpg"), Path("/photos/one")])
    (folder / "vectors.faiss").write_bytes(copy)
    assert len(left(folder)) == 7
