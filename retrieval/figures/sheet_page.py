"""A sheet of photos as a page in one file: the photos are in it, and each links to its file."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

from PIL import Image

from index.errors import PhotoError
from retrieval.figures.page import file_address, html_page, jpeg_address
from retrieval.figures.rows import SheetRow, Tile, pictures_of
from retrieval.photos.previews import Previews
from retrieval.text import printable

_STYLE = """
body { margin: 20px; background: var(--paper); color: var(--ink); font: 13px/1.4 system-ui, sans-serif }
section { display: flex; gap: 8px; padding: 12px 0; border-bottom: 1px solid var(--line) }
section > div { display: flex; flex-wrap: wrap; gap: 20px 8px }
figure { margin: 0; width: var(--side); flex: none }
figure > a, figure > p { display: flex; flex-wrap: wrap; width: var(--side); height: var(--high); margin: 0;
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
class _PagePicture:
    """A photo in a page, and its width and height in pixels."""

    address: str
    size: tuple[int, int]


def sheet_html(rows: Sequence[SheetRow], previews: Previews, *, dark: bool = False) -> str:
    """Return a page in one file: the previews are in it, sharp enough for 2×, and each links to its photo."""
    pictures = pictures_of(rows, partial(_page_picture, previews=previews))
    sections = []
    for row in rows:
        shown = [(tile, next(pictures)) for tile in row.all_tiles]
        high = max(
            tile.height(row.side, [None if isinstance(one, PhotoError) else one.size for one in found])
            for tile, found in shown
        )
        tiles = [_tile_html(row, tile, found) for tile, found in shown]
        left = "" if row.left is None else tiles.pop(0)
        sections.append(
            f'<section style="--side:{row.side}px; --high:{high}px">{left}<div>{"".join(tiles)}</div></section>'
        )
    return html_page("fc7", _STYLE, "\n".join(sections), dark=dark)


def _page_picture(photo: Path | bytes, side: int, *, previews: Previews) -> _PagePicture:
    data = previews.jpeg(photo, side)
    return _PagePicture(jpeg_address(data), Image.open(BytesIO(data)).size)


def _tile_html(row: SheetRow, tile: Tile, pictures: Sequence[_PagePicture | PhotoError]) -> str:
    part = f'style="--part:{row.side // tile.across}px"'
    parts = (
        f"<span {part}>{html.escape(str(picture))}</span>"
        if isinstance(picture, PhotoError)
        else f'<img {part} alt="" src="{picture.address}">'
        for picture in pictures
    )
    inside = "".join(parts) or html.escape(tile.words)
    if len(tile.photos) == 1 and isinstance(path := tile.photos[0], Path):
        shown = f'<a href="{file_address(path)}">{inside}</a>'
    else:
        shown = f"<p>{inside}</p>"
    lines = [html.escape(printable(line)) for line in tile.lines]
    marked = [f"<b>{line}</b>" if number in tile.marked else line for number, line in enumerate(lines)]
    title = f"<h2>{html.escape(printable(tile.title))}</h2>" if row.titled else ""
    bars = "".join(
        f'<div{" class=true" * bar.true} style="--share:{bar.share:.1%}">'
        f"<span>{html.escape(printable(bar.label))}</span><span>{bar.share:.0%}</span></div>"
        for bar in tile.bars
    )
    return f"<figure>{shown}<figcaption>{title}{'<br>'.join(marked)}{bars}</figcaption></figure>"
