"""Sheets of what search and duplicates find: whole photos, safe names, links, and one line for bad input."""

import base64
import re
from collections.abc import Callable
from contextlib import nullcontext
from io import BytesIO
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from permissions import as_an_ordinary_user
from PIL import Image

from cli import main
from index.errors import OptionError, UserError
from index.records import Prediction
from retrieval.answers import Classification
from retrieval.figures.answers import classified_rows
from retrieval.figures.canvas import Look
from retrieval.figures.drawing import save
from retrieval.figures.rows import BELOW, SIDE, Bar, SheetRow, Tile
from retrieval.figures.sheet import draw_sheet, write_sheet
from retrieval.figures.sheet_page import sheet_html
from retrieval.figures.style import DARK, GAP, LIGHT, MARGIN
from retrieval.photos.previews import Previews

PREVIEWS = Previews(None)


def test_a_panorama_is_letterboxed_and_the_query_at_the_left(tmp_path: Path) -> None:
    Image.new("RGB", (800, 200), "red").save(tmp_path / "wide.png")
    Image.new("RGB", (200, 800), "blue").save(tmp_path / "high.png")
    row = SheetRow((Tile((tmp_path / "high.png",), ("0.5",)),), Tile((tmp_path / "wide.png",), ("query",)))
    sheet = draw_sheet([row], PREVIEWS)
    pixels = [sheet.getpixel((x, MARGIN + SIDE - 5)) for x in (MARGIN + 2, sheet.width - MARGIN - SIDE // 2)]
    assert [max(range(3), key=pixel.__getitem__) for pixel in pixels if isinstance(pixel, tuple)] == [0, 2]
    assert sheet.getpixel((MARGIN + 2, MARGIN + 2)) == (255, 255, 255)


def test_a_row_is_no_higher_than_its_photos(tmp_path: Path) -> None:
    for name, size in (("wide", (800, 200)), ("high", (200, 800)), ("small", (90, 60))):
        Image.new("RGB", size, "red").save(tmp_path / f"{name}.png")

    def shown(*names: str) -> int:
        row = SheetRow(tuple(Tile((tmp_path / f"{name}.png",), ("a name",)) for name in names))
        page = sheet_html([row], PREVIEWS)
        (high,) = re.findall(r"--high:(\d+)px", page)
        assert draw_sheet([row], PREVIEWS).height == int(high) + row.text_height + 2 * MARGIN
        return int(high)

    assert shown("wide") == SIDE // 4
    assert shown("wide", "small") == 60
    assert shown("wide", "high", "small") == SIDE
    assert shown("wide", "gone") == SIDE // 2
    # Each line of a row that goes on below has a height of its own.
    seven = SheetRow(tuple(Tile((tmp_path / f"{name}.png",), ()) for name in ("high", *["wide"] * 6)))
    assert draw_sheet([seven], PREVIEWS).height == SIDE + SIDE // 4 + 2 * seven.text_height + BELOW + 2 * MARGIN


def test_html_holds_the_pictures_and_escapes_names(tmp_path: Path) -> None:
    path = tmp_path / 'a<b>&"c".png'
    Image.new("RGB", (300, 100), "red").save(path)
    page = sheet_html([SheetRow((Tile((path,), (path.name,)),))], PREVIEWS)
    assert "a&lt;b&gt;&amp;&quot;c&quot;.png" in page
    assert "a<b>" not in page
    assert f'href="{path.as_uri()}"' in page
    (data,) = re.findall(r"base64,([^\"]+)", page)
    assert Image.open(BytesIO(base64.b64decode(data))).size == (300, 100)
    assert not re.search("https?://", page)


def test_a_photo_that_is_gone_says_so(tmp_path: Path) -> None:
    assert "no such file" in sheet_html([SheetRow((Tile((tmp_path / "gone.png",), ("gone",)),))], PREVIEWS)


def test_too_many_rows_for_a_picture_become_pages_of_a_pdf(tmp_path: Path) -> None:
    rows = [SheetRow((Tile((), ("words",)),))] * 400
    with pytest.raises(OptionError, match="400 rows are too many"):
        write_sheet(rows, tmp_path / "a.png", PREVIEWS)
    write_sheet(rows[:20], tmp_path / "a.pdf", PREVIEWS)
    assert (tmp_path / "a.pdf").read_bytes().count(b"/Type /Page\n") == 3


def test_a_webp_is_refused_before_photos_are_read_where_it_would_be_too_high(tmp_path: Path) -> None:
    rows = [SheetRow((Tile((tmp_path / "never-read.png",), ("a photo",)),))] * 70
    with pytest.raises(OptionError, match="70 rows are too many"):
        write_sheet(rows, tmp_path / "a.webp", PREVIEWS)
    with pytest.raises(OptionError, match="20×16384 pixels is too large for"):
        save(Image.new("RGB", (20, 16_384)), tmp_path / "a.webp")
    save(Image.new("RGB", (20, 16_383)), tmp_path / "a.webp")
    with pytest.raises(OptionError, match="20×65501 pixels is too large for"):
        save(Image.new("RGB", (20, 65_501)), tmp_path / "a.jpg")
    save(Image.new("RGB", (20, 65_500)), tmp_path / "a.jpg")


def test_nothing_found_and_no_place_to_write(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing was found"):
        write_sheet([SheetRow(())], tmp_path / "a.png", PREVIEWS)
    with pytest.raises(UserError, match="cannot be written"):
        write_sheet([SheetRow((Tile((), ("words",)),))], tmp_path / "none" / "a.html", PREVIEWS)


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


@pytest.mark.parametrize("name", ["a.txt", "a.gif", "a", "a.html.bak"])
def test_an_unknown_suffix_is_refused_before_anything_is_done(
    name: str, fc7: Callable[..., Result], make_photo: Callable[..., Path], tmp_path: Path
) -> None:
    photo = make_photo("photos/red.png")
    assert fc7("index", tmp_path / "photos").exit_code == 0
    out = tmp_path / name
    for command in ("search", photo, "--sheet"), ("duplicates", "--sheet"), ("classify", photo, "--picture"):
        found = fc7(*command, out)
        assert (found.exit_code, found.stdout) == (2, ""), command
        assert found.stderr.splitlines() == [
            f"Error: {out} has no suffix of a sheet; name it .html, .png, .jpg, .webp or .pdf"
        ]
    assert not out.exists()


@pytest.mark.parametrize("suffix", [".PNG", ".jpg", ".jpeg", ".webp", ".pdf", ".html"])
def test_every_suffix_that_is_offered_is_written(suffix: str, tmp_path: Path, make_photo: Callable[..., Path]) -> None:
    out = tmp_path / f"sheet{suffix}"
    write_sheet([SheetRow((Tile((make_photo("a.png"),), ("a",)),))], out, PREVIEWS, Look(dark=True, scale=2))
    start = {".png": b"\x89PNG", ".webp": b"RIFF", ".pdf": b"%PDF", ".html": b"<!doctype"}.get(
        suffix.lower(), b"\xff\xd8"
    )
    assert out.read_bytes().startswith(start)


def test_a_place_that_cannot_be_written_is_told_before_the_work(
    fc7: Callable[..., Result], make_photo: Callable[..., Path], tmp_path: Path
) -> None:
    photo = make_photo("photos/red.png")
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    for out, user, reason in (
        (folder / "a.png", as_an_ordinary_user, "permission denied"),
        (tmp_path / "none" / "a.png", nullcontext, "no such file or directory"),
        (photo / "a.html", nullcontext, "not a directory"),
    ):
        with user():
            found = fc7("classify", photo, "--model", tmp_path / "no-model.onnx", "--picture", out)
        assert (found.exit_code, found.stdout) == (1, "")
        assert found.stderr == f"Error: {out} cannot be written ({reason}); choose another place\n"
    (tmp_path / "folder.png").mkdir()
    assert "is a directory" in fc7("classify", photo, "--picture", tmp_path / "folder.png").stderr


def test_dark_is_dark_and_sharp_is_twice_as_large(tmp_path: Path, make_photo: Callable[..., Path]) -> None:
    rows = [SheetRow((Tile((make_photo("a.png"),), ("a name",), title="title", bars=(Bar("a", 0.5, True),)),))]
    light, dark, sharp = (draw_sheet(rows, PREVIEWS, look) for look in (Look(), Look(dark=True), Look(scale=2)))
    assert sharp.size == (2 * light.width, 2 * light.height)
    for theme, picture in ((LIGHT, light), (DARK, dark), (LIGHT, sharp)):
        colours = {colour for _, colour in picture.getcolors(picture.width * picture.height) or []}
        wanted = (theme.paper, theme.accent_bar)
        assert {tuple(bytes.fromhex(colour[1:])) for colour in wanted} <= colours
    page, dark_page = (sheet_html(rows, PREVIEWS, dark=dark) for dark in (False, True))
    assert "prefers-color-scheme: dark" in page
    assert "prefers-color-scheme" not in dark_page
    assert LIGHT.paper not in dark_page


def test_a_bar_is_as_long_as_it_is_probable(tmp_path: Path, make_photo: Callable[..., Path]) -> None:
    bars = (Bar("", 0.25), Bar("", 0.75, True), Bar("", 0.0), Bar("", 1.0))
    sheet = draw_sheet([SheetRow((Tile((make_photo("a.png"),), (), bars=bars),))], PREVIEWS, Look(dark=True))
    found = {colour: count for count, colour in sheet.getcolors(sheet.width * sheet.height) or []}
    blue, accent = (found[tuple(bytes.fromhex(colour[1:]))] for colour in (DARK.bar, DARK.accent_bar))
    assert blue / accent == pytest.approx((0.25 + 1) / 0.75, rel=0.1)  # less what is under the percentages


def test_a_long_grid_goes_on_on_the_next_page(tmp_path: Path) -> None:
    tiles = tuple(Tile((), (f"number {number}",)) for number in range(100))
    write_sheet([SheetRow(tiles)], tmp_path / "a.pdf", PREVIEWS)
    assert (tmp_path / "a.pdf").read_bytes().count(b"/Type /Page\n") == 3


def test_the_true_label_is_the_folder_where_it_is_a_class(
    fc7: Callable[..., Result], make_photo: Callable[..., Path], tmp_path: Path
) -> None:
    right, wrong, unknown = (
        make_photo(name, colour, seed=seed)
        for seed, (name, colour) in enumerate([("n00000000/a.png", "red"), ("Red/b.png", "blue"), ("x/c.png", "green")])
    )
    assert fc7("classify", right, wrong, unknown, "-k", 2, "--picture", tmp_path / "a.html").exit_code == 0
    page = (tmp_path / "a.html").read_text("utf-8")
    figures = re.findall(r"<figure>.*?</figure>", page, re.S)
    assert [re.findall("<h2>(.*?)</h2>", figure) for figure in figures] == [["red"], ["red"], [""]]
    bars = [re.findall(r'<div( class=true)? style="--share:.*?"><span>(.*?)</span>', figure) for figure in figures]
    assert [found[0] for found in bars] == [(" class=true", "red"), ("", "blue"), ("", "green")]
    assert all(len(found) == 2 for found in bars)
    assert bars[1][1] in ((" class=true", "red"), ("", "green"))


def test_names_below_a_photo_are_those_of_the_table() -> None:
    cat, tabby, tiger = (
        Prediction(name, None, share) for name, share in (("cat", 0.61), ("tabby", 0.4), ("tiger", 0.21))
    )
    photos = [
        Classification(Path("a.png"), (tabby, tiger), (cat,)),
        Classification(Path("b.png"), (tabby, tiger), ()),
        Classification(Path("c.png"), (tabby, tiger), None),
    ]
    [row] = classified_rows(photos, ())
    assert [[(bar.label, bar.share) for bar in tile.bars] for tile in row.tiles] == [
        [("cat", 0.61), ("tabby?", 0.4), ("tiger?", 0.21)],
        [("tabby?", 0.4), ("tiger?", 0.21)],
        [("tabby", 0.4), ("tiger", 0.21)],
    ]
    assert [tile.lines for tile in row.tiles] == [("a.png",), ("b.png", "unsure"), ("c.png",)]


def test_several_photos_as_one_query_are_shown_together(
    fc7: Callable[..., Result], make_photo: Callable[..., Path], tmp_path: Path
) -> None:
    photos = [make_photo(f"photos/{number}.png", seed=number) for number in range(3)]
    make_photo("photos/other.png", "blue")
    assert fc7("index", tmp_path / "photos").exit_code == 0
    assert fc7("search", *photos, "--average", "-k", 1, "--sheet", tmp_path / "a.html").exit_code == 0
    asked, found = re.findall(r"<figure>.*?</figure>", (tmp_path / "a.html").read_text("utf-8"), re.S)
    assert "query: 3 photos together<br>0.png<br>1.png<br>…" in asked
    assert asked.count("<img") == 3
    assert found.count("<img") == 1


def test_a_photo_on_standard_input_is_shown_by_that_name(
    tiny_model: Path, make_photo: Callable[..., Path], tmp_path: Path
) -> None:
    photo = make_photo("photos/a.png")
    settings = {"FC7_MODEL": str(tiny_model), "FC7_INDEX": str(tmp_path / "index")}
    CliRunner().invoke(main, ["index", str(tmp_path / "photos")], env=settings)
    for command in ("search", "-", "--sheet"), ("classify", "-", "--picture"):
        out = tmp_path / f"{command[0]}.html"
        found = CliRunner().invoke(main, [*command, str(out)], env=settings, input=photo.read_bytes())
        assert found.exit_code == 0, found.output
        figure = re.findall(r"<figure>.*?</figure>", out.read_text("utf-8"), re.S)[0]
        assert "standard input" in figure
        assert "<img" in figure
        assert "href" not in figure


def test_options_of_a_picture_need_one(fc7: Callable[..., Result], make_photo: Callable[..., Path]) -> None:
    photo = make_photo("a.png")
    for option in (["--dark"], ["--scale", "2"]):
        found = fc7("classify", photo, *option)
        assert found.exit_code == 2
        assert f"{option[0]} without --picture" in found.stderr
    assert "--preview goes with a table" in fc7("classify", photo, "--preview", "--format", "json").stderr


def test_a_photo_is_never_replaced_by_a_picture(
    fc7: Callable[..., Result], make_photo: Callable[..., Path], tmp_path: Path
) -> None:
    first, second = make_photo("photos/a.jpg"), make_photo("photos/b.jpg", "blue")
    before = first.read_bytes()
    assert fc7("index", tmp_path / "photos").exit_code == 0
    for command in (
        # As a shell expands `--picture *.jpg`.
        *(("classify", "--picture", first, second), ("search", "--sheet", first, second)),
        *(("duplicates", "--sheet", first), ("detect", "--picture", first, second)),
        *(("show", "map", "-o", first), ("show", "collage", "-o", first), ("show", "filters", "builtin", "-o", first)),
    ):
        found = fc7(*command)
        assert (found.exit_code, found.stdout) == (1, ""), command
        assert f"{first} is there already, and fc7 did not draw it" in found.stderr
    assert first.read_bytes() == before


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".pdf", ".html"])
def test_what_was_drawn_is_drawn_again(suffix: str, tmp_path: Path, make_photo: Callable[..., Path]) -> None:
    out, photo = tmp_path / f"sheet{suffix}", make_photo("a.png")
    for name in "first", "second":
        write_sheet([SheetRow((Tile((photo,), (name,)),))], out, PREVIEWS)
    out.write_bytes(b"")  # as mktemp makes it
    write_sheet([SheetRow((Tile((photo,), ("third",)),))], out, PREVIEWS)
    assert out.stat().st_size
