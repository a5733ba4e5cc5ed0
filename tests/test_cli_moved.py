"""Folders that were moved: said by `index` and `check`, told by `moved`; and results whose files are not there."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

import fc7 as python
from index.photo_index import PhotoIndex

MakePhoto = Callable[..., Path]
Fc7 = Callable[..., Result]


@pytest.fixture
def old(make_photo: MakePhoto, tmp_path: Path, fc7: Fc7) -> Path:
    """An indexed folder of four photos, which was then renamed to `new`."""
    for number in range(4):
        make_photo(f"old/{'ab'[number % 2]}/{number}.png", "red", seed=number)
    assert fc7("index", tmp_path / "old").exit_code == 0
    (tmp_path / "old").rename(tmp_path / "new")
    return tmp_path / "old"


def paths_of(done: Result) -> list[str]:
    [record] = json.loads(done.stdout)
    return [found["path"] for found in record["results"]]


def test_a_folder_that_was_moved_is_said_and_renamed(fc7: Fc7, old: Path, tmp_path: Path) -> None:
    new, index = tmp_path / "new", tmp_path / "index"
    done = fc7("index", new)
    said = (
        f"{old} is not there any more, and its photos are in {new} too. If it was moved, "
        f"`fc7 moved {old} {new} --index {index}` says so to the index; "
        f"if it is gone, `fc7 forget {old} --index {index}`"
    )
    assert done.stdout.split() == [str(new), "4", "moved"]
    assert done.stderr == said + "\n"
    checked = fc7("check", "--sample", 0)
    assert checked.exit_code == 0
    assert checked.stdout.splitlines() == [said, "8 photos, 0 of them embedded again: nothing is wrong"]
    done = fc7("moved", old, new)
    assert done.stdout == f"{old} is now {new}: 0 moved, 4 were known there\n"
    done = fc7("index")
    assert (done.stdout.split(), done.stderr) == ([str(new), "4", "unchanged"], "")
    assert len(paths_of(fc7("search", new / "a/0.png", "--format", "json"))) == 4


def test_no_photo_is_read(fc7: Fc7, old: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    for photo in new.rglob("*.png"):
        photo.write_bytes(b"")
    assert fc7("moved", old, new).stdout == f"{old} is now {new}: 4 moved\n"
    with PhotoIndex.open(tmp_path / "index") as index:
        assert index.roots() == [new]
        assert index.summary().photos == 4


def test_what_is_no_move_is_refused(fc7: Fc7, old: Path, tmp_path: Path, make_photo: MakePhoto) -> None:
    new = tmp_path / "new"
    make_photo("other/5.png", seed=5)
    for arguments, reason in {
        (old, tmp_path / "nowhere"): "nowhere is not a folder; name the place where the folder is now",
        (tmp_path / "never", new): "never is no folder in the index in",
        (old, tmp_path / "other"): "other has none of the photos that were in",
        (old, tmp_path): "lie one inside the other",
        (old / "a/0.png", new): "0.png is no folder in the index in",
    }.items():
        done = fc7("moved", *arguments)
        assert done.exit_code == 1
        assert reason in " ".join(done.stderr.split())
    new.rename(old)
    (tmp_path / "new").mkdir()
    done = fc7("moved", old, new)
    assert (done.exit_code, f"{old} is still there" in done.stderr) == (1, True)
    assert fc7("index").stdout.split() == [str(old), "4", "unchanged"]


def test_a_drive_that_is_not_plugged_in_is_not_said_to_have_moved(fc7: Fc7, old: Path, make_photo: MakePhoto) -> None:
    other = make_photo("other/5.png", seed=5).parent
    assert fc7("index", other).stderr == ""
    said = fc7("check", "--sample", 0).stdout
    assert f"{old} is not there now; its 4 photos stay indexed, until `fc7 forget {old}" in said


def test_photos_that_are_gone_are_counted_by_a_check(fc7: Fc7, old: Path, tmp_path: Path) -> None:
    (tmp_path / "new").rename(old)
    (old / "a/0.png").unlink()
    done = fc7("check", "--sample", 0)
    assert (done.exit_code, done.stdout.splitlines()[0]) == (
        0,
        f"1 photo of {old} is not there any more; `fc7 index {old} --index {tmp_path / 'index'}` removes it",
    )


def test_results_that_are_not_there_are_marked_and_last(fc7: Fc7, old: Path, tmp_path: Path, tiny_model: Path) -> None:
    new = tmp_path / "new"
    fc7("index", new)
    query = new / "a/0.png"
    [record] = json.loads(fc7("search", query, "--format", "json").stdout)
    paths, missing = zip(*((Path(found["path"]), found.get("missing")) for found in record["results"]), strict=True)
    assert missing == (None,) * 4 + (True,) * 4
    assert [path.parts[-3] for path in paths] == ["new"] * 4 + ["old"] * 4
    scores = [found["score"] for found in record["results"]]
    assert scores[:4] == scores[4:] == sorted(scores[:4], reverse=True)
    table = fc7("search", query, "--all-copies").stdout.splitlines()
    assert ["  (not there)" in line for line in table[1:]] == [False] * 4 + [True] * 4
    # Where copies are one line, it is that of a file that is there.
    assert all(str(new) in line for line in fc7("search", query).stdout.splitlines()[1:])
    labelled = fc7("search", "--label", "red", "--all-copies").stdout.splitlines()
    assert ["  (not there)" in line for line in labelled[1:]] == [False] * 4 + [True] * 4
    with python.open_index(tmp_path / "index", model=tiny_model) as index:
        found = index.search(query)
        assert [result.missing for result in found] == [False] * 4 + [True] * 4
        assert found[-1].to_dict().keys() == {"path", "score", "copy_of", "is_query", "missing"}
