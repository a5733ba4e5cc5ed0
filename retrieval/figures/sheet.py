"""Sheets of photos to look at: rows of photos with text below each, as a picture, a PDF or one HTML file."""

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw

from index.errors import OptionError, PhotoError, UserError
from index.files import absolute, output_file
from retrieval.figures.drawing import FORMATS, save
from retrieval.figures.style import (
    ACCENT,
    GAP,
    GREY,
    INK,
    LINE,
    MARGIN,
    PAPER,
    SMALL,
    shortened,
    text_width,
    write_text,
)
from retrieval.photos.previews import Previews
from retrieval.text import printable

SIDE = 200
COLUMNS = 6
"""Photos beside each other; a longer row goes on below."""
LINE_HEIGHT = SMALL + 5
BETWEEN = 24
MAX_PIXELS = 120_000_000
"""Of a picture in one piece: viewers refuse larger ones, and a JPEG has at most 65,535 rows."""
MAX_HEIGHT = 65_000
PAGE = 2_000
"""Height of a page of a PDF, in pixels, unless one row needs more."""

_STYLE = """
:root { color-scheme: light dark; --ink: #202124; --grey: #6b7075; --line: #d4d7da; --paper: #fff; --accent: #c2410c }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8eaed; --grey: #a0a5aa; --line: #3c4043; --paper: #17181a; --accent: #fb923c } }
body { margin: 20px; background: var(--paper); color: var(--ink); font: 13px/1.4 system-ui, sans-serif }
section { display: flex; gap: 8px; padding: 12px 0; border-bottom: 1px solid var(--line) }
section > div { display: flex; flex-wrap: wrap; gap: 8px }
figure { margin: 0; width: 200px; flex: none }
figure > a, figure > p { display: flex; width: 200px; height: 200px; margin: 0; align-items: end;
  justify-content: center; overflow: hidden; overflow-wrap: anywhere; text-align: center; color: var(--ink) }
figure img { max-width: 200px; max-height: 200px }
figcaption { color: var(--grey); overflow-wrap: anywhere }
b { color: var(--accent); font-weight: normal }
""".strip()


@dataclass(frozen=True, slots=True)
class Tile:
    """A photo, or without a path its first line large, with lines below; those of `marked` numbers are coloured."""

    path: Path | None
    lines: tuple[str, ...]
    marked: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class SheetRow:
    """Photos beside each other, and what stands at their left, if anything."""

    tiles: tuple[Tile, ...]
    left: Tile | None = None


def check_sheet(path: Path) -> None:
    """Raise OptionError for the name of a sheet whose format is not known, before time is spent on it."""
    if path.suffix.lower() not in (".html", *FORMATS):
        raise OptionError(f"{path} has no suffix of a sheet; name it .html, .png, .jpg, .webp or .pdf")


def write_sheet(rows: Sequence[SheetRow], path: Path, previews: Previews) -> None:
    """Write a sheet. Raises UserError where there is nothing to show, or the file cannot be written.

    Raises OptionError for an unknown suffix, and for more rows than one picture can hold.
    """
    check_sheet(path)
    if not any(row.tiles for row in rows):
        raise UserError(f"nothing was found to show: {path} was not written")
    if path.suffix.lower() == ".html":
        page = sheet_html(rows, previews).encode()
        with output_file(path) as file:
            file.write(page)
    elif path.suffix.lower() == ".pdf":
        first, *others = (draw_sheet(page, previews) for page in _pages(rows))
        data = BytesIO()
        first.save(data, "PDF", save_all=True, append_images=others, resolution=100, quality=92)
        with output_file(path) as file:
            file.write(data.getvalue())
    else:
        save(draw_sheet(rows, previews), path)


def draw_sheet(rows: Sequence[SheetRow], previews: Previews) -> Image.Image:
    """Draw rows below each other. Raises OptionError for more than one picture can hold."""
    columns = max(min(len(row.tiles), COLUMNS) + (row.left is not None) for row in rows)
    width = 2 * MARGIN + columns * (SIDE + GAP) - GAP
    height = 2 * MARGIN + sum(_height(row) + BETWEEN for row in rows) - BETWEEN
    if height > MAX_HEIGHT or width * height > MAX_PIXELS:
        raise OptionError(f"{len(rows):,} rows are too many for one picture; write a .html or a .pdf")
    sheet = Image.new("RGB", (width, height), PAPER)
    y = MARGIN
    for number, row in enumerate(rows):
        if number:
            ImageDraw.Draw(sheet).line([(MARGIN, y - BETWEEN // 2), (width - MARGIN, y - BETWEEN // 2)], LINE)
        if row.left is not None:
            _draw_tile(sheet, row.left, MARGIN, y, previews)
        start = MARGIN + (SIDE + GAP if row.left is not None else 0)
        for place, tile in enumerate(row.tiles):
            below = place // COLUMNS * (_tile_height(row) + GAP)
            _draw_tile(sheet, tile, start + place % COLUMNS * (SIDE + GAP), y + below, previews)
        y += _height(row) + BETWEEN
    return sheet


def sheet_html(rows: Sequence[SheetRow], previews: Previews) -> str:
    """Return a page in one file: the previews are in it, and each links to its photo."""
    sections = []
    for row in rows:
        left = "" if row.left is None else _tile_html(row.left, previews)
        found = "".join(_tile_html(tile, previews) for tile in row.tiles)
        sections.append(f"<section>{left}<div>{found}</div></section>\n")
    head = f'<meta charset="utf-8"><title>fc7</title><style>{_STYLE}</style>'
    return f"<!doctype html>\n<html lang=en><head>{head}</head><body>\n{''.join(sections)}</body></html>\n"


def _pages(rows: Sequence[SheetRow]) -> list[list[SheetRow]]:
    pages, used = list[list[SheetRow]]([[]]), 0
    for row in rows:
        height = _height(row) + BETWEEN
        if pages[-1] and used + height > PAGE:
            pages.append([])
            used = 0
        pages[-1].append(row)
        used += height
    return pages


def _tile_height(row: SheetRow) -> int:
    tiles = row.tiles if row.left is None else (*row.tiles, row.left)
    return SIDE + 4 + LINE_HEIGHT * max(len(tile.lines) for tile in tiles)


def _height(row: SheetRow) -> int:
    lines = max(1, -(-len(row.tiles) // COLUMNS))
    return lines * (_tile_height(row) + GAP) - GAP


def _draw_tile(sheet: Image.Image, tile: Tile, x: int, y: int, previews: Previews) -> None:
    draw = ImageDraw.Draw(sheet)
    picture, reason = _picture(tile, SIDE, previews)
    if picture is None:
        draw.rectangle([x, y, x + SIDE - 1, y + SIDE - 1], outline=LINE)
        text = shortened(reason, SIDE - 2 * GAP, SMALL)
        write_text(draw, (x + (SIDE - text_width(text, SMALL)) // 2, y + SIDE // 2 - SMALL), text, INK, SMALL)
    else:
        sheet.paste(picture, (x + (SIDE - picture.width) // 2, y + SIDE - picture.height))  # close to its text
    for number, line in enumerate(tile.lines):
        colour = ACCENT if number in tile.marked else GREY
        text = shortened(line, SIDE, SMALL)
        write_text(draw, (x, y + SIDE + 4 + number * LINE_HEIGHT), text, colour, SMALL)


def _tile_html(tile: Tile, previews: Previews) -> str:
    picture, reason = _picture(tile, 2 * SIDE, previews)
    if picture is None:
        shown = f"<p>{html.escape(reason)}</p>"
    else:
        data = BytesIO()
        picture.save(data, "JPEG", quality=85)
        shown = f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}">'
    if tile.path is not None:
        shown = f'<a href="{html.escape(Path(absolute(tile.path)).as_uri())}">{shown}</a>'
    lines = [html.escape(printable(line)) for line in tile.lines]
    marked = [f"<b>{line}</b>" if number in tile.marked else line for number, line in enumerate(lines)]
    return f"<figure>{shown}<figcaption>{'<br>'.join(marked)}</figcaption></figure>"


def _picture(tile: Tile, side: int, previews: Previews) -> tuple[Image.Image | None, str]:
    """Return the preview of a tile, or None and what to say in its place."""
    if tile.path is None:
        return None, printable(tile.lines[0] if tile.lines else "")
    try:
        return previews.preview(tile.path, side), ""
    except PhotoError as error:
        return None, str(error)
