"""What commands say of photos that were cut off, and of kinds that cannot be read."""

import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

import fc7 as api
from index.records import IncompletePhoto

MISSING = r"the last \d\d? of its 480 rows are missing"
Fc7 = Callable[..., Result]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with a JPEG that lacks its last rows."""
    noise = np.random.default_rng(1).integers(0, 256, (480, 160, 3), np.uint8)
    file = BytesIO()
    Image.fromarray(noise).save(file, "JPEG")
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "cut.jpg").write_bytes(file.getvalue()[: -file.tell() // 50])
    return folder


@pytest.mark.parametrize("command", ["index", "classify", "embed", "search"])
def test_an_incomplete_photo_is_used_and_told(fc7: Fc7, photos: Path, command: str, tmp_path: Path) -> None:
    if command == "search":
        (photos.parent / "other").mkdir()
        fc7("index", photos.parent / "other")
    done = fc7(command, photos, *(["-o", tmp_path / "vectors.npz"] if command == "embed" else []))
    assert done.exit_code == 0, done.output
    [line] = [line for line in done.stderr.splitlines() if "cut.jpg" in line]
    before, told, after = line.partition(": ")
    assert (before, told) == (f"Incomplete {photos / 'cut.jpg'}", ": ")
    assert re.fullmatch(MISSING, after)


def test_python_lists_incomplete_photos(photos: Path, tiny_model: Path) -> None:
    Image.new("RGB", (8, 8)).save(photos / "whole.png")
    model = api.load_model(tiny_model)
    for ask in (model.classify, model.embed):
        incomplete: list[IncompletePhoto] = []
        assert len(ask(photos, incomplete=incomplete)) == 2
        assert [photo.path for photo in incomplete] == [photos / "cut.jpg"]
        assert re.fullmatch(MISSING, incomplete[0].missing)
        assert len(ask(photos)) == 2


def test_an_incomplete_photo_is_told_once(fc7: Fc7, photos: Path) -> None:
    assert "1  new" in fc7("index", photos).stdout
    again = fc7("index", photos)
    assert "1  unchanged" in again.stdout
    assert "Incomplete" not in again.stderr


def test_kinds_that_cannot_be_read_are_counted_in_one_line(fc7: Fc7, photos: Path) -> None:
    for number in range(7):
        (photos / f"{number}.psd").touch()
    for number in range(5):
        (photos / f"{number}.EXR").touch()
    done = fc7("index", photos)
    assert "Left out: 12 files of kinds that fc7 cannot read: .psd 7, .exr 5\n" in done.stderr
    (photos / "more").mkdir()
    assert "fc7 cannot read" not in fc7("index", photos / "more").stderr


def test_programs_are_told_both(photos: Path, tiny_model: Path, tmp_path: Path) -> None:
    (photos / "layers.psd").touch()
    with api.open_index(tmp_path / "index", model=api.load_model(tiny_model)) as index:
        [changes] = index.add(photos)
    [incomplete] = changes.incomplete
    assert incomplete.path == photos / "cut.jpg"
    assert re.fullmatch(MISSING, incomplete.missing)
    assert changes.unread == {".psd": 1}
    plain = changes.to_dict()
    assert plain["unread"] == {".psd": 1}
    assert plain["incomplete"] == [{"path": str(photos / "cut.jpg"), "missing": incomplete.missing}]
