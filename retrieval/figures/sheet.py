"""Sheets of photos to look at: rows of photos with text and bars below each, as a picture, a PDF or one HTML file."""

import html
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Literal, TypeVar

from PIL import Image

from index.errors import OptionError, PhotoError, UserError
from index.files import check_output, output_file
from retrieval.figures.canvas import PLAIN, Canvas, Look
from retrieval.figures.drawing import FORMATS, PER_INCH, check_no_photo, save
from retrieval.figures.page import file_address, html_page, jpeg_address
from retrieval.figures.style import GAP, MARGIN, SMALL, TEXT
from retrieval.photos.previews import Previews
from retrieval.pipeline.executor import prepare_photos
from retrieval.text import printable

SIDE = 200
"""Of the square that a photo is shown in, unless its row has another."""
WIDTH = 6 * (SIDE + GAP) - GAP
"""Of photos beside each other; a longer row goes on below."""
LARGE = 320
"""From this side of a photo on, its text is larger."""
BELOW, BETWEEN = 20, 24
"""Between the lines of a row, and between rows."""
TOGETHER = 3
"""At most so many photos by so many are shown in one square."""
MAX_PIXELS = 120_000_000
"""Of a picture in one piece: viewers refuse larger ones, and a JPEG has at most 65,535 rows."""
MAX_HEIGHT = 65_000
PAGE = 2_000
"""Height of a page of a PDF, in units, unless one line of photos needs more."""

Shown = TypeVar("Shown")

_STYLE = """
body { margin: 20px; background: var(--paper); color: var(--ink); font: 13px/1.4 system-ui, sans-serif }
section { display: flex; gap: 8px; padding: 12px 0; border-bottom: 1px solid var(--line) }
section > div { display: flex; flex-wrap: wrap; gap: 20px 8px }
figure { margin: 0; width: var(--side); flex: none }
figure > a, figure > p { display: flex; flex-wrap: wrap; width: var(--side); height: var(--side); margin: 0;
  align-content: end; align-items: end; justify-content: center; overflow: hidden; overflow-wrap: anywhere;
  text-align: center; color: var(--ink) }
figure img { max-width: var(--part); max-height: var(--part) }
figcaption { color: var(--grey); overflow-wrap: anywhere; padding-top: 4px }
figcaption:has(div) { text-align: center }
figcaption h2 { margin: 0; min-height: 1.4em; font-size: 1em; text-align: center; color: var(--ink) }
figcaption div { display: flex; justify-content: space-between; gap: 8px; margin-top: 3px; padding: 1px 4px;
  color: var(--ink); background: linear-gradient(var(--bar) 0 0) 0 0 / var(--share) 100% no-repeat }
figcaption div.true { background-image: linear-gradient(var(--accent_bar) 0 0) }
b { color: var(--accent); font-weight: normal }
"""


@dataclass(frozen=True, slots=True)
class Bar:
    """A name with a share from 0 to 1, and whether it is the true one, which has another colour."""

    label: str
    share: float
    true: bool = False


@dataclass(frozen=True, slots=True)
class Tile:
    """Photos, files or the bytes of such, in one square, or without any the first line; and what is below them.

    That is a title, lines, of which those of `marked` numbers are coloured, and bars.
    """

    photos: tuple[Path | bytes, ...]
    lines: tuple[str, ...]
    marked: frozenset[int] = frozenset()
    title: str = ""
    bars: tuple[Bar, ...] = ()

    @property
    def across(self) -> int:
        """How many photos are beside each other in the square; those that do not fit are left out."""
        return min(TOGETHER, math.ceil(math.sqrt(len(self.photos)))) or 1


@dataclass(frozen=True, slots=True)
class SheetRow:
    """Photos beside each other in squares of a side, and what stands at their left, if anything."""

    tiles: tuple[Tile, ...]
    left: Tile | None = None
    side: int = SIDE

    @property
    def all_tiles(self) -> tuple[Tile, ...]:
        """Those at the left and the others."""
        return self.tiles if self.left is None else (self.left, *self.tiles)

    @property
    def columns(self) -> int:
        """How many tiles are beside each other, without that at the left."""
        return max(1, min(len(self.tiles), (WIDTH + GAP) // (self.side + GAP)))

    @property
    def width(self) -> int:
        """The width of all tiles, in units."""
        return (self.columns + (self.left is not None)) * (self.side + GAP) - GAP

    @property
    def tile_height(self) -> int:
        """The height of the highest tile."""
        tiles = self.all_tiles
        lines = any(tile.title for tile in tiles) + max(len(tile.lines) for tile in tiles)
        bars = max(len(tile.bars) for tile in tiles)
        return self.side + 4 + lines * _line_height(self) + bars * _bar_height(self)

    @property
    def height(self) -> int:
        """The height of all lines of tiles."""
        return max(1, -(-len(self.tiles) // self.columns)) * (self.tile_height + BELOW) - BELOW


def check_sheet(path: Path) -> None:
    """Raise OptionError for the name of a sheet whose format is not known, before time is spent on it.

    Raises UserError where it cannot be written, and for a photo.
    """
    if path.suffix.lower() not in (".html", *FORMATS):
        raise OptionError(f"{path} has no suffix of a sheet; name it .html, .png, .jpg, .webp or .pdf")
    check_output(path)
    check_no_photo(path)


def write_sheet(rows: Sequence[SheetRow], path: Path, previews: Previews, look: Look = PLAIN) -> None:
    """Write a sheet. Raises UserError where there is nothing to show, or the file cannot be written.

    Raises OptionError for an unknown suffix, and for more rows than one picture can hold.
    """
    check_sheet(path)
    if not any(row.tiles for row in rows):
        raise UserError(f"nothing was found to show: {path} was not written")
    if path.suffix.lower() == ".html":
        page = sheet_html(rows, previews, dark=look.dark).encode()
        with output_file(path) as file:
            file.write(page)
    elif path.suffix.lower() == ".pdf":
        first, *others = (draw_sheet(page, previews, look) for page in _pages(rows))
        data = BytesIO()
        resolution = PER_INCH * look.scale
        first.save(data, "PDF", save_all=True, append_images=others, resolution=resolution, quality=92)
        with output_file(path) as file:
            file.write(data.getvalue())
    else:
        save(draw_sheet(rows, previews, look), path)


def draw_sheet(rows: Sequence[SheetRow], previews: Previews, look: Look = PLAIN) -> Image.Image:
    """Draw rows below each other. Raises OptionError for more than one picture can hold."""
    width = 2 * MARGIN + max(row.width for row in rows)
    height = 2 * MARGIN + sum(row.height + BETWEEN for row in rows) - BETWEEN
    pixels = width * height * look.scale**2
    if height * look.scale > MAX_HEIGHT or pixels > MAX_PIXELS:
        raise OptionError(f"{len(rows):,} rows are too many for one picture; write a .html or a .pdf")
    canvas = Canvas(width, height, look)
    pictures = pictures_of(rows, partial(_picture, previews=previews))
    y = MARGIN
    for number, row in enumerate(rows):
        if number:
            canvas.box(MARGIN, y - BETWEEN // 2, width - 2 * MARGIN, 1, fill=canvas.theme.line)
        if row.left is not None:
            _draw_tile(canvas, row, row.left, MARGIN, y, next(pictures))
        start = MARGIN + (row.side + GAP if row.left is not None else 0)
        for place, tile in enumerate(row.tiles):
            below, beside = divmod(place, row.columns)
            x = start + beside * (row.side + GAP)
            _draw_tile(canvas, row, tile, x, y + below * (row.tile_height + BELOW), next(pictures))
        y += row.height + BETWEEN
    return canvas.image


def sheet_html(rows: Sequence[SheetRow], previews: Previews, *, dark: bool = False) -> str:
    """Return a page in one file: the previews are in it, sharp enough for 2×, and each links to its photo."""
    pictures = pictures_of(rows, partial(_address, previews=previews))
    sections = []
    for row in rows:
        left = "" if row.left is None else _tile_html(row, row.left, next(pictures))
        found = "".join(_tile_html(row, tile, next(pictures)) for tile in row.tiles)
        sections.append(f'<section style="--side:{row.side}px">{left}<div>{found}</div></section>')
    return html_page("fc7", _STYLE, "\n".join(sections), dark=dark)


def pictures_of(
    rows: Sequence[SheetRow], load: Callable[[Path | bytes, int], Shown]
) -> Iterator[tuple[Shown | PhotoError, ...]]:
    """Yield the photos of each tile, row by row, the left one first, as `load` gives them for a side of pixels.

    They are loaded by as many threads as there are cores, a few tiles ahead. In the place of a photo that cannot be
    read is the error. There are twice as many pixels as units.
    """

    def loaded(photo: Path | bytes, side: int) -> Shown | PhotoError:
        try:
            return load(photo, side)
        except PhotoError as error:
            return error

    def tile_pictures(asked: tuple[Tile, int]) -> tuple[Shown | PhotoError, ...]:
        tile, side = asked
        return tuple(loaded(photo, 2 * (side // tile.across)) for photo in tile.photos[: tile.across**2])

    for _, shown in prepare_photos(((tile, row.side) for row in rows for tile in row.all_tiles), tile_pictures):
        assert not isinstance(shown, PhotoError)
        yield shown


def _picture(photo: Path | bytes, side: int, *, previews: Previews) -> Image.Image:
    return previews.preview(photo, side)


def _address(photo: Path | bytes, side: int, *, previews: Previews) -> str:
    return jpeg_address(previews.jpeg(photo, side))


def _pages(rows: Sequence[SheetRow]) -> list[list[SheetRow]]:
    """Return the rows of each page; a row that is too high for one goes on on the next."""
    pages, used = list[list[SheetRow]]([[]]), 0
    for row in chain.from_iterable(map(_parts, rows)):
        height = row.height + BETWEEN
        if pages[-1] and used + height > PAGE:
            pages.append([])
            used = 0
        pages[-1].append(row)
        used += height
    return pages


def _parts(row: SheetRow) -> Iterator[SheetRow]:
    lines = max(1, (PAGE - BETWEEN + BELOW) // (row.tile_height + BELOW))
    for start in range(0, max(len(row.tiles), 1), lines * row.columns):
        yield replace(row, tiles=row.tiles[start : start + lines * row.columns])


def _size(row: SheetRow) -> int:
    return TEXT if row.side >= LARGE else SMALL


def _line_height(row: SheetRow) -> int:
    return _size(row) + 5


def _bar_height(row: SheetRow) -> int:
    return _size(row) + 10


def _draw_tile(
    canvas: Canvas, row: SheetRow, tile: Tile, x: int, y: int, pictures: Sequence[Image.Image | PhotoError]
) -> None:
    side, size, theme = row.side, _size(row), canvas.theme
    part = side // tile.across
    for number, picture in enumerate(pictures or [None]):
        below, beside = divmod(number, tile.across)
        empty = tile.across - -(-len(pictures) // tile.across) if pictures else 0
        left, top = x + beside * part, y + (empty + below) * part
        if isinstance(picture, Image.Image):
            canvas.picture(left, top, part, picture)
        else:
            canvas.box(left, top, part, part, outline=theme.line)
            words = str(picture) if picture is not None else _words(tile)
            canvas.text(left + 4, top + part // 2 - size, words, theme.ink, size, width=part - 8, align="centre")
    y += side + 4
    if any(other.title for other in row.all_tiles):
        canvas.text(x, y, tile.title, theme.ink, size, width=side, align="centre", bold=True)
        y += _line_height(row)
    for number, line in enumerate(tile.lines):
        colour = theme.accent if number in tile.marked else theme.grey
        align: Literal["left", "centre"] = "centre" if tile.bars else "left"
        canvas.text(x, y + number * _line_height(row), line, colour, size, width=side, align=align)
    y += max(len(other.lines) for other in row.all_tiles) * _line_height(row)
    for number, bar in enumerate(tile.bars):
        top = y + number * _bar_height(row) + 2
        colour = theme.accent_bar if bar.true else theme.bar
        canvas.box(x, top, bar.share * side, _bar_height(row) - 3, fill=colour)
        beside = 3 * size
        canvas.text(x + 4, top + 1, bar.label, theme.ink, size, width=side - beside - 4)
        canvas.text(x + side - beside - 4, top + 1, f"{bar.share:.0%}", theme.ink, size, width=beside, align="right")


def _tile_html(row: SheetRow, tile: Tile, pictures: Sequence[str | PhotoError]) -> str:
    part = f'style="--part:{row.side // tile.across}px"'
    parts = (
        f"<span {part}>{html.escape(str(picture))}</span>"
        if isinstance(picture, PhotoError)
        else f'<img {part} alt="" src="{picture}">'
        for picture in pictures
    )
    inside = "".join(parts) or html.escape(_words(tile))
    if len(tile.photos) == 1 and isinstance(path := tile.photos[0], Path):
        shown = f'<a href="{file_address(path)}">{inside}</a>'
    else:
        shown = f"<p>{inside}</p>"
    lines = [html.escape(printable(line)) for line in tile.lines]
    marked = [f"<b>{line}</b>" if number in tile.marked else line for number, line in enumerate(lines)]
    titled = any(other.title for other in row.all_tiles)
    title = f"<h2>{html.escape(printable(tile.title))}</h2>" if titled else ""
    bars = "".join(
        f'<div{" class=true" * bar.true} style="--share:{bar.share:.1%}">'
        f"<span>{html.escape(printable(bar.label))}</span><span>{bar.share:.0%}</span></div>"
        for bar in tile.bars
    )
    return f"<figure>{shown}<figcaption>{title}{'<br>'.join(marked)}{bars}</figcaption></figure>"


def _words(tile: Tile) -> str:
    """Return what stands in the place of photos where there are none."""
    return printable(tile.lines[0] if tile.lines else "")
