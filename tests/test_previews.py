"""Previews: whole and upright, made once, kept under a limit, and made again for a file that has changed."""

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from PIL import Image

from index.errors import PhotoError
from retrieval.photos import previews
from retrieval.photos.previews import Previews


def photo(path: Path, colour: str = "red", size: tuple[int, int] = (400, 100)) -> Path:
    Image.new("RGB", size, colour).save(path)
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


def test_it_is_decoded_once_and_again_once_the_file_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, made = photo(tmp_path / "a.png"), Previews(tmp_path / "cache")
    first = made.preview(path, 80)
    with monkeypatch.context() as patched:
        patched.setattr(previews, "open_photo", lambda *_, **__: pytest.fail("decoded twice"))
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
    made.preview(path, 80)
    (kept,) = (tmp_path / "cache").iterdir()
    kept.write_bytes(kept.read_bytes()[:100])
    assert made.preview(path, 80).getpixel((40, 10)) == (254, 0, 0)


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
