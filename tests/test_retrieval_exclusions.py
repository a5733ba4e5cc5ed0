"""What a search of folders leaves out: by the list, by ignore files, by patterns; and git as an oracle of the rules."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from click.testing import Result
from hypothesis import given, settings
from hypothesis import strategies as st

from index.errors import OptionError
from index.photo_index import PhotoIndex
from retrieval.photos.exclusions import LEFT_OUT, check_patterns, in_library, is_listed
from retrieval.photos.scan import scan_folder

Fc7 = Callable[..., Result]


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def found(folder: Path, *patterns: str, root: Path | None = None) -> list[str]:
    return [os.fsdecode(path) for path in scan_folder(folder, root=root, patterns=patterns).photos]


@pytest.mark.parametrize("name", [*LEFT_OUT, ".Trash-1000", ".thumbnails", ".zfs", ".@__thumb", ".stversions"])
def test_bins_snapshots_thumbnails_and_backups_are_left_out_at_any_depth(tmp_path: Path, name: str) -> None:
    name = name.replace("*", "2024")
    touch(tmp_path, f"{name}/a.jpg", f"x/{name}/y/b.jpg", "x/c.jpg")
    scan = scan_folder(tmp_path)
    assert list(scan.photos) == [b"x/c.jpg"]
    assert (scan.unlisted, scan.empty) == ({}, ())


@pytest.mark.parametrize("name", ["recycled", "Recycle", "snapshot", "Previews", "lrdata", "Backup", "thumbnails"])
def test_ordinary_words_are_no_bins(tmp_path: Path, name: str) -> None:
    touch(tmp_path, f"{name}/a.jpg")
    assert found(tmp_path) == [f"{name}/a.jpg"]


def test_of_a_photo_library_only_the_originals_are_photos(tmp_path: Path) -> None:
    library = "Pictures/Photos Library.photoslibrary"
    touch(tmp_path, f"{library}/originals/A/A1.heic", f"{library}/resources/derivatives/A/A1_c.jpeg")
    touch(tmp_path, "Old.aplibrary/Masters/2011/b.jpg", "Old.aplibrary/Thumbnails/b.jpg", "resources/d.jpg")
    expected = ["Old.aplibrary/Masters/2011/b.jpg", f"{library}/originals/A/A1.heic", "resources/d.jpg"]
    assert found(tmp_path) == expected
    assert found(tmp_path / library) == ["originals/A/A1.heic"], "also where it is named itself"
    assert in_library(b"/home/me/X.photoslibrary/originals/a.jpg")
    assert not in_library(b"/home/me/originals/a.photoslibrary")


def test_paths_through_a_bin_are_known() -> None:
    assert is_listed(b"/volume1/#recycle/a.jpg")
    assert not is_listed(b"/volume1/photo/a.jpg")


def test_ignore_files_have_the_rules_of_git(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.png", "keep.png", "export/c.jpg", "x/export/d.jpg", "x/y/e.png", "x/y/f.jpg")
    (tmp_path / ".fc7ignore").write_text("# no pictures of the screen\n*.png\n!keep.png\n/export/\n")
    assert found(tmp_path) == ["a.jpg", "keep.png", "x/export/d.jpg", "x/y/f.jpg"]
    (tmp_path / "x" / ".fc7ignore").write_text("!*.png\r\nf.jpg\r\n")
    assert found(tmp_path) == ["a.jpg", "keep.png", "x/export/d.jpg", "x/y/e.png"]
    assert found(tmp_path, "*.png", "d.jpg") == ["a.jpg"], "patterns that are given come before files"


def test_a_part_of_a_root_has_the_rules_of_the_whole(tmp_path: Path) -> None:
    touch(tmp_path, "a/b/1.jpg", "a/b/2.jpg", "a/b/c/3.jpg", "a/b/c/4.jpg")
    (tmp_path / ".fc7ignore").write_text("/a/b/1.jpg\n")
    (tmp_path / "a" / ".fc7ignore").write_text("b/c/3.jpg\n")
    assert found(tmp_path) == ["a/b/2.jpg", "a/b/c/4.jpg"]
    assert found(tmp_path / "a" / "b", root=tmp_path) == ["2.jpg", "c/4.jpg"]
    assert found(tmp_path / "a" / "b", "/a/b/c/", root=tmp_path) == ["2.jpg"]
    assert found(tmp_path / "a", "b/", root=tmp_path) == []
    assert found(tmp_path / "a" / "b", "b/", root=tmp_path) == [], "also where a folder above it is left out"


def test_a_listed_folder_is_brought_back_by_its_name_alone(tmp_path: Path) -> None:
    touch(tmp_path, "FileHistory/a.jpg", "x/FileHistory/b.jpg", "._c.jpg", "c.jpg")
    (tmp_path / ".fc7ignore").write_text("*\n!*/\n!*.jpg\n")
    assert found(tmp_path) == ["c.jpg"]
    (tmp_path / "x" / ".fc7ignore").write_text("!FileHistory/\n")
    assert found(tmp_path) == ["c.jpg", "x/FileHistory/b.jpg"]
    assert found(tmp_path, "!FileHistory") == ["FileHistory/a.jpg", "c.jpg", "x/FileHistory/b.jpg"]


@pytest.mark.parametrize("content", [b"a\n!\n", None])
def test_a_folder_whose_rules_cannot_be_read_is_not_searched(tmp_path: Path, content: bytes | None) -> None:
    touch(tmp_path, "a.jpg", "x/b.jpg", "x/y/c.jpg")
    if content is None:
        (tmp_path / "x" / ".fc7ignore").mkdir()
    else:
        (tmp_path / "x" / ".fc7ignore").write_bytes(content)
    scan = scan_folder(tmp_path)
    assert list(scan.photos) == [b"a.jpg"]
    [(folder, reason)] = scan.unlisted.items()
    assert folder == b"x"
    assert ".fc7ignore" in reason
    scan = scan_folder(tmp_path / "x" / "y", root=tmp_path)
    assert (scan.photos, list(scan.unlisted)) == ({}, [b""])


def test_rules_and_names_that_are_no_text(tmp_path: Path) -> None:
    try:
        (tmp_path / os.fsdecode(b"\xff.jpg")).touch()
    except OSError:
        pytest.skip("this file system takes text only")
    (tmp_path / "a.jpg").touch()
    (tmp_path / ".fc7ignore").write_bytes(b"\xff.jpg\n")
    assert found(tmp_path) == ["a.jpg"]


@pytest.mark.parametrize("pattern", ["!", "", " ", "/", "a\nb", "# all", "\\"])
def test_patterns_that_mean_nothing_are_refused(pattern: str) -> None:
    with pytest.raises(OptionError):
        check_patterns([pattern])


names = st.sampled_from(["a", "b", "c.jpg", "d.jpg"])
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
rules = st.lists(
    st.tuples(
        st.sampled_from(["", "!"]), st.sampled_from(["", "/", "**/", "*/"]), paths, st.sampled_from(["", "/"])
    ).map("".join)
    | st.sampled_from(["*.jpg", "!*.jpg", "*", "!*/", "[ab]", "?.jpg", "a/**", "!a/**", "a/*", "**/b/", "a/**/c.jpg"]),
    max_size=4,
)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
@pytest.mark.slow
@settings(max_examples=100)
@given(rules, rules)
def test_the_rules_are_those_of_git(outer: list[str], inner: list[str]) -> None:
    with TemporaryDirectory() as temporary:
        root = Path(temporary)
        for parts in ("a", "b", "a/a", "a/b", "b/a", "b/b", ""):
            touch(root, *(f"{parts}/{name}".strip("/") for name in ("c.jpg", "d.jpg")))
        for place, lines in ((root, outer), (root / "a", inner)):
            for name in (".gitignore", ".fc7ignore"):
                (place / name).write_text("".join(f"{line}\n" for line in lines))
        subprocess.run(["git", "init", "-q", root], check=True)
        listed = subprocess.run(
            ["git", "ls-files", "-o", "--exclude-standard", "*.jpg"],
            cwd=root,
            check=True,
            capture_output=True,
            text=True,
        )
        expected = sorted(listed.stdout.split())
        assert found(root) == expected
        # A part that is searched alone has what it has in the whole.
        alone = found(root / "a" / "b", root=root)
        assert alone == [path.removeprefix("a/b/") for path in expected if path.startswith("a/b/")]


MakePhoto = Callable[..., Path]


def indexed(fc7: Fc7, tmp_path: Path) -> list[str]:
    with PhotoIndex.open(tmp_path / "index") as index:
        photos = tmp_path / "photos"
        return sorted(
            path.relative_to(photos).as_posix() for batch in index.photos.embeddings() for path in batch.paths
        )


@pytest.fixture
def photos(make_photo: MakePhoto, tmp_path: Path) -> Path:
    for number, name in enumerate(("a.png", "b.png", "x/c.png", "x/d.png")):
        make_photo(f"photos/{name}", seed=number)
    return tmp_path / "photos"


def test_patterns_are_remembered_added_to_and_forgotten(fc7: Fc7, photos: Path, tmp_path: Path) -> None:
    assert fc7("index", photos, "--exclude", "x/").exit_code == 0
    assert indexed(fc7, tmp_path) == ["a.png", "b.png"]
    assert fc7("index").exit_code == 0
    assert fc7("index", photos / "x").exit_code == 0
    assert indexed(fc7, tmp_path) == ["a.png", "b.png"]
    assert fc7("index", "--exclude", "b.*").exit_code == 0
    assert indexed(fc7, tmp_path) == ["a.png"]
    assert "x/" in fc7("info", tmp_path / "index").stdout
    assert fc7("index", "--rebuild").exit_code == 0
    assert indexed(fc7, tmp_path) == ["a.png"]
    done = fc7("index", "--no-exclude", "--exclude", "a.*")
    assert done.exit_code == 0
    assert indexed(fc7, tmp_path) == ["b.png", "x/c.png", "x/d.png"]
    assert fc7("index", "--rebuild", "--no-exclude").exit_code == 0
    assert indexed(fc7, tmp_path) == ["a.png", "b.png", "x/c.png", "x/d.png"]


def test_all_can_be_left_out_of_a_folder(fc7: Fc7, photos: Path, tmp_path: Path) -> None:
    assert fc7("index", photos).exit_code == 0
    done = fc7("index", "--exclude", "*.png")
    assert (done.exit_code, done.stderr) == (0, "")
    assert indexed(fc7, tmp_path) == []
    assert fc7("index", "--rebuild").exit_code == 0


def test_a_bin_that_was_indexed_before_leaves_the_index(fc7: Fc7, photos: Path, tmp_path: Path) -> None:
    fc7("index", photos)
    (photos / "x").rename(photos / "#recycle")
    assert "2  removed" in fc7("index").stdout
    assert indexed(fc7, tmp_path) == ["a.png", "b.png"]


def test_a_pattern_that_is_none_is_wrong_usage(fc7: Fc7, photos: Path, tmp_path: Path) -> None:
    done = fc7("index", photos, "--exclude", "!")
    assert done.exit_code == 2
    assert "'!'" in done.stderr
    assert not (tmp_path / "index").exists()
