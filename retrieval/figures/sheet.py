"""Sheets of photos to look at: rows of photos with text and bars below each, as a picture, a PDF or one HTML file."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Literal

from PIL import Image

from index.errors import OptionError, PhotoError, UserError
from index.files import check_output, output_file
from retrieval.figures.canvas import PLAIN, Canvas, Look
from retrieval.figures.drawing import FORMATS, PER_INCH, check_no_photo, most_pixels, save
from retrieval.figures.rows import BELOW, SheetRow, Tile, pictures_of
from retrieval.figures.sheet_page import sheet_html
from retrieval.figures.style import MARGIN
from retrieval.photos.previews import Previews

BETWEEN = 24
"""Between rows."""
MAX_PIXELS = 120_000_000
"""Of a picture in one piece: viewers refuse larger ones, and higher ones."""
MAX_HEIGHT = 65_000
PAGE = 2_000
"""Height of a page of a PDF, in units, unless one line of photos needs more."""


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
        save(draw_sheet(rows, previews, look, most_rows=min(MAX_HEIGHT, most_pixels(path))), path)


def draw_sheet(
    rows: Sequence[SheetRow], previews: Previews, look: Look = PLAIN, *, most_rows: int = MAX_HEIGHT
) -> Image.Image:
    """Draw rows below each other. Raises OptionError for more than one picture of `most_rows` pixels can hold."""
    width = 2 * MARGIN + max(row.width for row in rows)
    height = 2 * MARGIN + sum(row.height + BETWEEN for row in rows) - BETWEEN
    pixels = width * height * look.scale**2
    if height * look.scale > most_rows or pixels > MAX_PIXELS:
        raise OptionError(f"{len(rows):,} rows are too many for one picture; write a .html or a .pdf")
    canvas = Canvas(width, height, look)
    pictures = pictures_of(rows, partial(_picture, previews=previews, scale=look.scale))
    y = MARGIN
    for number, row in enumerate(rows):
        if number:
            canvas.box(MARGIN, y - BETWEEN // 2, width - 2 * MARGIN, 1, fill=canvas.theme.line)
        for line in row.lines:
            shown = [(tile, x, next(pictures)) for tile, x in line]
            high = max(tile.height(row.side, [_size(one) for one in found]) for tile, _, found in shown)
            for tile, x, found in shown:
                _draw_tile(canvas, row, tile, MARGIN + x, y - row.side + high, high, found)
            y += high + row.text_height + BELOW
        y += BETWEEN - BELOW
    return canvas.image.crop((0, 0, canvas.image.width, (y - BETWEEN + MARGIN) * look.scale))


def _size(picture: Image.Image | PhotoError) -> tuple[int, int] | None:
    return picture.size if isinstance(picture, Image.Image) else None


def _picture(photo: Path | bytes, side: int, *, previews: Previews, scale: int) -> Image.Image:
    return previews.preview(photo, side, shown=side * scale // 2)


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


def _draw_tile(
    canvas: Canvas, row: SheetRow, tile: Tile, x: int, y: int, high: int, pictures: Sequence[Image.Image | PhotoError]
) -> None:
    """Draw a tile with the upper left corner of its square at a place; words have no more than the lower `high`."""
    side, size, theme = row.side, row.text_size, canvas.theme
    part = side // tile.across
    for number, picture in enumerate(pictures or [None]):
        below, beside = divmod(number, tile.across)
        empty = tile.across - -(-len(pictures) // tile.across) if pictures else 0
        left, top = x + beside * part, y + (empty + below) * part
        if isinstance(picture, Image.Image):
            canvas.picture(left, top, part, picture)
        else:
            room = min(part, high)
            canvas.box(left, top + part - room, part, room, outline=theme.line)
            words = str(picture) if picture is not None else tile.words
            canvas.text(left + 4, top + part - room // 2 - size, words, theme.ink, size, width=part - 8, align="centre")
    y += side + 4
    if row.titled:
        canvas.text(x, y, tile.title, theme.ink, size, width=side, align="centre", bold=True)
        y += row.line_height
    for number, line in enumerate(tile.lines):
        colour = theme.accent if number in tile.marked else theme.grey
        align: Literal["left", "centre"] = "centre" if tile.bars else "left"
        canvas.text(x, y + number * row.line_height, line, colour, size, width=side, align=align)
    y += row.most_lines * row.line_height
    for number, bar in enumerate(tile.bars):
        top = y + number * row.bar_height + 2
        colour = theme.accent_bar if bar.true else theme.bar
        canvas.box(x, top, bar.share * side, row.bar_height - 3, fill=colour)
        beside = 3 * size
        canvas.text(x + 4, top + 1, bar.label, theme.ink, size, width=side - beside - 4)
        canvas.text(x + side - beside - 4, top + 1, f"{bar.share:.0%}", theme.ink, size, width=beside, align="right")
