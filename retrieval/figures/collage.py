"""One picture of what is in a collection: a photo for each group, the larger the more photos are like it."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from index.files import output_file
from index.photo_index import PhotoIndex
from index.records import SkippedPhoto
from retrieval.figures.canvas import PLAIN, Canvas, Look
from retrieval.figures.drawing import save
from retrieval.figures.page import data_address, file_address, html_page
from retrieval.figures.sheet import check_sheet
from retrieval.figures.style import GAP, MARGIN, SMALL, shortened
from retrieval.overview.groups import Shown, common_labels, group_photos, shown_photos
from retrieval.photos.previews import Previews
from retrieval.pipeline.progress import Progress
from retrieval.text import printable

WIDTH = 1600
AREA = WIDTH * 1000
"""Of all photos together, in square units, about."""
SIDE = 720
"""Pixels of a photo that is read: as large as the largest is drawn, about, at a scale of 1."""
HIGHEST = 480
WIDEST, NARROWEST = 3.0, 0.5
"""Width by height of a photo's place: a panorama that is wider is letterboxed."""
BELOW = SMALL + 14


@dataclass(frozen=True, eq=False)
class Collage:
    """Photos with the names of their groups, "" for none, in rows; and for each row how high it is, in pixels."""

    rows: Sequence[Sequence[tuple[Shown, str]]]
    heights: Sequence[float]


def collage_of(
    index: PhotoIndex,
    previews: Previews,
    *,
    most: int,
    side: int = SIDE,
    skipped: list[SkippedPhoto],
    progress: Progress | None = None,
) -> Collage:
    """Choose photos for at most `most` groups, read them at `side` pixels, and lay them out.

    Raises UserError for an index without photos, PhotoError where none can be read.
    """
    groups = group_photos(index, most)
    shown = shown_photos(index, groups, previews, side, skipped=skipped, progress=progress)
    labels = common_labels(index, [photo.group for photo in shown])
    ratios = [_ratio(photo.picture) for photo in shown]
    breaks, heights = rows_of(ratios, [len(photo.group.ids) for photo in shown])
    named = list(zip(shown, labels, strict=True))
    return Collage([named[start:end] for start, end in breaks], heights)


def rows_of(ratios: Sequence[float], counts: Sequence[int]) -> tuple[list[tuple[int, int]], list[float]]:
    """Divide photos into rows that are as wide as the collage, and return where these start and end, and their heights.

    A photo should have an area in the ratio of the root of its count. Rows are chosen so that the squared logarithms
    of what their heights differ from that add up to the least (dynamic programming).
    """
    wanted = [count**0.25 for count in counts]
    factor = math.sqrt(AREA / sum(ratio * high**2 for ratio, high in zip(ratios, wanted, strict=True)))
    wanted = [min(factor * high, HIGHEST) for high in wanted]
    best: list[tuple[float, int]] = [(0.0, 0)]
    for end in range(1, len(ratios) + 1):
        costs = []
        for start in range(end):
            high = _height(ratios[start:end])
            cost = sum(math.log(high / one) ** 2 for one in wanted[start:end])
            costs.append((best[start][0] + cost, start))
        best.append(min(costs))
    rows, end = list[tuple[int, int]](), len(ratios)
    while end:
        rows.append((best[end][1], end))
        end = best[end][1]
    rows.reverse()
    return rows, [_height(ratios[start:end]) for start, end in rows]


def write_collage(drawn: Collage, path: Path, look: Look = PLAIN) -> None:
    """Write a collage. Raises OptionError for an unknown suffix, UserError where the file cannot be written."""
    check_sheet(path)
    if path.suffix.lower() == ".html":
        page = collage_html(drawn, dark=look.dark).encode()
        with output_file(path) as file:
            file.write(page)
    else:
        save(draw_collage(drawn, look), path, look)


def draw_collage(drawn: Collage, look: Look = PLAIN) -> Image.Image:
    """Draw a collage: photos whole, in rows, with the name of their group and its number of photos below."""
    height = 2 * MARGIN + sum(round(high) + BELOW for high in drawn.heights) + GAP * (len(drawn.rows) - 1)
    canvas = Canvas(WIDTH, height, look)
    y = MARGIN
    for row, high in zip(drawn.rows, drawn.heights, strict=True):
        used = sum(_ratio(photo.picture) for photo, _ in row) * high + GAP * (len(row) - 1)
        x = (WIDTH - used) / 2
        for photo, label in row:
            wide = _ratio(photo.picture) * high
            factor = min(wide / photo.picture.width, high / photo.picture.height) * look.scale
            size = (max(1, round(photo.picture.width * factor)), max(1, round(photo.picture.height * factor)))
            picture = photo.picture.resize(size, Image.Resampling.LANCZOS)
            canvas.paste(x + (wide - size[0] / look.scale) / 2, y + high - size[1] / look.scale, picture)
            _write_below(canvas, label, len(photo.group.ids), (x, y + round(high) + 4), round(wide))
            x += wide + GAP
        y += round(high) + BELOW + GAP
    return canvas.image


def collage_html(drawn: Collage, *, dark: bool = False) -> str:
    """Return a collage as a page in one file, as wide as the window, with links to the photos."""
    rows = []
    for row, high in zip(drawn.rows, drawn.heights, strict=True):
        photos = "\n".join(_figure(photo, label) for photo, label in row)
        rows.append(f'<div style="max-width: {_share(row, high):.1f}%">\n{photos}\n</div>')
    body = "<main>\n{}\n</main>".format("\n".join(rows))
    return html_page("What is in the collection", _STYLE, body, dark=dark)


_STYLE = """
body { margin: 20px; background: var(--paper); color: var(--ink); font: 14px/1.4 system-ui, sans-serif }
main { max-width: 1600px; margin: 0 auto }
div { display: flex; gap: 8px; margin: 0 auto 8px }
figure { margin: 0; min-width: 0; display: flex; flex-direction: column; justify-content: end }
a { display: block }
img { display: block; width: 100%; object-fit: contain }
figcaption { display: flex; gap: 8px; white-space: nowrap; overflow: hidden }
span { overflow: hidden; text-overflow: ellipsis }
span:empty { display: none }
small { color: var(--grey); font-size: inherit }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px }
"""


def _figure(photo: Shown, label: str) -> str:
    name, ratio = html.escape(printable(label)), _ratio(photo.picture)
    count = f"<small>{photos_word(len(photo.group.ids))}</small>"
    told = html.escape(printable(photo.path.name))
    return (
        f'<figure style="flex: {ratio:.4f}"><a href="{file_address(photo.path)}" title="{told}">'
        f'<img style="aspect-ratio: {ratio:.4f}" alt="{told}" src="{data_address(photo.picture, quality=85)}"></a>'
        f"<figcaption><span>{name}</span>{count}</figcaption></figure>"
    )


def _share(row: Sequence[tuple[Shown, str]], high: float) -> float:
    """Return how much of the width a row takes, in per cent."""
    used = sum(_ratio(photo.picture) for photo, _ in row) * high + GAP * (len(row) - 1)
    return min(100.0, 100 * used / (WIDTH - 2 * MARGIN))


def _write_below(canvas: Canvas, label: str, count: int, place: tuple[float, float], room: int) -> None:
    number, scale, (x, y) = photos_word(count), canvas.look.scale, place
    wide = canvas.look.width_of(number, SMALL)
    if label:
        name = shortened(label, (room - wide - GAP) * scale, SMALL * scale)
        canvas.text(x, y, name, canvas.theme.ink, width=canvas.look.width_of(name, SMALL))
        x += canvas.look.width_of(name, SMALL) + GAP
    canvas.text(x, y, number, canvas.theme.grey, width=wide)


def photos_word(count: int) -> str:
    """Return a number of photos in words."""
    return f"{count:,} photo{'s' if count != 1 else ''}"


def _ratio(picture: Image.Image) -> float:
    return min(WIDEST, max(NARROWEST, picture.width / picture.height))


def _height(ratios: Sequence[float]) -> float:
    """Return how high a row is that fills the width."""
    return min(HIGHEST, (WIDTH - 2 * MARGIN - GAP * (len(ratios) - 1)) / sum(ratios))
