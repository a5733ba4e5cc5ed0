"""A folder that was renamed is renamed in the index too, which is then as if it had been rebuilt."""

from pathlib import Path

import pytest
from photo_samples import SampleFile, bring_up_to_date, contents_of, embed, open_for_writing

from index.errors import PhotoIndexError
from index.photo_index import PhotoIndex

QUERY = embed(b"query")[None]
ONE = {b"a.jpg": SampleFile(b"1"), b"sub/b.jpg": SampleFile(b"2"), b"sub/bad.jpg": SampleFile(b"bad")}
TWO = {b"c.jpg": SampleFile(b"3"), b"sub/d.jpg": SampleFile(b"4")}
Roots = dict[str, dict[bytes, SampleFile]]


OTHER = {b"a.jpg": SampleFile(b"other")}


def below(folder: bytes, files: dict[bytes, SampleFile]) -> dict[bytes, SampleFile]:
    return {folder + b"/" + path: file for path, file in files.items()}


A = {b"a.jpg": ONE[b"a.jpg"]}
SUB = {b"b.jpg": ONE[b"sub/b.jpg"], b"bad.jpg": ONE[b"sub/bad.jpg"]}


@pytest.mark.parametrize(
    ("before", "old", "new", "after", "counts"),
    [
        ({"/a": ONE, "/c": TWO}, "/a", "/b", {"/b": ONE, "/c": TWO}, (3, 0)),
        # A folder that two roots lie in.
        ({"/m/a": ONE, "/m/c": TWO}, "/m", "/n", {"/n": below(b"a", ONE) | below(b"c", TWO)}, (5, 0)),
        # One inside a root, to elsewhere and to another place in it.
        ({"/a": ONE, "/c": TWO}, "/a/sub", "/x", {"/a": A, "/c": TWO, "/x": SUB}, (2, 0)),
        ({"/a": ONE}, "/a/sub", "/a/old/sub", {"/a": A | below(b"old/sub", SUB)}, (2, 0)),
        # Into another root, and where all is known already.
        ({"/a": ONE, "/c": TWO}, "/a", "/c/new", {"/c": TWO | below(b"new", ONE)}, (3, 0)),
        ({"/a": ONE, "/b": ONE}, "/a", "/b", {"/b": ONE}, (0, 3)),
        ({"/a": ONE, "/b": OTHER}, "/a", "/b", {"/b": ONE | OTHER}, (2, 1)),
        # Names that begin alike are other folders.
        ({"/a": ONE, "/ab": TWO}, "/a", "/b", {"/b": ONE, "/ab": TWO}, (3, 0)),
        ({"/\udcff": ONE}, "/\udcff", "/%_\udcfe", {"/%_\udcfe": ONE}, (3, 0)),
    ],
)
def test_it_is_as_if_it_had_been_indexed_there(
    tmp_path: Path, before: Roots, old: str, new: str, after: Roots, counts: tuple[int, int]
) -> None:
    with open_for_writing(tmp_path / "renamed") as renamed, open_for_writing(tmp_path / "fresh") as fresh:
        for root, files in before.items():
            bring_up_to_date(renamed, Path(root), files)
        renamed.search(QUERY, 1)  # vectors in memory follow
        for root, files in after.items():
            bring_up_to_date(fresh, Path(root), files)
        assert renamed.rename(Path(old), Path(new)) == counts
        assert contents_of(renamed) == contents_of(fresh)
        assert renamed.search(QUERY, 99) == fresh.search(QUERY, 99)
        assert set(renamed.roots()) == set(fresh.roots())
        assert renamed.problems() == []
    with PhotoIndex.open(tmp_path / "renamed") as opened:
        assert len(opened.search(QUERY, 99)[0]) == opened.summary().photos


def test_what_is_not_known_cannot_be_renamed(tmp_path: Path) -> None:
    with open_for_writing(tmp_path) as index:
        bring_up_to_date(index, Path("/a"), ONE)
        with pytest.raises(PhotoIndexError, match="/b is not in the index"):
            index.rename(Path("/b"), Path("/c"))
        assert index.roots() == [Path("/a")]


def test_photos_are_found_elsewhere_by_their_content(tmp_path: Path) -> None:
    with open_for_writing(tmp_path) as index:
        bring_up_to_date(index, Path("/a"), ONE)
        bring_up_to_date(index, Path("/c"), TWO)
        assert index.photos.found_elsewhere(Path("/a"), [Path("/c")]).found == 0
        bring_up_to_date(index, Path("/c"), TWO | {b"x/" + path: file for path, file in ONE.items()})
        found = index.photos.found_elsewhere(Path("/a"), [Path("/c")])
        assert (found.photos, found.found, found.now) == (2, 2, Path("/c/x"))
        # Under other names they are there, but the folder is not.
        bring_up_to_date(index, Path("/c"), {b"y.jpg": SampleFile(b"1")})
        found = index.photos.found_elsewhere(Path("/a"), [Path("/c")])
        assert (found.photos, found.found, found.now) == (2, 1, None)
        assert index.photos.found_elsewhere(Path("/a"), []).found == 0
