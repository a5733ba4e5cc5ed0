"""The command duplicates on small real photos: what it prints, what it refuses, and what it leaves alone."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import skimage.data
from click.testing import CliRunner, Result
from PIL import Image

from cli import main
from commands.duplicates import duplicates_command
from commands.photo_tables import format_duplicates
from index.index_writer import IndexWriter
from retrieval.duplicates.find import ALIKE
from retrieval.duplicates.keep import DuplicateGroup, DuplicatePhoto

Fc7 = Callable[..., Result]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A picture, the same bytes again, a smaller copy, and another picture."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for name in ("coffee", "rocket"):
        Image.fromarray(getattr(skimage.data, name)()).convert("RGB").resize((160, 120)).save(folder / f"{name}.png")
    (folder / "more" / "coffee.png").write_bytes((folder / "coffee.png").read_bytes())
    os.utime(folder / "coffee.png", (1000, 1000))
    Image.open(folder / "coffee.png").resize((80, 60)).save(folder / "more" / "half.jpg")
    return folder


@pytest.fixture
def indexed(fc7: Fc7, photos: Path) -> Path:
    assert fc7("index", photos).exit_code == 0
    return photos


def test_a_table_tells_the_groups_apart(fc7: Fc7, indexed: Path) -> None:
    done = fc7("duplicates", "--min-score", 1)
    assert (done.exit_code, done.stderr) == (0, "")
    exact, altered = done.stdout.split("\n\n")
    heading, first, second = exact.splitlines()
    assert heading.startswith("exact copies: 2 photos, ")
    assert heading.endswith(", kept for: older")
    assert first.split()[0] == second.split()[0] == "160×120"
    assert {first.split()[-1], second.split()[-1]} == {f"{indexed}/coffee.png", f"{indexed}/more/coffee.png"}
    heading, first, second = altered.splitlines()
    assert heading.startswith("one picture, altered: 2 photos, ")
    assert heading.endswith(", kept for: more detail")
    assert first.split()[0] == "160×120"
    assert second.endswith(f"{indexed}/more/half.jpg")


def test_json_lines_and_json_hold_the_same(fc7: Fc7, indexed: Path) -> None:
    lines = [json.loads(line) for line in fc7("duplicates", "--format", "jsonl", "--min-score", 1).stdout.splitlines()]
    assert lines == json.loads(fc7("duplicates", "--format", "json", "--min-score", 1).stdout)
    assert [group["likeness"] for group in lines] == ["exact", "altered"]
    assert [group["kept_because"] for group in lines] == [["age"], ["detail"]]
    half = indexed / "more" / "half.jpg"
    assert (
        lines[1]["photos"][1].items()
        >= {
            "path": str(half),
            "width": 80,
            "height": 60,
            "bytes": half.stat().st_size,
        }.items()
    )


def test_paths_are_of_exact_copies_where_nothing_else_is_said(fc7: Fc7, indexed: Path) -> None:
    [path] = fc7("duplicates", "--format", "paths").stdout.splitlines()
    assert Path(path).name == "coffee.png"
    assert fc7("duplicates", "-0").stdout == f"{path}\0"
    assert fc7("duplicates", "-0", "--like", "altered").stdout == f"{indexed}/more/half.jpg\0"
    both = fc7("duplicates", "-0", "--like", "altered", "--like", "exact").stdout
    assert both == f"{path}\0{indexed}/more/half.jpg\0"


def test_paths_and_a_table_do_not_go_together(fc7: Fc7, indexed: Path) -> None:
    done = fc7("duplicates", "-0", "--format", "table")
    assert (done.exit_code, done.stdout) == (2, "")


def test_a_folder_against_another(fc7: Fc7, indexed: Path) -> None:
    done = fc7("duplicates", indexed / "more", "--against", indexed, "-0", "--like", "exact", "--like", "altered")
    assert done.stdout == f"{indexed}/more/coffee.png\0{indexed}/more/half.jpg\0"
    done = fc7("duplicates", indexed / "more", "--like", "exact")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "No copies among 2 photos.\n")


def test_nothing_is_touched_and_what_has_changed_is_told(fc7: Fc7, indexed: Path) -> None:
    before = {path: (path.read_bytes(), path.stat()) for path in indexed.rglob("*.*")}
    fc7("duplicates")
    assert {path: (path.read_bytes(), path.stat()) for path in indexed.rglob("*.*")} == before
    (indexed / "more" / "coffee.png").unlink()
    done = fc7("duplicates", "--like", "exact")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "Left out: 1 photo that" in done.stderr
    assert "fc7 index" in done.stderr


def test_a_folder_that_is_not_indexed_is_an_error_that_says_what_to_run(fc7: Fc7, indexed: Path) -> None:
    done = fc7("duplicates", indexed / "nowhere")
    assert done.exit_code == 1
    assert f"{indexed}/nowhere is not in the index" in done.stderr
    assert f"fc7 index {indexed}/nowhere" in done.stderr


def test_without_an_index_there_is_an_error_that_says_what_to_run(fc7: Fc7) -> None:
    done = fc7("duplicates")
    assert done.exit_code == 1
    assert "fc7 index FOLDER" in done.stderr


def test_an_empty_format_is_nothing() -> None:
    assert list(format_duplicates([], "table")) == list(format_duplicates([], "paths")) == []
    assert "".join(format_duplicates([], "json")) == "[]\n"


def test_a_heading_says_all_of_why_a_photo_is_kept_and_paths_are_whole() -> None:
    photos = tuple(DuplicatePhoto(Path("/a" * 40, name), 4, 3, 100, 0, False, False) for name in ("a.jpg", "b.jpg"))
    group = DuplicateGroup("altered", photos, ("pixels", "compression"))
    heading, *rows = "".join(format_duplicates([group], "table")).splitlines()
    assert heading.endswith("kept for: more of the picture, less compressed")
    assert [row.endswith(str(photo.path)) for row, photo in zip(rows, photos, strict=True)] == [True, True]


def test_the_help_names_the_score_that_is_the_default() -> None:
    (option,) = [option for option in duplicates_command.params if option.name == "min_score"]
    assert option.default == ALIKE


def in_index(fc7: Fc7, tmp_path: Path) -> int:
    photos = json.loads(fc7("info", tmp_path / "index", "--format", "json").stdout)["photos"]
    assert isinstance(photos, int)
    return photos


def test_copies_are_moved_and_moved_back(fc7: Fc7, indexed: Path, tmp_path: Path) -> None:
    copies = tmp_path / "copies"
    done = fc7("duplicates", "--move-to", copies, "--yes")
    assert (done.exit_code, done.stderr) == (0, "")
    *_, total, undo = done.stdout.splitlines()
    assert total.startswith("Moved 1 photo (")
    assert not (indexed / "more" / "coffee.png").exists()
    assert (copies / "photos" / "more" / "coffee.png").read_bytes() == (indexed / "coffee.png").read_bytes()
    # The index knows, and is up to date without another run.
    assert in_index(fc7, tmp_path) == 3
    assert "unchanged" in fc7("index").stdout
    assert fc7("duplicates", "--like", "exact").stdout == ""
    words = undo.removeprefix("To move them back: fc7 ").split()
    done = fc7(*words)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith("Moved 1 photo (")
    assert (indexed / "more" / "coffee.png").exists()
    assert list(copies.iterdir()) == []
    assert "1  copied" in fc7("index").stdout


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_it_is_asked_before_anything_is_moved(
    fc7: Fc7, indexed: Path, tmp_path: Path, answer: str, tiny_model: Path
) -> None:
    environment = {"FC7_INDEX": str(tmp_path / "index")}
    arguments = ["duplicates", "--move-to", str(tmp_path / "copies")]
    done = CliRunner().invoke(main, arguments, input=answer, env=environment)
    assert "Move 1 photo (" in done.stderr
    assert done.exit_code == (0 if answer else 1)
    assert ("Nothing was moved" in done.stdout) if answer else ("--yes" in done.stderr)
    assert (indexed / "more" / "coffee.png").exists()
    assert not (tmp_path / "copies").exists()
    done = CliRunner().invoke(main, arguments, input="y\n", env=environment)
    assert done.exit_code == 0
    assert not (indexed / "more" / "coffee.png").exists()


def test_altered_copies_are_moved_where_it_is_said(fc7: Fc7, indexed: Path, tmp_path: Path) -> None:
    done = fc7("duplicates", "--move-to", tmp_path / "copies", "--yes", "--like", "altered", "--like", "exact")
    assert done.exit_code == 0
    assert sorted(path.name for path in indexed.rglob("*.*")) == ["coffee.png", "rocket.png"]


def test_what_cannot_be_moved_is_told(fc7: Fc7, indexed: Path, tmp_path: Path) -> None:
    done = fc7("duplicates", "--move-to", indexed / "copies", "--yes")
    assert done.exit_code == 1
    assert "indexed" in done.stderr
    assert not (indexed / "copies").exists()
    put_away = tmp_path / "copies"
    put_away.write_bytes(b"a file")
    done = fc7("duplicates", "--move-to", put_away, "--yes")
    assert (done.exit_code, "not a folder" in done.stderr) == (1, True)
    assert put_away.read_bytes() == b"a file"
    os.link(indexed / "more" / "coffee.png", indexed / "more" / "link.png")
    fc7("index")
    done = fc7("duplicates", "--move-to", tmp_path / "elsewhere", "--yes")
    assert (done.exit_code, (indexed / "more" / "link.png").exists()) == (0, True)


def test_a_locked_index_does_not_stop_it(fc7: Fc7, indexed: Path, tmp_path: Path) -> None:
    with IndexWriter.open_to_edit(tmp_path / "index"):
        done = fc7("duplicates", "--move-to", tmp_path / "copies", "--yes")
    assert done.exit_code == 0
    assert "until the next fc7 index" in done.stderr
    assert not (indexed / "more" / "coffee.png").exists()
    assert "1  removed" in fc7("index").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["--move-to", "x", "--undo", "y"],
        ["--move-to", "x", "-0"],
        ["--move-to", "x", "--format", "json"],
        ["--not-duplicates", "a.jpg"],
        ["--not-duplicates", "--duplicates-after-all", "a.jpg", "b.jpg"],
    ],
)
def test_what_does_not_go_together(fc7: Fc7, indexed: Path, arguments: list[str]) -> None:
    assert fc7("duplicates", *arguments).exit_code == 2


def test_photos_that_are_different_are_remembered(fc7: Fc7, indexed: Path) -> None:
    pair = indexed / "coffee.png", indexed / "more" / "half.jpg"
    assert fc7("duplicates", "--not-duplicates", *pair).exit_code == 0
    assert fc7("duplicates", "--like", "altered").stdout == ""
    assert fc7("duplicates", "--duplicates-after-all", *pair).exit_code == 0
    assert "half.jpg" in fc7("duplicates", "--like", "altered").stdout
    done = fc7("duplicates", "--not-duplicates", *pair, indexed / "missing.jpg")
    assert (done.exit_code, "missing.jpg" in done.stderr) == (1, True)


def test_a_folder_to_keep_in(fc7: Fc7, indexed: Path) -> None:
    done = fc7("duplicates", "-0", "--keep-in", indexed / "more")
    assert done.stdout == f"{indexed}/coffee.png\0"
    assert fc7("duplicates", "-0", "--keep-in", indexed / "mroe").exit_code == 1
