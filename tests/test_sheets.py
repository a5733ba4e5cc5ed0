"""Sheets of what search and duplicates find: whole photos, safe names, links, and one line for bad input."""

import base64
import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image

from index.errors import OptionError, UserError
from retrieval.figures.sheet import SIDE, SheetRow, Tile, draw_sheet, sheet_html, write_sheet
from retrieval.figures.style import GAP, MARGIN
from retrieval.photos.previews import Previews

PREVIEWS = Previews(None)


def test_a_panorama_is_letterboxed_and_the_query_at_the_left(tmp_path: Path) -> None:
    Image.new("RGB", (800, 200), "red").save(tmp_path / "wide.png")
    Image.new("RGB", (200, 800), "blue").save(tmp_path / "high.png")
    row = SheetRow((Tile(tmp_path / "high.png", ("0.5",)),), Tile(tmp_path / "wide.png", ("query",)))
    sheet = draw_sheet([row], PREVIEWS)
    pixels = [sheet.getpixel((x, MARGIN + SIDE - 5)) for x in (MARGIN + 2, sheet.width - MARGIN - SIDE // 2)]
    assert [max(range(3), key=pixel.__getitem__) for pixel in pixels if isinstance(pixel, tuple)] == [0, 2]
    assert sheet.getpixel((MARGIN + 2, MARGIN + 2)) == (255, 255, 255)


def test_html_holds_the_pictures_and_escapes_names(tmp_path: Path) -> None:
    path = tmp_path / 'a<b>&"c".png'
    Image.new("RGB", (300, 100), "red").save(path)
    page = sheet_html([SheetRow((Tile(path, (path.name,)),))], PREVIEWS)
    assert "a&lt;b&gt;&amp;&quot;c&quot;.png" in page
    assert "a<b>" not in page
    assert f'href="{path.as_uri()}"' in page
    (data,) = re.findall(r"base64,([^\"]+)", page)
    assert Image.open(BytesIO(base64.b64decode(data))).size == (300, 100)
    assert "http" not in page


def test_a_photo_that_is_gone_says_so(tmp_path: Path) -> None:
    assert "no such file" in sheet_html([SheetRow((Tile(tmp_path / "gone.png", ("gone",)),))], PREVIEWS)


def test_too_many_rows_for_a_picture_become_pages_of_a_pdf(tmp_path: Path) -> None:
    rows = [SheetRow((Tile(None, ("words",)),))] * 400
    with pytest.raises(OptionError, match="400 rows are too many"):
        write_sheet(rows, tmp_path / "a.png", PREVIEWS)
    write_sheet(rows[:20], tmp_path / "a.pdf", PREVIEWS)
    assert (tmp_path / "a.pdf").read_bytes().count(b"/Type /Page\n") == 3


def test_nothing_found_and_no_place_to_write(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing was found"):
        write_sheet([SheetRow(())], tmp_path / "a.png", PREVIEWS)
    with pytest.raises(UserError, match="cannot be written"):
        write_sheet([SheetRow((Tile(None, ("words",)),))], tmp_path / "none" / "a.html", PREVIEWS)


def test_search_and_duplicates_draw_what_they_find(
    fc7: Callable[..., Result], make_photo: Callable[..., Path], tmp_path: Path
) -> None:
    red = make_photo("photos/red.png")
    make_photo("photos/blue.png", "blue")
    (tmp_path / "photos" / "copy.png").write_bytes(red.read_bytes())
    assert fc7("index", tmp_path / "photos").exit_code == 0
    assert fc7("search", red, "--sheet", tmp_path / "s.html").exit_code == 0
    page = (tmp_path / "s.html").read_text("utf-8")
    assert page.index("red.png") < page.index("blue.png")
    assert fc7("search", "--label", "red", "--sheet", tmp_path / "l.png").exit_code == 0
    with Image.open(tmp_path / "l.png") as picture:
        assert (picture.width - 2 * MARGIN) % (SIDE + GAP) == SIDE
    assert fc7("duplicates", "--like", "exact", "--sheet", tmp_path / "d.html").exit_code == 0
    page = (tmp_path / "d.html").read_text("utf-8")
    assert "<b>" in page
    assert page.count("<figure>") == 2


def test_an_unknown_suffix_is_refused_before_anything_is_done(fc7: Callable[..., Result], tmp_path: Path) -> None:
    for command in ("search", "--label", "red"), ("duplicates",):
        found = fc7(*command, "--index", tmp_path / "none", "--sheet", "a.txt")
        assert found.exit_code != 0, command
    assert not Path("a.txt").exists()
