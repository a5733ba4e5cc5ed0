"""The commands with an index in Milvus: copied there, it answers as the one in the folder does."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from milvus_samples import lite

import fc7 as fc7_module
from index.milvus import push as push_module
from index.milvus.milvus_index import MilvusIndex
from index.milvus.push import push

Fc7 = Callable[..., Result]
MakePhoto = Callable[..., Path]
NASTY = ["it's.png", 'a "quote".png', "100%.png", "back\\slash.png", "new\nline.png", "under_score.png"]


@pytest.fixture
def photos(make_photo: MakePhoto, folder_of_no_text: Path, tmp_path: Path) -> Path:
    """A folder of photos, with copies, and with names that are hard to quote."""
    for number, name in enumerate(NASTY):
        make_photo(f"photos/{name}", ("red", "green", "blue")[number % 3], seed=number)
    shutil.copy(tmp_path / "photos" / NASTY[0], tmp_path / "photos" / "copy.png")
    shutil.move(folder_of_no_text, tmp_path / "photos")
    shutil.copy(tmp_path / "photos" / NASTY[1], tmp_path / "photos" / folder_of_no_text.name / "photo.png")
    return tmp_path / "photos"


def succeeded(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_copied_index_answers_as_the_one_in_the_folder(fc7: Fc7, photos: Path, tmp_path: Path) -> None:
    url = str(lite(tmp_path))
    succeeded(fc7("index", photos))
    assert succeeded(fc7("push", "--to", url)).startswith(
        "8 photos sent, 0 unchanged, 0 removed: there are 8 in milvus+"
    )
    assert succeeded(fc7("push", "--to", url)).startswith("0 photos sent, 8 unchanged, 0 removed")
    asked = photos / NASTY[0]
    for words in (
        [asked],
        [asked, "--format", "json"],
        [asked, "--label", "red", "--min-score", "0.5", "--format", "json"],
        ["--label", "green", "--format", "json"],
        [asked, "--within", photos / os.fsdecode(b"r\xff"), "-0"],
        [asked, "--average", photos / NASTY[1], "--not", photos / NASTY[2], "-k", "3", "--format", "csv"],
    ):
        here, there = fc7("search", *words), fc7("search", *words, "--index", url)
        assert succeeded(here) == succeeded(there)
        assert here.stdout.count("photos") > 0
    assert succeeded(fc7("search", asked, "--index", url, "--consistency", "strong", "-k", "1"))
    facts = json.loads(succeeded(fc7("info", url, "--format", "json")))
    assert (facts["photos"], facts["complete"], facts["folders"]) == (8, True, [str(photos)])
    assert "HNSW in Milvus, 16 values each" in succeeded(fc7("info", url))
    assert "nothing is wrong" in succeeded(fc7("check", "--index", url))


def test_what_is_forgotten_comes_back_with_the_next_push(fc7: Fc7, photos: Path, tmp_path: Path) -> None:
    url = str(lite(tmp_path))
    succeeded(fc7("index", photos))
    succeeded(fc7("push", "--to", url))
    gone = photos / os.fsdecode(b"r\xff")
    assert ": 1 forgotten" in succeeded(fc7("forget", gone, photos / NASTY[2], "--index", url))
    assert "6 photos, " in succeeded(fc7("check", "--index", url))
    refused = fc7("forget", photos / "none.png", "--index", url)
    assert (refused.exit_code, "is not in the index in milvus+" in refused.stderr) == (1, True)
    assert succeeded(fc7("push", "--to", url)).startswith("2 photos sent, 6 unchanged, 0 removed")
    shutil.rmtree(gone)
    succeeded(fc7("index", photos))
    assert succeeded(fc7("push", "--to", url)).startswith("0 photos sent, 7 unchanged, 1 removed")
    assert "nothing is wrong" in succeeded(fc7("check", "--index", url))


def test_labels_of_ones_own_are_copied(fc7: Fc7, photos: Path, tmp_path: Path) -> None:
    url = str(lite(tmp_path))
    succeeded(fc7("index", photos))
    succeeded(fc7("label", "add", 'It\'s "mine"', photos / NASTY[0]))
    succeeded(fc7("push", "--to", url))
    asked = ("search", "--label", 'it\'s "mine"', "--format", "json")
    assert str(photos / "copy.png") in succeeded(fc7(*asked))
    assert succeeded(fc7(*asked)) == succeeded(fc7(*asked, "--index", url))


def test_an_interrupted_push_goes_on_where_it_was(
    fc7: Fc7, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = lite(tmp_path)
    succeeded(fc7("index", photos))
    monkeypatch.setattr(push_module, "PAGE", 2)

    def interrupt(done: int, total: int) -> None:
        assert total == 8
        if done >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        push(tmp_path / "index", place, progress=interrupt)
    searched = fc7("search", photos / NASTY[0], "--index", place)
    assert "is not finished, so photos may be missing" in searched.stderr
    assert "copying is not finished" in succeeded(fc7("info", place))
    checked = fc7("check", "--index", place)
    assert (checked.exit_code, "copying it was interrupted" in checked.stdout) == (1, True)
    report = push(tmp_path / "index", place)
    assert (report.photos, report.sent, report.unchanged) == (8, 4, 4)
    with MilvusIndex.open(place) as index:
        assert index.problems() == []


def test_a_copy_of_another_index_is_not_overwritten(
    fc7: Fc7, photos: Path, tmp_path: Path, other_model: Path, make_photo: MakePhoto
) -> None:
    url = str(lite(tmp_path))
    succeeded(fc7("index", photos))
    succeeded(fc7("push", "--to", url))
    make_photo("others/red.png")
    succeeded(fc7("index", tmp_path / "others", "--index", tmp_path / "second"))
    succeeded(fc7("index", tmp_path / "others", "--index", tmp_path / "third", "-m", other_model))
    for other, told in (("second", "is the copy of another index"), ("third", "was made with another model, tiny")):
        refused = fc7("push", "--to", url, "--index", tmp_path / other)
        assert (refused.exit_code, told in refused.stderr, "--replace" in refused.stderr) == (1, True, True)
    assert "8 photos, " in succeeded(fc7("check", "--index", url))
    kind = fc7("push", "--to", url, "--kind", "Flat")
    assert (kind.exit_code, "is of the kind HNSW, not Flat" in kind.stderr) == (1, True)
    assert "--kind Flat --replace`" in kind.stderr
    replaced = succeeded(fc7("push", "--to", url, "--index", tmp_path / "third", "--replace", "--kind", "Flat"))
    assert replaced.startswith("1 photos sent, 0 unchanged, 0 removed")
    searched = fc7("search", photos / NASTY[0], "--index", url)
    assert (searched.exit_code, "was made with another model, other" in searched.stderr) == (1, True)
    assert "other_model" not in succeeded(fc7("search", tmp_path / "others/red.png", "--index", url, "-m", other_model))


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["index", "photos"], 2, "needs an index in a folder"),
        (["duplicates"], 2, "needs an index in a folder"),
        (["serve"], 2, "needs an index in a folder"),
        (["classify", "x.jpg"], 2, "needs an index in a folder"),
        (["label", "list"], 2, "needs an index in a folder"),
        (["moved", "a", "b"], 2, "needs an index in a folder"),
        (["check", "--repair"], 2, "copy it again with `fc7 push --to milvus+file:"),
        (["search", "--label", "red", "--recall", "0.9"], 1, "There is no index in "),
        (["forget", "x"], 1, "There is no index in "),
        (["push", "--to", "folder"], 2, "folder is no URL of an index in Milvus"),
        (["push", "--to", "milvus+http://server"], 2, "names no index in Milvus"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    fc7: Fc7, tmp_path: Path, words: list[str], status: int, told: str
) -> None:
    place = [] if words[0] == "push" else ["--index", str(lite(tmp_path))]
    result = fc7(*words, *place)
    assert (result.exit_code, told in result.stderr) == (status, True), result.output
    assert result.stderr.strip().splitlines()[-1].startswith("Error: ")


def test_python_opens_folders(tmp_path: Path) -> None:
    with pytest.raises(fc7_module.Error, match="is in Milvus, and open_index opens a folder"):
        fc7_module.open_index(str(lite(tmp_path)))


def test_consistency_is_for_milvus_alone(fc7: Fc7, photos: Path) -> None:
    succeeded(fc7("index", photos))
    refused = fc7("search", photos / NASTY[0], "--consistency", "strong")
    assert (refused.exit_code, "can be chosen for an index in Milvus" in refused.stderr) == (2, True)
