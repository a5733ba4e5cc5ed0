"""Maps and collages: every photo whole and in its place, one file, the same each time, and one line for bad input."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from retrieval.figures.collage import HIGHEST, WIDTH, rows_of
from retrieval.figures.map import CELL
from retrieval.figures.style import GAP, MARGIN

Fc7 = Callable[..., Result]
MakePhoto = Callable[..., Path]
KINDS = ("map", "collage")


@pytest.fixture
def photos(fc7: Fc7, make_photo: MakePhoto, tmp_path: Path) -> Path:
    for colour, count in (("red", 4), ("green", 3), ("blue", 2)):
        for number in range(count):
            make_photo(f"photos/{colour}-{number}.png", colour, seed=number)
    Image.new("RGB", (600, 60), "orange").save(tmp_path / "photos" / "wide <b>.png")
    assert fc7("index", tmp_path / "photos").exit_code == 0
    return tmp_path / "photos"


def colours(path: Path) -> set[str]:
    """Which of red, green and blue a picture has large areas of."""
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"), np.int16)
    strong = [(pixels[..., part] > 80) & (np.delete(pixels, part, 2) < 25).all(-1) for part in range(3)]
    return {name for name, found in zip(("red", "green", "blue"), strong, strict=True) if found.sum() > 1000}


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_shows_all_and_is_the_same_each_time(kind: str, photos: Path, fc7: Fc7, tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        done = fc7("show", kind, "-o", tmp_path / name)
        assert (done.exit_code, done.output) == (0, "")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert colours(tmp_path / "one.png") == {"red", "green", "blue"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_is_one_file_with_safe_names_and_links(kind: str, photos: Path, fc7: Fc7, tmp_path: Path) -> None:
    assert fc7("show", kind, "-o", tmp_path / "a.html").exit_code == 0
    page = (tmp_path / "a.html").read_text("utf-8")
    assert "wide &lt;b&gt;.png" in page
    assert "<b>" not in page
    links = re.findall(r'href="([^"]+)"', page)
    assert (photos / "red-0.png").as_uri() in links
    assert len(links) == len(set(links)) == page.count("<img ")
    assert set(re.findall(r'src="(data:image/jpeg;base64,|[^"]*)', page)) == {"data:image/jpeg;base64,"}
    assert not re.search(r"https?:|//[a-z]", page.replace("file://", ""))


@pytest.mark.parametrize("kind", KINDS)
def test_pdf_and_few_photos(kind: str, photos: Path, fc7: Fc7, tmp_path: Path) -> None:
    assert fc7("show", kind, "--photos", 2, "-o", tmp_path / "a.pdf").exit_code == 0
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
    assert fc7("show", kind, "--photos", 2, "-o", tmp_path / "a.html").exit_code == 0
    assert (tmp_path / "a.html").read_text("utf-8").count("<img ") == 2


def test_a_map_says_how_many_of_how_many(photos: Path, fc7: Fc7, tmp_path: Path) -> None:
    assert fc7("show", "map", "--photos", 3, "-o", tmp_path / "a.html").exit_code == 0
    page = (tmp_path / "a.html").read_text("utf-8")
    assert "<h1>3 of 10 photos; each stands for those that look like it</h1>" in page
    others = map(int, re.findall(r'title="[^"]*, and (\d+) like it"', page))
    assert 3 + sum(others) == 10
    areas = re.findall(r"grid-area: (\d+) / (\d+)", page)
    assert len(set(areas)) == 3
    assert areas == sorted(areas, key=lambda area: tuple(map(int, area)))  # the keyboard goes as one reads


@pytest.mark.parametrize("kind", KINDS)
def test_a_photo_that_is_gone_is_left_out_and_told(kind: str, photos: Path, fc7: Fc7, tmp_path: Path) -> None:
    (photos / "green-0.png").unlink()  # the first of its group, for which another one stands now
    done = fc7("show", kind, "--photos", 20, "-o", tmp_path / "a.html")
    assert done.exit_code == 0
    assert re.fullmatch(r"Skipped .*green-0\.png: [^\n]+\n", done.stderr)
    page = (tmp_path / "a.html").read_text("utf-8")
    assert "green-0.png" not in page
    assert "green-1.png" in page


@pytest.mark.parametrize("kind", KINDS)
def test_bad_input_gets_one_line(kind: str, photos: Path, fc7: Fc7, tmp_path: Path) -> None:
    def told(*arguments: object) -> str:
        done = fc7("show", kind, *arguments)
        assert done.exit_code != 0
        assert isinstance(done.exception, SystemExit)
        return done.stderr.splitlines()[-1]

    assert "suffix" in told("-o", tmp_path / "a.txt")
    assert "cannot be written" in told("-o", tmp_path / "none" / "a.png")
    assert str(tmp_path / "none") in told("--index", tmp_path / "none", "-o", tmp_path / "a.png")
    for path in photos.iterdir():
        path.unlink()
    assert "no photo of the index can be read now" in told("-o", tmp_path / "a.png")
    assert fc7("index", photos).exit_code == 0  # all are gone, of a folder that is there
    (photos / "text.png").write_text("no picture")
    fc7("index", photos)
    assert "no photos in the index" in told("-o", tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_one_photo_is_a_picture_too(kind: str, fc7: Fc7, make_photo: MakePhoto, tmp_path: Path) -> None:
    make_photo("photos/only.png", "blue")
    assert fc7("index", tmp_path / "photos").exit_code == 0
    assert fc7("show", kind, "-o", tmp_path / "a.png").exit_code == 0
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width < 4 * CELL if kind == "map" else picture.height < HIGHEST + 4 * MARGIN
    assert colours(tmp_path / "a.png") == {"blue"}


def test_umap_that_is_missing_is_named(photos: Path, fc7: Fc7, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    done = fc7("show", "map", "--method", "umap", "-o", tmp_path / "a.png")
    assert done.exit_code == 1
    assert "pip install" in done.stderr
    assert not (tmp_path / "a.png").exists()


@pytest.mark.slow
def test_umap_draws_a_map(fc7: Fc7, make_photo: MakePhoto, tmp_path: Path) -> None:
    pytest.importorskip("umap", reason="umap-learn is not installed")
    for number in range(24):
        make_photo(f"photos/{number}.png", ("red", "green", "blue")[number % 3], seed=number)
    assert fc7("index", tmp_path / "photos").exit_code == 0
    for name in ("one.png", "two.png"):
        assert fc7("show", "map", "--method", "umap", "-o", tmp_path / name).exit_code == 0
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert colours(tmp_path / "one.png") == {"red", "green", "blue"}


def test_rows_are_full_and_larger_groups_are_larger() -> None:
    ratios, counts = [1.5, 1.0, 0.7, 3.0] * 6, [2000 // (number + 1) for number in range(24)]
    rows, heights = rows_of(ratios, counts)
    assert [place for start, end in rows for place in range(start, end)] == list(range(24))
    for (start, end), high in zip(rows, heights, strict=True):
        used = high * sum(ratios[start:end]) + GAP * (end - start - 1)
        assert used == pytest.approx(WIDTH - 2 * MARGIN)
    assert heights[0] > heights[-1]
