"""The demo, as `make demo` runs it, with the small model."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image

from retrieval.searching.wordnet import kinds_of

DEMO = Path(__file__).resolve().parent.parent / "docs" / "demo.py"
MakePhoto = Callable[..., Path]


def demo(photos: str, model: Path, folder: Path) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "FC7_MODEL": str(model), "HOME": str(folder)}
    return subprocess.run(
        [sys.executable, DEMO, photos], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


def commands(done: "subprocess.CompletedProcess[str]") -> list[str]:
    return [line.split()[2] for line in done.stdout.splitlines() if line.startswith("$ fc7 ")]


def test_the_built_in_model_calls_the_cat_a_cat(fc7: Callable[..., Result]) -> None:
    cat = Path(pytest.importorskip("skimage").__file__).parent / "data" / "chelsea.png"
    [found] = json.loads(fc7("classify", cat, "-m", "builtin", "--format", "json").stdout)
    first = next(known for known in found["predictions"] if known["group"] == "objects")
    assert "n02121808" in kinds_of(first["id"]), "a domestic cat"


@pytest.mark.slow
def test_an_altered_photo_finds_the_original_and_its_other_copies(tiny_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("skimage")
    pytest.importorskip("sklearn")
    done = demo("", tiny_model, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert commands(done) == ["classify", "index", "search", "search"]
    out = tmp_path / "build" / "demo" / "samples"
    [answer] = json.loads((out / "results.json").read_text())
    assert [Path(result["path"]).name.startswith("chelsea") for result in answer["results"][:5]] == [True] * 5
    assert str(out / "results.png") in done.stdout
    with Image.open(out / "results.png") as sheet:
        assert sheet.width > 900
    page = (out / "results.html").read_text()
    assert page.count("<figure>") == 9
    assert "http://" not in page
    assert "https://" not in page


@pytest.mark.slow
def test_photos_of_ones_own_are_left_as_they_are(tiny_model: Path, make_photo: MakePhoto, tmp_path: Path) -> None:
    folder = tmp_path / "My Pictures"
    (tmp_path / "My Pictures").mkdir()
    (folder / "0 broken.jpg").write_bytes(b"")
    for number, colour in enumerate(["red", "green", "blue"]):
        make_photo(f"My Pictures/{colour}.png", colour, seed=number)
    before = {path: path.stat().st_mtime_ns for path in [folder, *folder.iterdir()]}
    done = demo("~/My Pictures", tiny_model, tmp_path)
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in [folder, *folder.iterdir()]} == before
    [results] = (tmp_path / "build" / "demo").rglob("results.json")
    [answer] = json.loads(results.read_text())
    assert Path(answer["query"]).name == "blue.png"
    assert answer["results"][0]["path"] == answer["query"]


def test_a_folder_that_is_not_there_is_an_error(tiny_model: Path, tmp_path: Path) -> None:
    done = demo("nowhere", tiny_model, tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: there is no folder ")
