"""Previews: whole and upright, made once, kept under a limit, and made again for a file that has changed."""

import os
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from PIL import Image

from index.errors import PhotoError
from retrieval.photos import previews
from retrieval.photos.previews import Previews


def photo(path: Path, colour: str = "red", size: tuple[int, int] = (400, 100)) -> Path:
    """Write a photo that has not changed for a while."""
    Image.new("RGB", size, colour).save(path)
    return aged(path, 100)


def aged(path: Path, seconds: float) -> Path:
    moment = time.time() - seconds
    os.utime(path, (moment, moment))
    return path


def size_of_preview(folder: Path, path: Path) -> tuple[int, int]:
    return Previews(folder).preview(path, 80).size


def test_a_panorama_is_whole_and_a_turned_photo_upright(tmp_path: Path) -> None:
    turned = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (400, 100), "red").save(turned, exif=exif)
    assert Previews(None).preview(photo(tmp_path / "wide.png"), 100).size == (100, 25)
    assert Previews(None).preview(turned, 100).size == (25, 100)


def test_what_is_shown_smaller_is_decoded_smaller_and_no_smaller(tmp_path: Path) -> None:
    made, path = Previews(None), photo(tmp_path / "a.png", size=(400, 267))
    assert made.preview(path, 400, shown=200).size == (200, 134)
    assert made.preview(path, 400, shown=201).size == (400, 267)
    assert made.preview(path, 400, shown=400).size == (400, 267)


def test_it_is_decoded_once_and_again_once_the_file_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, made = photo(tmp_path / "a.png"), Previews(tmp_path / "cache")
    first = made.preview(path, 80)
    with monkeypatch.context() as patched:
        patched.setattr(previews, "decode_within_budget", lambda *_, **__: pytest.fail("decoded twice"))
        assert made.preview(path, 80).tobytes() == first.tobytes()
    photo(path, "blue", (200, 200))
    assert made.preview(path, 80).size == (80, 80)


def test_what_was_not_used_for_longest_is_removed(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    paths = [photo(tmp_path / f"{number}.png") for number in range(4)]
    files = list[Path]()
    for path in paths:
        Previews(cache).preview(path, 80)
        files += [file for file in cache.iterdir() if file not in files]
    for age, file in enumerate(files):
        os.utime(file, (age, age))
    Previews(cache).preview(paths[0], 80)
    with Previews(cache, limit=files[0].stat().st_size * 3):
        pass
    assert set(cache.iterdir()) == {files[0], files[3]}


def test_a_damaged_preview_is_made_again(tmp_path: Path) -> None:
    path, made = photo(tmp_path / "a.png"), Previews(tmp_path / "cache")
    right = made.jpeg(path, 80)
    (kept,) = (tmp_path / "cache").iterdir()
    for wrong in (b"", right[:100], bytes(len(right))):
        kept.write_bytes(wrong)
        assert made.preview(path, 80).getpixel((40, 10)) == (254, 0, 0)
        assert kept.read_bytes() == right


def test_what_has_just_changed_is_not_kept(tmp_path: Path) -> None:
    path = aged(photo(tmp_path / "a.png"), 0)
    assert size_of_preview(tmp_path / "cache", path) == (80, 20)
    assert not (tmp_path / "cache").exists()


def test_the_limit_holds_while_many_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(previews, "BEFORE_TRIMMING", 2)
    paths = [photo(tmp_path / f"{number}.png") for number in range(6)]
    size = len(Previews(None).jpeg(paths[0], 80))
    made = Previews(tmp_path / "cache", limit=3 * size)
    for path in paths:
        made.jpeg(path, 80)
    assert 2 <= len(list((tmp_path / "cache").iterdir())) <= 3


def test_the_bytes_of_a_photo_are_shown_and_not_kept(tmp_path: Path) -> None:
    data = photo(tmp_path / "a.png").read_bytes()
    assert Previews(tmp_path / "cache").preview(data, 100).size == (100, 25)
    assert not (tmp_path / "cache").exists()


def test_a_photo_of_more_pixels_than_are_allowed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="pixels"):
        Previews(None, max_pixels=39_999).jpeg(photo(tmp_path / "a.png"), 80)


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert Previews(tmp_path / "file" / "cache").preview(photo(tmp_path / "a.png"), 80).size == (80, 20)


def test_what_is_no_photo_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("text")
    with pytest.raises(PhotoError, match="not a photo"):
        Previews(tmp_path / "cache").preview(tmp_path / "text.jpg", 80)


def test_several_processes_make_the_same(tmp_path: Path) -> None:
    path, cache = photo(tmp_path / "a.png"), tmp_path / "cache"
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as processes:
        assert set(processes.map(size_of_preview, [cache] * 6, [path] * 6)) == {(80, 20)}
    assert len(list(cache.iterdir())) == 1
