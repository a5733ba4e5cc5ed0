"""The map of a collection: photos in the plane, near each other where they look alike, as a picture or a page."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from index.files import output_file
from index.photo_index import PhotoIndex
from index.records import SkippedPhoto
from retrieval.figures.canvas import PLAIN, Canvas, Look
from retrieval.figures.drawing import fitted, save
from retrieval.figures.page import data_address, file_address, html_page
from retrieval.figures.sheet import check_sheet
from retrieval.figures.style import GAP, MARGIN, TEXT
from retrieval.overview.grid import Grid, to_grid
from retrieval.overview.groups import Shown, group_photos, shown_photos
from retrieval.overview.layout import Method, layout_of
from retrieval.photos.previews import Previews
from retrieval.pipeline.progress import Progress
from retrieval.text import printable

CELL = 104
"""Units of a cell in a picture."""
PAGE_CELL, PAGE_SIDE = 80, 160
"""Of a cell in a page as it opens, and of the photos in it: they stay sharp when zoomed to twice that."""
MOST = 2000
"""Photos on a map: a page of so many has about 15 MB."""


@dataclass(frozen=True, eq=False)
class CollectionMap:
    """Photos that are shown, their cells in a grid, and how many photos there are in all."""

    shown: Sequence[Shown]
    grid: Grid
    total: int

    @property
    def title(self) -> str:
        """Say how many photos are shown of how many."""
        count = len(self.shown)
        if count == self.total:
            return f"{count:,} photo{'s' if count > 1 else ''}"
        return f"{count:,} of {self.total:,} photos; each stands for those that look like it"


def map_of(
    index: PhotoIndex,
    previews: Previews,
    *,
    method: Method,
    most: int,
    side: int,
    skipped: list[SkippedPhoto],
    progress: Progress | None = None,
) -> CollectionMap:
    """Lay out an index, and choose at most `most` photos of all its regions, those of `side` pixels.

    Raises UserError for an index without photos, PhotoError where none can be read, and as `layout_of`.
    """
    layout = layout_of(index, method)
    groups = group_photos(index, most)
    shown = shown_photos(index, groups, previews, side, skipped=skipped, progress=progress)
    shown = [photo for photo in shown if photo.id in layout]  # some may have been added meanwhile
    places = layout.places_of(np.array([photo.id for photo in shown], np.int64))
    return CollectionMap(shown, to_grid(places), sum(len(group.ids) for group in groups))


def write_map(drawn: CollectionMap, path: Path, look: Look = PLAIN) -> None:
    """Write a map. Raises OptionError for an unknown suffix, UserError where the file cannot be written."""
    check_sheet(path)
    if path.suffix.lower() == ".html":
        with output_file(path) as file:
            file.write(map_html(drawn, dark=look.dark).encode())
    else:
        save(draw_map(drawn, look), path, look)


def side_for(path: Path, look: Look = PLAIN) -> int:
    """Return how large photos are needed for a map of this name, in pixels."""
    return PAGE_SIDE if path.suffix.lower() == ".html" else (CELL - GAP) * look.scale


def draw_map(drawn: CollectionMap, look: Look = PLAIN) -> Image.Image:
    """Draw a map: each photo whole, in its cell."""
    side, top = CELL - GAP, MARGIN + TEXT + MARGIN
    width = 2 * MARGIN + max(drawn.grid.columns * CELL - GAP, look.width_of(drawn.title))
    canvas = Canvas(width, top + drawn.grid.rows * CELL - GAP + MARGIN, look)
    canvas.text(MARGIN, MARGIN - 4, drawn.title, canvas.theme.ink, TEXT, width=width - 2 * MARGIN)
    pixels = side * look.scale
    for photo, (column, row) in zip(drawn.shown, drawn.grid.cells.tolist(), strict=True):
        picture = photo.picture if max(photo.picture.size) == pixels else fitted(photo.picture, pixels)
        x, y = MARGIN + column * CELL, top + row * CELL
        spare = (pixels - picture.width) / 2 / look.scale, (pixels - picture.height) / 2 / look.scale
        canvas.paste(x + spare[0], y + spare[1], picture)
    return canvas.image


def map_html(drawn: CollectionMap, *, dark: bool = False) -> str:
    """Return a page in one file, that is zoomed and moved by mouse, touch and keyboard, with links to the photos."""
    order = sorted(range(len(drawn.shown)), key=lambda number: drawn.grid.cells[number].tolist()[::-1])
    photos = "\n".join(_photo_html(drawn.shown[number], drawn.grid.cells[number].tolist()) for number in order)
    size = f"grid-template: repeat({drawn.grid.rows}, {PAGE_CELL}px) / repeat({drawn.grid.columns}, {PAGE_CELL}px)"
    title = html.escape(drawn.title)
    body = f"""<header>
<h1>{title}</h1>
<div role="group" aria-label="Zoom">
<button type="button" id="out" aria-label="Zoom out">−</button>
<button type="button" id="in" aria-label="Zoom in">+</button>
<button type="button" id="all">All</button>
</div>
</header>
<main id="window" tabindex="0" aria-label="Map; the arrow keys move it, + and − zoom, 0 shows all of it">
<ul id="map" style="{size}">
{photos}
</ul>
</main>
<p id="name" aria-hidden="true"></p>"""
    return html_page(drawn.title, _STYLE, body, _SCRIPT, dark=dark)


def _photo_html(photo: Shown, cell: Sequence[int]) -> str:
    name = printable(photo.path.name)
    others = len(photo.group.ids) - 1
    told = html.escape(name if not others else f"{name}, and {others:,} like it")
    return (
        f'<li style="grid-area: {cell[1] + 1} / {cell[0] + 1}"><a href="{file_address(photo.path)}" title="{told}">'
        f'<img alt="{told}" src="{data_address(photo.picture)}"></a></li>'
    )


_STYLE = """
* { box-sizing: border-box }
html, body { height: 100% }
body { margin: 0; display: flex; flex-direction: column; background: var(--paper); color: var(--ink);
  font: 16px/1.4 system-ui, sans-serif }
header { display: flex; gap: 16px; align-items: center; justify-content: space-between; padding: 8px 16px;
  border-bottom: 1px solid var(--line) }
header > div { display: flex; gap: 6px }
h1 { font-size: 1rem; font-weight: normal; margin: 0 }
button { font: inherit; color: inherit; background: none; border: 1px solid var(--line); border-radius: 8px;
  min-width: 42px; min-height: 38px; cursor: pointer }
main { flex: 1; min-height: 0; overflow: auto; position: relative }
main.live { overflow: hidden; touch-action: none; cursor: grab; user-select: none }
main.moving, main.moving a { cursor: grabbing }
ul { list-style: none; margin: 0; padding: 0; display: grid; width: max-content }
.live ul { position: absolute; transform-origin: 0 0 }
li { min-width: 0; min-height: 0; padding: 3px }
a { display: flex; width: 100%; height: 100%; align-items: center; justify-content: center }
img { max-width: 100%; max-height: 100%; min-width: 0; object-fit: contain; -webkit-user-drag: none }
li:hover img { outline: 2px solid var(--accent) }
:focus-visible { outline: 3px solid var(--accent); outline-offset: -2px }
#name { margin: 0; padding: 4px 16px; min-height: 2em; border-top: 1px solid var(--line); color: var(--grey);
  white-space: nowrap; overflow: hidden; text-overflow: ellipsis }
"""

_SCRIPT = """
"use strict";
const view = document.getElementById("window"), map = document.getElementById("map");
const label = document.getElementById("name"), fingers = new Map();
const MOST = 8, STEP = 80;
let scale = 1, x = 0, y = 0, least = 1, dragged = 0;
view.classList.add("live");
const width = map.offsetWidth, height = map.offsetHeight;

function draw() {
  // Some of the map stays in sight; what is smaller than the window is in its middle.
  const kept = (at, size, room) => size <= room ? (room - size) / 2 : Math.min(0, Math.max(room - size, at));
  x = kept(x, width * scale, view.clientWidth);
  y = kept(y, height * scale, view.clientHeight);
  map.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
}
function zoom(factor, atX = view.clientWidth / 2, atY = view.clientHeight / 2) {
  const wanted = Math.min(MOST, Math.max(least, scale * factor));
  x = atX - (atX - x) * wanted / scale;
  y = atY - (atY - y) * wanted / scale;
  scale = wanted;
  draw();
}
function all() {
  least = Math.min(1.5, view.clientWidth / width, view.clientHeight / height);
  scale = least;
  draw();
}
const inside = (event) => {
  const box = view.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
};
view.addEventListener("wheel", (event) => {
  event.preventDefault();
  const lines = event.deltaMode === 1 ? 20 : event.deltaMode === 2 ? 400 : 1;
  zoom(Math.exp(-event.deltaY * lines / 400), ...inside(event));
}, { passive: false });
view.addEventListener("pointerdown", (event) => {
  if (event.button) return;
  if (!fingers.size) dragged = 0;
  fingers.set(event.pointerId, inside(event));
});
view.addEventListener("pointermove", (event) => {
  const from = fingers.get(event.pointerId);
  if (!from) return;
  const to = inside(event), other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
  dragged += Math.hypot(to[0] - from[0], to[1] - from[1]);
  if (dragged < 6) return;
  view.setPointerCapture(event.pointerId);
  view.classList.add("moving");
  fingers.set(event.pointerId, to);
  if (other) {
    const length = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]) || 1;
    x += (to[0] - from[0]) / 2;
    y += (to[1] - from[1]) / 2;
    zoom(length(to) / length(from), (to[0] + other[0]) / 2, (to[1] + other[1]) / 2);
  } else {
    x += to[0] - from[0];
    y += to[1] - from[1];
    draw();
  }
});
const lift = (event) => {
  fingers.delete(event.pointerId);
  if (!fingers.size) view.classList.remove("moving");
};
for (const kind of ["pointerup", "pointercancel"]) addEventListener(kind, lift);
view.addEventListener("click", (event) => { if (dragged >= 6) event.preventDefault(); }, true);
view.addEventListener("dragstart", (event) => event.preventDefault());
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const move = { ArrowLeft: [STEP, 0], ArrowRight: [-STEP, 0], ArrowUp: [0, STEP], ArrowDown: [0, -STEP] }[event.key];
  if (move) { x += move[0]; y += move[1]; draw(); }
  else if (event.key === "+" || event.key === "=") zoom(1.3);
  else if (event.key === "-") zoom(1 / 1.3);
  else if (event.key === "0") all();
  else return;
  event.preventDefault();
});
map.addEventListener("focusin", (event) => {
  view.scrollTo(0, 0);
  if (!event.target.matches(":focus-visible")) return;
  const box = event.target.getBoundingClientRect(), room = view.getBoundingClientRect();
  const missing = (from, to, start, end) => from < start ? start - from : to > end ? end - to : 0;
  x += missing(box.left, box.right, room.left, room.right);
  y += missing(box.top, box.bottom, room.top, room.bottom);
  draw();
  label.textContent = event.target.title;
});
map.addEventListener("pointerover", (event) => { label.textContent = event.target.closest("a")?.title ?? ""; });
document.getElementById("in").addEventListener("click", () => zoom(1.5));
document.getElementById("out").addEventListener("click", () => zoom(1 / 1.5));
document.getElementById("all").addEventListener("click", all);
new ResizeObserver(() => {
  const whole = scale === least;
  least = Math.min(1.5, view.clientWidth / width, view.clientHeight / height);
  whole || scale < least ? all() : draw();
}).observe(view);
all();
"""
