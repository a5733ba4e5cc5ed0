import csv
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from cli import main

MakePhoto = Callable[..., Path]


def classify(model: Path, *arguments: object, **options: object) -> Result:
    return CliRunner().invoke(main, ["classify", "-m", str(model), *map(str, arguments)], **options)  # type: ignore[arg-type]


def test_photos_are_named_in_the_order_given(tiny_model: Path, make_photo: MakePhoto) -> None:
    photos = [make_photo("b.png", "blue"), make_photo("a.png", "green")]
    done = classify(tiny_model, *photos, "--format", "jsonl", "-k", 2)
    assert done.exit_code == 0, done.output
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["path"] for record in records] == [str(photo) for photo in photos]
    assert [record["predictions"][0]["label"] for record in records] == ["blue", "green"]
    assert records[0]["predictions"][0]["id"] == "n00000002"
    assert [len(record["predictions"]) for record in records] == [2, 2]
    assert done.stderr == ""


def test_a_folder_is_searched_with_those_below(tiny_model: Path, make_photo: MakePhoto, tmp_path: Path) -> None:
    names = [
        "photos/b.png",
        "photos/c/d.jpg",
        "photos/.hidden/e.png",
        "photos/@eaDir/f.png",
        "photos/node_modules/g.png",
    ]
    for name in names:
        make_photo(name)
    (tmp_path / "photos" / "notes.txt").write_text("not a photo")
    done = classify(tiny_model, tmp_path / "photos", "--format", "csv")
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert {row["path"] for row in rows} == {str(tmp_path / name) for name in names[:2]}
    assert done.stderr == ""


def test_a_picture_on_standard_input(tiny_model: Path, make_photo: MakePhoto) -> None:
    done = classify(tiny_model, "-", "--format", "json", input=make_photo("a.png", "green").read_bytes())
    [record] = json.loads(done.stdout)
    assert (record["path"], record["predictions"][0]["label"]) == ("-", "green")


def test_the_table_is_for_people(tiny_model: Path, make_photo: MakePhoto) -> None:
    photo = make_photo("a.png", "red")
    lines = classify(tiny_model, photo, "-k", 1).stdout.splitlines()
    assert lines[0] == str(photo)
    assert lines[1].endswith("%  red")
    assert len(lines) == 2


def test_unsure_is_said_as_such(tiny_model: Path, make_photo: MakePhoto, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "black.png")  # no colour is the strongest
    sure = make_photo("red.png", "red")
    done = classify(tiny_model, tmp_path / "black.png", sure, "-k", 2).stdout.split("\n\n")
    assert done[0].splitlines()[1:] == ["       -  unsure", "   33.3%  red?", "   33.3%  green?"]
    assert "?" not in done[1]
    records = [
        json.loads(line)
        for line in classify(tiny_model, tmp_path / "black.png", sure, "--format", "jsonl").stdout.splitlines()
    ]
    assert records[0]["terms"] == []
    assert records[1]["terms"] == records[1]["predictions"][:1]


def test_flat_gives_the_bare_classes_alone(tiny_model: Path, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "black.png")
    done = classify(tiny_model, tmp_path / "black.png", "-k", 1, "--flat")
    assert done.stdout.splitlines()[1:] == ["   33.3%  red"]
    [record] = json.loads(classify(tiny_model, tmp_path / "black.png", "--flat", "--format", "json").stdout)
    assert record.keys() == {"path", "predictions"}


def test_a_photo_that_cannot_be_read_is_an_error(tiny_model: Path, tmp_path: Path) -> None:
    done = classify(tiny_model, tmp_path / "none.jpg")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == f"Error: cannot read {tmp_path / 'none.jpg'}: no such file\n"


def test_the_others_are_named_all_the_same(tiny_model: Path, make_photo: MakePhoto, tmp_path: Path) -> None:
    good, cut, text = make_photo("a.jpg"), make_photo("cut.jpg"), tmp_path / "text.jpg"
    cut.write_bytes(cut.read_bytes()[:-200])
    text.write_text("words")
    done = classify(tiny_model, cut, good, text, "--format", "jsonl")
    assert done.exit_code == 1
    assert [json.loads(line)["path"] for line in done.stdout.splitlines()] == [str(good)]
    assert done.stderr.splitlines() == [
        f"Skipped {cut}: truncated JPEG",
        f"Skipped {text}: not a photo",
        "Error: 2 photos could not be read, for the reasons above",
    ]


def test_whether_a_photo_can_be_read_is_found_out_by_reading_it(
    tiny_model: Path, make_photo: MakePhoto, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = make_photo("a.png")
    # As for a file without permission, or on a network drive that answers this question wrongly.
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    assert classify(tiny_model, photo, photo.with_name("none.png")).stdout.startswith(f"{photo}\n")


def test_in_a_folder_it_is_an_error_only_if_asked(tiny_model: Path, make_photo: MakePhoto, tmp_path: Path) -> None:
    make_photo("a.png")
    (tmp_path / "empty.png").touch()
    done = classify(tiny_model, tmp_path)
    assert done.exit_code == 0
    assert done.stderr == f"Skipped {tmp_path / 'empty.png'}: empty file\n"
    strict = classify(tiny_model, tmp_path, "--strict")
    assert strict.exit_code == 1
    assert strict.stdout == done.stdout
    assert strict.stderr == f"Error: cannot read {tmp_path / 'empty.png'}: empty file\n"


def test_a_missing_model_is_an_error(tmp_path: Path, make_photo: MakePhoto) -> None:
    done = classify(tmp_path / "none.onnx", make_photo("a.png"))
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: ")
    assert "none.onnx" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["-k", "0", "a.png"], ["--format", "xml", "a.png"], ["--nonsense"]])
def test_wrong_usage_has_status_2(tiny_model: Path, arguments: list[str]) -> None:
    assert classify(tiny_model, *arguments).exit_code == 2


def test_options_come_from_the_environment_too(tiny_model: Path, make_photo: MakePhoto) -> None:
    environment = {"FC7_MODEL": str(tiny_model), "FC7_CLASSIFY_TOP": "1", "FC7_CLASSIFY_FORMAT": "jsonl"}
    done = CliRunner().invoke(main, ["classify", str(make_photo("a.png"))], env=environment)
    assert len(json.loads(done.stdout)["predictions"]) == 1


def test_a_file_name_that_is_no_text_comes_out_as_it_is(
    tiny_model: Path, make_photo: MakePhoto, tmp_path: Path
) -> None:
    odd = os.fsencode(tmp_path) + b"/\xff\xe9.png"
    try:
        os.rename(make_photo("a.png"), odd)
    except OSError:
        pytest.skip("the file system takes only names that are text")
    assert odd in classify(tiny_model, tmp_path, "--format", "csv").stdout_bytes
    record = json.loads(classify(tiny_model, os.fsdecode(odd), "--format", "jsonl").stdout_bytes)
    assert os.fsencode(record["path"]) == odd
    assert b"\\xff\\xe9.png" in classify(tiny_model, tmp_path).stdout_bytes
