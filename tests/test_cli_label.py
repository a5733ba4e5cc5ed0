"""Labels of the user's own: taught, found, named, suggested, removed, and kept in step with the index."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from training_samples import write_colours

from index.catalog.own_labels import OwnLabels
from index.errors import IndexStorageError
from index.photo_index import PhotoIndex

Fc7 = Callable[..., Result]


@pytest.fixture
def indexed(fc7: Fc7, tmp_path: Path) -> Path:
    """Thirty photos, of three colours, that are indexed."""
    photos = write_colours(tmp_path / "photos", each=10)
    assert fc7("index", photos).exit_code == 0
    return photos


def found(done: Result) -> list[str]:
    assert done.exit_code == 0, done.output
    return [Path(result["path"]).name for result in json.loads(done.stdout)[0]["results"]]


def test_a_label_is_taught_found_and_removed(fc7: Fc7, indexed: Path) -> None:
    examples = [indexed / f"red{number:03}.png" for number in range(4)]
    added = fc7("label", "add", "My  Roses", *examples)
    assert added.exit_code == 0, added.output
    assert added.stdout.endswith("  My Roses  (taught by 4 photos of it)\n")
    names = found(fc7("search", "--label", "my roses", "-k", 10, "--format", "json"))
    assert len(names) == 10
    assert all(name.startswith("red") for name in names)
    near = found(fc7("search", indexed / "green000.png", "--label", "my roses", "-k", 30, "--format", "json"))
    assert near
    assert all(name.startswith("red") for name in near), "with a photo only those that have the label"
    both = found(fc7("search", "--label", "my roses", "--label", "green", "-k", 20, "--format", "json"))
    assert {name[:3] for name in both} == {"red", "gre"}
    [label] = json.loads(fc7("label", "list", "--format", "json").stdout)
    assert (label["label"], label["examples"], label["counterexamples"]) == ("My Roses", 4, 0)
    assert label["photos"] >= 10
    assert fc7("label", "remove", "MY ROSES").exit_code == 0
    assert "no class called my roses" in fc7("search", "--label", "my roses").stderr
    assert "No labels of your own yet" in fc7("label", "list").stderr


def test_photos_get_it_as_they_are_indexed_and_lose_it_as_they_change(fc7: Fc7, indexed: Path, tmp_path: Path) -> None:
    fc7("label", "add", "roses", *(indexed / f"red{number:03}.png" for number in range(5)))
    more = write_colours(tmp_path / "more", each=2, seed=7)
    copy = more / "copy.png"
    copy.write_bytes((indexed / "red000.png").read_bytes())
    assert fc7("index", more).exit_code == 0
    inside = ("search", "--label", "roses", "--min-score", 0.5, "--within", more, "--format", "json")
    assert set(found(fc7(*inside))) == {"red000.png", "red001.png", "copy.png"}
    (more / "red000.png").write_bytes((more / "blue000.png").read_bytes())
    copy.unlink()
    assert fc7("index", more).exit_code == 0
    assert found(fc7(*inside)) == ["red001.png"]
    assert fc7("forget", more).exit_code == 0
    with sqlite3.connect(tmp_path / "index" / "catalog.db") as database:
        lost = "SELECT count(*) FROM labels WHERE photo_id NOT IN (SELECT id FROM photos)"
        assert database.execute(lost).fetchone() == (0,)


def test_photos_that_show_it_not_are_learned_from(fc7: Fc7, indexed: Path) -> None:
    fc7("label", "add", "roses", indexed / "red000.png", indexed / "red001.png")
    before = json.loads(fc7("search", "--label", "roses", "-k", 30, "--format", "json").stdout)[0]["results"]
    fc7("label", "add", "roses", "--not", indexed / "red002.png", "--not", indexed / "blue001.png")
    after = json.loads(fc7("search", "--label", "roses", "-k", 30, "--format", "json").stdout)[0]["results"]
    scores = [{Path(row["path"]).name: row["probability"] for row in rows} for rows in (before, after)]
    assert scores[1].get("red002.png", 0) < scores[0]["red002.png"]
    [label] = json.loads(fc7("label", "list", "--format", "json").stdout)
    assert (label["examples"], label["counterexamples"]) == (2, 2)
    fc7("label", "add", "roses", indexed / "red002.png")
    [label] = json.loads(fc7("label", "list", "--format", "json").stdout)
    assert (label["examples"], label["counterexamples"]) == (3, 1), "whoever changes their mind is heard"


def test_photos_are_suggested_of_which_it_is_least_sure(fc7: Fc7, indexed: Path) -> None:
    examples = [indexed / f"red{number:03}.png" for number in range(3)]
    fc7("label", "add", "roses", *examples)
    rows = json.loads(fc7("label", "suggest", "roses", "-k", 5, "--format", "json").stdout)[0]["results"]
    assert len(rows) == 5
    assert not {Path(row["path"]) for row in rows} & set(examples)
    distances = [abs(row["probability"] - 0.5) for row in rows]
    assert distances == sorted(distances)


def test_classify_names_it_first(fc7: Fc7, indexed: Path, tmp_path: Path) -> None:
    fc7("label", "add", "roses", *(indexed / f"red{number:03}.png" for number in range(5)))
    new = write_colours(tmp_path / "new", each=1, seed=9)
    shown = fc7("classify", new / "red000.png", new / "blue000.png", "--index", tmp_path / "index", "--format", "jsonl")
    red, blue = (json.loads(line)["predictions"] for line in shown.stdout.splitlines())
    assert (red[0]["label"], red[0]["group"]) == ("roses", "own")
    assert red[0]["probability"] >= 0.5
    assert [prediction["label"] for prediction in blue][:1] == ["blue"]
    assert "roses (own)" in fc7("classify", new / "red000.png", "--index", tmp_path / "index").stdout


def test_a_rebuild_keeps_labels(fc7: Fc7, indexed: Path, other_model: Path, tmp_path: Path) -> None:
    fc7("label", "add", "roses", *(indexed / f"red{number:03}.png" for number in range(5)))
    assert fc7("index", "--rebuild").exit_code == 0
    assert [label["examples"] for label in json.loads(fc7("label", "list", "--format", "json").stdout)] == [5]
    rebuilt = fc7("index", "--rebuild", "-m", other_model)
    assert rebuilt.exit_code == 0, rebuilt.output
    with PhotoIndex.open(tmp_path / "index") as index:
        assert [(label.name, label.examples) for label in index.own_labels.all()] == [("roses", 5)]
    names = found(fc7("search", "-m", other_model, "--label", "roses", "-k", 10, "--format", "json"))
    assert all(name.startswith("red") for name in names)


def test_a_rebuild_says_which_labels_it_leaves_out(fc7: Fc7, tmp_path: Path, other_model: Path) -> None:
    photos = write_colours(tmp_path / "photos", each=10)
    shown = write_colours(tmp_path / "shown", each=5)
    fc7("index", photos)
    fc7("label", "add", "roses", *(shown / f"red{number:03}.png" for number in range(5)))
    for photo in shown.glob("red*"):
        photo.unlink()
    rebuilt = fc7("index", "--rebuild", "-m", other_model)
    assert rebuilt.exit_code == 0, rebuilt.output
    assert "These labels are left out: roses. None of the photos" in rebuilt.stderr


def test_a_disk_that_is_full_loses_no_label_in_a_rebuild(
    fc7: Fc7, indexed: Path, other_model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fc7("label", "add", "roses", *(indexed / f"red{number:03}.png" for number in range(5)))

    def full(*_: object) -> None:
        raise IndexStorageError("no space left on the disk")

    with monkeypatch.context() as broken:
        broken.setattr(OwnLabels, "put", full)
        rebuilt = fc7("index", "--rebuild", "-m", other_model)
    assert rebuilt.exit_code == 1
    assert "no space left on the disk" in rebuilt.stderr
    with PhotoIndex.open(tmp_path / "index") as index:
        assert [(label.name, label.examples) for label in index.own_labels.all()] == [("roses", 5)]


def test_a_label_follows_the_photos_that_taught_it(fc7: Fc7, indexed: Path, tmp_path: Path) -> None:
    red = [f"red{number:03}.png" for number in range(5)]
    fc7("label", "add", "roses", *(indexed / name for name in red))
    new = indexed.rename(tmp_path / "new")
    fc7("moved", indexed, new)
    with PhotoIndex.open(tmp_path / "index") as index:
        assert sorted(example.path for example in index.own_labels.examples("roses")) == [new / name for name in red]
    (new / "deep").mkdir()
    (new / red[0]).rename(new / "deep/first.png")
    assert "moved" in fc7("index").stdout
    with PhotoIndex.open(tmp_path / "index") as index:
        at = sorted(example.path for example in index.own_labels.examples("roses"))
    assert at == [new / "deep/first.png", *(new / name for name in red[1:])]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["add", "roses"], 2, "name a PHOTO that shows it"),
        (["add", " ", "{photo}"], 2, "is no name for a label"),
        (["add", "a\x1b[2Jb", "{photo}"], 2, "is no name for a label"),
        (["add", "roses", "missing.png"], 1, "cannot read missing.png"),
        (["add", "roses", "--not", "{photo}"], 1, "there is no photo that shows roses"),
        (["remove", "roses"], 1, "has no label roses of your own; `fc7 label list`"),
        (["suggest", "roses"], 1, "has no label roses of your own"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(
    fc7: Fc7, indexed: Path, arguments: list[str], status: int, said: str
) -> None:
    done = fc7("label", *(argument.format(photo=indexed / "red000.png") for argument in arguments))
    assert done.exit_code == status
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_without_other_photos_there_is_nothing_to_tell_it_from(fc7: Fc7, tmp_path: Path) -> None:
    photos = write_colours(tmp_path / "photos", each=1, colours=("red",))
    fc7("index", photos)
    done = fc7("label", "add", "roses", photos / "red000.png")
    assert done.exit_code == 1
    assert "has no other photos to tell roses from" in done.stderr
